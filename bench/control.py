"""The rows of the operators' socket: how soon an order reaches its agent, and what it costs that others look on."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import psutil

from bench import ground
from bench.ground import Row

Json = dict[str, object]

HELLO = b'{"op":"hello","client_version":"bench","capabilities":["several"]}\n'
SUBSCRIBE = b'{"op":"subscribe"}\n'


class Client:
    """An operator, one op at a time."""

    def __init__(self, runs: Path) -> None:
        _until(lambda: any(runs.glob("*/control.path")))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(next(runs.glob("*/control.path")).read_text().strip())
        self._socket.sendall(HELLO)
        self._lines = self._socket.makefile("rb")
        assert b'"hello"' in self._lines.readline()

    def order(self, op: str, **fields: object) -> float:
        """Give an order; when it was sent. Its answer is heard before this returns."""
        line = json.dumps({"op": op, **fields}).encode() + b"\n"
        sent = time.time()
        self._socket.sendall(line)
        while (event := json.loads(self._lines.readline())).get("op") != op:
            pass
        assert event["event"] == "op_acked", event
        return sent

    def subscribe(self) -> None:
        """Be shown the run from now on; what comes is never read here, which the run has to bear."""
        self._socket.sendall(SUBSCRIBE)

    def close(self) -> None:
        """Leave."""
        self._lines.close()
        self._socket.close()


EARS = """
import sys, time
ears = open(f"{sys.argv[1]}/heard-" + sys.argv[2], "a", buffering=1)
for line in sys.stdin:
    print(time.time(), line[:400].replace("\\n", " "), file=ears)
