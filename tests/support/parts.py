"""What the actors of a tree do, as steps of the fake agent: each plays the part that its prompt names.

A part may be played from its beginning by every attempt: spawning under a key gives the same actor again, waiting for
what has ended is answered at once, and a write that is repeated changes nothing that matters.
"""

from __future__ import annotations

Step = dict[str, object]


def call(tool: str, kept_as: str = "", **arguments: object) -> Step:
    """Call a tool of ours; its answer is kept as ``kept_as``."""
    return {"call": tool, "input": arguments, "as": kept_as}


def spawn(part: str, **arguments: object) -> Step:
    """Spawn a worker that plays ``part``, under that label; it is ``{{part.task_id}}`` from now on."""
    known = {"prompt": f"PLAY: {part}", "label": part, "idempotency_key": part}
    return call("spawn_worker", part, **(known | arguments))


def spawn_sublead(part: str, **arguments: object) -> Step:
    """Spawn a sub-lead that plays ``part``; it is ``{{part.sublead_id}}`` from now on."""
    known: Step = {"prompt": f"PLAY: {part}", "label": part, "idempotency_key": part, "model": "claude-haiku-4-5"}
    return call("spawn_sublead", part, **({"budget_usd": 1.0, "max_workers": 2} | known | arguments))


def wait(part: str) -> Step:
    """Wait for a worker; its record is ``{{part_record}}`` from now on."""
    return call("wait_for_worker", f"{part}_record", task_id=f"{{{{{part}.task_id}}}}", timeout_secs=60)


def wait_sublead(part: str) -> Step:
    """Wait for a sub-lead."""
    return call("wait_actor", f"{part}_record", actor_id=f"{{{{{part}.sublead_id}}}}", timeout_secs=60)


def steer(tool: str, part: str, **arguments: object) -> Step:
    """Pause, continue, redirect or cancel a worker."""
    return call(tool, f"{part}_{tool}", task_id=f"{{{{{part}.task_id}}}}", **arguments)


def say(path: str, value: str) -> Step:
    """Write a key of the store."""
    return call("kv_set", path=path, value=value)


def hear(path: str) -> Step:
    """Wait for a key of the store; its entry is ``{{heard_<last part of the path>}}``."""
    return call("kv_wait", f"heard_{path.rpartition('/')[2]}", path=path, timeout_secs=60)


def bash(command: str) -> Step:
    """Run a shell command."""
    return {"tool": "Bash", "input": {"command": command, "description": "work"}}


def commit(name: str, text: str = "done") -> Step:
    """Commit a file, once: one that is there already is left alone."""
    return bash(
        f"git cat-file -e HEAD:{name} 2>/dev/null || {{ echo {text} > {name}; git add {name}; $COMMIT {name}; }}"
    )


def until_exists(path: object) -> Step:
    """Run until a file appears: how a test tells an actor to go on."""
    return bash(f"while ! [ -e {path} ]; do sleep 0.02; done")


FOREVER = bash("sleep 600")
