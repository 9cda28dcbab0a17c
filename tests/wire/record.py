"""Records conversations with the real Claude Code CLI for the golden tests: ``make record``.

Each scene plays against the scripted model: no account, no network, a home of its own.

    python tests/wire/record.py [NAME ...]            record these scenes (default: all)
    python tests/wire/record.py --accept [NAME ...]   take what is understood now as what is expected
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import tomlkit

# Started by its path, this file would find only what lies beside it; the tests find their own from one folder up.
sys.path.insert(0, str(Path(__file__).parents[1]))

from support.rehearsal import start_model
from wire.archive import RECORDINGS, Neutral, accept
from wire.scenes import SCENES
from wire.stage import Theatre, claude_binary


def record(name: str) -> None:
    """Play a scene and keep its last process."""
    found = SCENES[name]
    actor: dict[str, object] = {"id": "*", "turn": found.turns}
    if found.subagent:
        actor["subagent"] = [{"prompt": "*", "turn": list(found.subagent)}]
    with tempfile.TemporaryDirectory(prefix="pitboss-record-") as scratch:
        folder = Path(scratch).resolve()
        with start_model(folder / "model", tomlkit.dumps({"actor": [actor]})) as model:
            theatre = Theatre(name, folder, model.actor(name))
            found.play(theatre)
        RECORDINGS.mkdir(exist_ok=True)
        (RECORDINGS / f"{name}.jsonl").write_text(Neutral(folder, claude_binary()).render(theatre.stages[-1].lines))


def main(arguments: list[str]) -> None:
    """Record or accept."""
    wanted = [name for name in arguments if name != "--accept"] or list(SCENES)
    if unknown := sorted(set(wanted) - set(SCENES)):
        raise SystemExit(f"record: no scene is called {', '.join(unknown)}; there are: {', '.join(SCENES)}")
    for name in wanted:
        if "--accept" in arguments:
            accept(name)
        else:
            record(name)
            print(f"recorded {name}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