"""
"""An agent that writes down when it was told what."""

NOISY, ENDED = 50, 20


def orders(place: Path) -> Row:
    """From the order on the socket to the agent: it is told, stands still, or has its turn ended; 50 are noisy."""
    ears = [f"ears-{n}" for n in range(ENDED + 1)]
    env = ground.environment(place / "home", PITBOSS_CLAUDE_BINARY=str(_noisy_fake(place)))
    path = _manifest(place, [f"noisy-{n}" for n in range(NOISY)] + ears)
    spans: dict[str, list[float]] = {"freeze": [], "tell": [], "cancel": []}
    bare: list[float] = []
    with _dispatched(place, path, env) as process:
        pids = _working(place / "runs", NOISY + len(ears))
        noise = _noise(place / "runs", process)
        client = Client(place / "runs")
        neighbour = subprocess.Popen([sys.executable, place / "ears.py", place, "bare"], stdin=subprocess.PIPE)
        assert neighbour.stdin is not None
        for number in range(60):
            sent = time.time()
            neighbour.stdin.write(b"note %d.\n" % number)
            neighbour.stdin.flush()
            bare.append((_heard(place, "bare", f"note {number}.") - sent) * 1000)
            sent = client.order("note_worker", task_id="ears-0", text=f"note {number}.")
            spans["tell"].append(_heard(place, "ears-0", f"note {number}.") - sent)
            sent = client.order("pause_worker", task_id="ears-0", mode="freeze")
            spans["freeze"].append(_stopped(pids["ears-0"]) - sent)
            client.order("continue_worker", task_id="ears-0")
            _until(lambda: _state(pids["ears-0"]) != "T")
        for name in ears[1:]:
            sent = client.order("cancel_worker", task_id=name)
            spans["cancel"].append(_heard(place, name, '"interrupt"') - sent)
        client.close()
        neighbour.stdin.close()
        neighbour.wait()
    every = sorted(span * 1000 for each in spans.values() for span in each)
    half, most = statistics.median(every), every[int(len(every) * 0.99)]
    detail = "; ".join(
        f"{name} {statistics.median(each) * 1000:.1f} ms, at most {max(each) * 1000:.0f}"
        for name, each in spans.items()
    )
    detail += f"; {noise}; "
    detail += f"a pipe to a process beside it {statistics.median(bare):.1f} ms, at most {max(bare):.0f}"
    reached = half <= 20 and most <= 60
    what = "order to effect amid 50 noisy actors, p50 and p99"
    return Row(what, "<= 20 ms, <= 60 ms", f"{half:.1f} ms, {most:.0f} ms", reached, detail)


def _noise(runs: Path, process: psutil.Process) -> str:
    """How noisy they are, and what that takes before any order is given."""

    def size() -> int:
        return sum(log.stat().st_size for log in runs.glob("*/tasks/noisy-*/stdout.log"))

    lines, cpu, began = size(), process.cpu_times(), time.monotonic()
    time.sleep(4.0)
    used, wall = process.cpu_times(), time.monotonic() - began
    rate = (size() - lines) / 300 / wall
    assert rate > 20 * NOISY, f"only {rate:.0f} lines a second"
    busy = (used.user + used.system - cpu.user - cpu.system) / wall * 100
    return f"{rate:,.0f} lines a second, which take the dispatcher {busy:.0f} % of a core"


EVENTS_PER_SEC, WATCHERS, SHOWN_SECS = 1000, 20, 8


def showing(place: Path) -> Row:
    """What it costs the dispatcher to show 20 clients a run in which 1,000 things a second happen."""
    spent = {
        count: json.loads(subprocess.check_output([sys.executable, "-m", "bench.control_door", str(count)]))
        for count in (WATCHERS, 0)
    }
    shown, alone = (spent[count]["cpu_secs"] / spent[count]["wall_secs"] * 100 for count in (WATCHERS, 0))
    lines = spent[WATCHERS]["lines"]
    detail = f"{alone:.1f} % with nobody there; {lines / WATCHERS / SHOWN_SECS:.1f} deltas a second to each client"
    what = "1,000 events a second to 20 clients, share of a core"
    return Row(what, "< 15 %", f"{shown:.1f} %", shown < 15, detail)


WAITING, IDLE_SECS = 16, 30.0


def idle(place: Path) -> Row:
    """What the dispatcher uses while 16 actors wait and three clients look on."""
    fake = ground.shell_fake(place, hang=True)
    env = ground.environment(place / "home", PITBOSS_CLAUDE_BINARY=str(fake))
    path = _manifest(place, [f"t{n}" for n in range(WAITING)])
    with _dispatched(place, path, env) as process:
        _working(place / "runs", WAITING)
        clients = [Client(place / "runs") for _ in range(3)]
        for client in clients:
            client.subscribe()
        time.sleep(5.0)  # whatever its start has left to do
        before = process.cpu_times()
        time.sleep(IDLE_SECS)
        after = process.cpu_times()
        for client in clients:
            client.close()
    used = after.user + after.system - before.user - before.system
    share = max(0.0, used / IDLE_SECS * 100)
    what, detail = (
        "idle with 16 waiting actors and 3 clients, share of a core",
        f"{abs(used):.2f} s in {IDLE_SECS:.0f} s",
    )
    return Row(what, "0.0 %", f"{share:.1f} %", share < 0.05, detail)


# --- what they stand on -----------------------------------------------------------------------------------------------


def _noisy_fake(place: Path) -> Path:
    """An agent that never comes to an end: it listens, or it says 40 lines at a time, without a pause to speak of."""
    noise = place / "noise.jsonl"
    text = "x" * 225
    noise.write_text(f'{{"type":"assistant","message":{{"content":[{{"type":"text","text":"{text}"}}]}}}}\n' * 40)
    (place / "ears.py").write_text(EARS)
    quiet = ground.shell_fake(place, hang=True).read_text().splitlines()
    begins = quiet[: quiet.index("read -r prompt") + 1]
    listens = f'*ears-*) n=${{prompt##*ears-}}; exec {sys.executable} {place}/ears.py {place} "ears-${{n%%[!0-9]*}}";;'
    path = place / "noisy"
    path.write_text(
        "\n".join([*begins, 'case "$prompt" in', listens, "esac", f"while :; do cat {noise}; sleep 0.4; done"]) + "\n"
    )
    path.chmod(0o755)
    return path


def _manifest(place: Path, names: list[str]) -> Path:
    """Tasks that all run at once, each with its name for a prompt."""
    lines = [
        "[run]",
        f"max_parallel_tasks = {len(names)}",
        "max_starts = 8",
        "[defaults]",
        'model = "claude-haiku-4-5"',
    ]
    for name in names:
        lines += ["[[task]]", f'id = "{name}"', f"directory = {json.dumps(str(place))}", f'prompt = "{name}"']
        lines += ["use_worktree = false"]
    path = place / "bench.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def _dispatched(place: Path, path: Path, env: dict[str, str]) -> Iterator[psutil.Process]:
    argv = ground.pitboss("dispatch", str(path), "--run-dir", str(place / "runs"))
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield psutil.Process(process.pid)
        process.terminate()


def _working(runs: Path, count: int) -> dict[str, int]:
    """Wait until so many are at work; their processes."""
    known: list[Json] = []

    def there() -> bool:
        known[:] = _whole_lines(runs)
        return sum(fact.get("fact") == "SessionOpened" for fact in known) == count

    _until(there, every_secs=0.2)
    return {str(f["actor"]): cast("int", f["pid"]) for f in known if f.get("fact") == "ProcessStarted"}


def _whole_lines(runs: Path) -> list[Json]:
    journals = list(runs.glob("*/journal.jsonl"))
    text = journals[0].read_text() if journals else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _heard(place: Path, name: str, text: str) -> float:
    """When an agent heard this."""
    path = place / f"heard-{name}"
    found: list[float] = []

    def there() -> bool:
        lines = path.read_text().splitlines() if path.exists() else []
        found[:] = [float(line.split(maxsplit=1)[0]) for line in lines if text in line]
        return bool(found)

    _until(there)
    return found[0]


def _stopped(pid: int) -> float:
    """When it was seen to stand still."""
    _until(lambda: _state(pid) == "T", every_secs=0.0005)
    return time.time()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _until(true: Callable[[], object], *, every_secs: float = 0.002, patience_secs: float = 90.0) -> None:
    deadline = time.monotonic() + patience_secs
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(every_secs)


ROWS: dict[str, Callable[[Path], Row]] = {"orders": orders, "showing": showing, "idle": idle}
"""Name on the command line -> measurement."""
