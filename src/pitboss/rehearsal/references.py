r"""References in a script: ``{{last.json.task_id}}`` becomes what a tool has answered.

The whole rule, also for the documentation:

- ``{{actor}}``, ``{{cwd}}``, ``{{model}}``, ``{{prompt}}``: who is asked, where it works, as which model, with what.
- ``{{result[0]}}``: the answer to the conversation's first tool call, ``{{result[-1]}}`` or ``{{last}}`` to its latest.
- Behind either of them ``.text`` (the same) or ``.json`` with a path into it: ``{{last.json.tasks[0].id}}``.
- A string that is one reference and nothing else becomes the value itself, be it a number, a list or a table; inside
  other text, values that are not strings appear as JSON.
- ``\{{`` keeps the braces.

Pure. Called by ``reader`` (to refuse a bad one at once) and ``prompter`` (to fill them in).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from pitboss.model.run import Frozen

__all__ = ["ReferenceFailed", "Scene", "complaints", "render_table", "render_text"]

_REFERENCE = re.compile(r"(\\)?\{\{\s*([A-Za-z_]\w*)((?:\.[\w-]+|\[-?\d+\])*)\s*\}\}")
_STEP = re.compile(r"\.([\w-]+)|\[(-?\d+)\]")
_PLAIN = ("actor", "cwd", "model", "prompt")
_FORMS = "{{actor}}, {{cwd}}, {{model}}, {{prompt}}, {{last}} and {{result[N]}}"


class ReferenceFailed(ValueError):
    """A reference has nothing to refer to; the message says which one and why."""


class Scene(Frozen, frozen=True, kw_only=True):
    """What references may refer to, at one point of one conversation."""

    actor: str
    cwd: str | None
    model: str
    prompt: str
    results: Sequence[str | None]


def complaints(value: object) -> list[str]:
    """What is wrong with the references anywhere in ``value``, before anything is known of the run."""
    return [complaint for text in _strings(value) for found in _found(text) if (complaint := _complaint(found))]


def render_text(text: str, scene: Scene) -> str:
    """``text`` with every reference filled in.

    Raises:
        ReferenceFailed: One of them has nothing to refer to.
    """
    return _REFERENCE.sub(lambda found: _embedded(found, scene), text) if "{{" in text else text


def render_table(table: dict[str, object], scene: Scene) -> dict[str, object]:
    """``table`` with every reference in its values filled in, at any depth.

    Raises:
        ReferenceFailed: One of them has nothing to refer to.
    """
    return {key: _render(value, scene) for key, value in table.items()}


def _render(value: object, scene: Scene) -> object:
    match value:
        case str():
            whole = _REFERENCE.fullmatch(value)
            return _value(whole, scene) if whole and not whole[1] else render_text(value, scene)
        case list():
            return [_render(item, scene) for item in value]
        case dict():
            return render_table(value, scene)
        case _:
            return value


def _embedded(found: re.Match[str], scene: Scene) -> str:
    if found[1]:
        return found[0][1:]
    value = _value(found, scene)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _value(found: re.Match[str], scene: Scene) -> object:
    root, steps = found[2], _steps(found[3])
    match root:
        case "actor":
            return scene.actor
        case "model":
            return scene.model
        case "prompt":
            return scene.prompt
        case "cwd":
            if scene.cwd is None:
                raise ReferenceFailed(f"{found[0]}: the request does not say where the session works")
            return scene.cwd
        case "last":
            return _into(found[0], _result(found[0], -1, scene), steps)
        case _:
            return _into(found[0], _result(found[0], int(steps[0]), scene), steps[1:])


def _result(name: str, index: int, scene: Scene) -> str:
    count = len(scene.results)
    if not -count <= index < count:
        raise ReferenceFailed(f"{name}: the conversation has {count} tool calls so far")
    text = scene.results[index]
    if text is None:
        raise ReferenceFailed(f"{name}: that tool call has no answer")
    return text


def _into(name: str, text: str, steps: list[str | int]) -> object:
    if not steps or steps[0] == "text":
        return text
    try:
        value: object = msgspec.json.decode(text)
    except msgspec.DecodeError as problem:
        raise ReferenceFailed(f"{name}: the answer is not JSON ({problem}): {text[:200]}") from problem
    for step in steps[1:]:
        value = _item(name, value, step)
    return value


def _item(name: str, value: object, step: str | int) -> object:
    if isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
        return value[step]
    if isinstance(step, str) and isinstance(value, dict) and step in value:
        return value[step]
    raise ReferenceFailed(f"{name}: there is no {step!r} in {msgspec.json.encode(value).decode()[:200]}")


def _steps(path: str) -> list[str | int]:
    return [key or int(index) for key, index in _STEP.findall(path)]


def _strings(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in _strings(item)]
        case dict():
            return [text for item in value.values() for text in _strings(item)]
        case _:
            return []


def _found(text: str) -> list[re.Match[str]]:
    return [found for found in _REFERENCE.finditer(text) if not found[1]]


def _complaint(found: re.Match[str]) -> str | None:
    root, steps = found[2], _steps(found[3])
    if root in _PLAIN:
        return f"{found[0]} has nothing inside it: write {{{{{root}}}}}" if steps else None
    if root == "result":
        if not steps or isinstance(steps[0], str):
            return (
                f"{found[0]} does not say which tool call it means: write {{{{result[0]}}}} for the first one's answer"
            )
        steps = steps[1:]
    elif root != "last":
        return f"{found[0]} is not a reference: there are {_FORMS}; write \\{{{{ to keep the braces"
    if not steps or steps == ["text"] or steps[0] == "json":
        return None
    return f"{found[0]}: behind a tool call's answer comes nothing, .text or .json"
