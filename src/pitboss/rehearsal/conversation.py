"""What a request tells about its conversation: how far it is, who asks, what the tools have answered.

The whole conversation travels in every request, so nothing has to be remembered between two of them: a retry, a
resumed or forked session and any number of parallel ones are all where their own history says. Pure. Called by
``prompter``; the habits of Claude Code that are relied on here were seen with 2.1.330 and are named one by one.
"""

from __future__ import annotations

import re
import zlib

import msgspec

from pitboss.rehearsal.messages import Block, Message, Request, blocks_of

__all__ = ["heard", "is_side_question", "prompt", "replies", "results", "side_answer", "working_directory"]

_NOT_SAID = ("<system-reminder>", "[Request interrupted by user")
"""How texts begin that the CLI puts among what the user says."""
_NOT_ANSWERED = "No response requested."
"""What the CLI has the model say, without asking it, when a session that was interrupted is resumed."""
_TRAILING_REMINDERS = re.compile(r"(?:<system-reminder>(?:(?!<system-reminder>).)*</system-reminder>\s*)+\Z", re.DOTALL)
_DIRECTORY = re.compile(r"^ - Primary working directory: (.+?)(?: \(was .*\))?$", re.MULTILINE)
_SUMMARY = re.compile(r"Rehearsal: (\d+) replies came before this summary \(([0-9a-f ]*)\)\.")

_COMPACTION = "CRITICAL: Respond with TEXT ONLY"
_SIDE_OPENINGS = (_COMPACTION, "[SUGGESTION MODE", "Describe your most recent action")
"""How questions begin that the CLI puts after a copy of the whole conversation."""


def replies(request: Request) -> int:
    """How many messages the model has given in this conversation so far.

    Refused requests do not count: the CLI leaves its own error texts out of what it sends; nor does what it puts into
    the model's mouth. A compacted conversation
    has lost most of its messages, but carries their number in the summary we gave (see ``side_answer``); the latest
    of them, which the CLI keeps word for word behind the summary, are known by their marks and not counted again.
    """
    count, kept = 0, list[str]()
    for message in request.messages:
        if message.role == "assistant":
            if _mark(message) in kept or [block.text for block in message.blocks] == [_NOT_ANSWERED]:
                continue
            count, kept = count + 1, []
        elif message.role == "user" and (found := _SUMMARY.search("\n".join(_said(message.blocks)))):
            count, kept = int(found[1]), found[2].split()
    return count


def _summary(request: Request) -> str:
    marks = " ".join(_mark(message) for message in request.messages if message.role == "assistant")
    return f"Rehearsal: {replies(request)} replies came before this summary ({marks})."


def _mark(message: Message) -> str:
    """Short for what a reply says."""
    said = "\n".join((block.text or block.id).strip() for block in message.blocks)
    return f"{zlib.crc32(said.encode()):08x}"


def prompt(request: Request) -> str:
    """What the session was asked first, without what the CLI adds around it."""
    for message in request.messages:
        if message.role == "user" and (said := _said(message.blocks)):
            return "\n".join(said)
    return ""


def heard(request: Request) -> str:
    """What the model was told last: the latest prompt, or the answers of its tools if it was told nothing."""
    for message in reversed(request.messages):
        if message.role == "assistant":
            break
        if message.role == "user" and (told := _said(message.blocks)[-1:] or _answers(message.blocks)):
            return "\n".join(told)
    return ""


def results(request: Request) -> list[str | None]:
    """The answer to each tool call of the conversation, in the order the calls were made; ``None`` if there is none."""
    calls = [block.id for message in request.messages for block in message.blocks if block.type == "tool_use"]
    answers = {
        block.tool_use_id: _text(block)
        for message in request.messages
        for block in message.blocks
        if block.type == "tool_result"
    }
    return [answers.get(call) for call in calls]


def working_directory(request: Request) -> str | None:
    """Where the session works, as the latest of its environment notes says: a resumed session may have moved."""
    notes = [block for message in request.messages if message.role != "assistant" for block in message.blocks]
    for block in reversed(blocks_of(request.system) + notes):
        if found := _DIRECTORY.search(block.text):
            return found[1].strip()
    return None


def is_side_question(request: Request) -> bool:
    """True for what the CLI asks on its own account: quota probes, titles, summaries, suggestions.

    A probe wants one token. A question to a small model has no tools and no thinking. The rest are put at the end of
    a copy of the conversation and known by how they begin.
    """
    if request.max_tokens == 1:
        return True
    if not request.tools and (request.thinking.type == "disabled" or request.output_config.format):
        return True
    return _last_asked(request, _SIDE_OPENINGS)


def side_answer(request: Request) -> str:
    """A harmless answer in the form that was asked for; for a compaction one that keeps the place in the script."""
    if request.output_config.format:
        return msgspec.json.encode(_minimal(request.output_config.format.get("schema"))).decode()
    if _last_asked(request, (_COMPACTION,)):
        return f"<summary>{_summary(request)}</summary>"
    return "Rehearsal"


def _last_asked(request: Request, openings: tuple[str, ...]) -> bool:
    """True if a text of the latest message from outside begins so; the CLI may join it with others."""
    latest = next((message for message in reversed(request.messages) if message.role != "system"), None)
    return latest is not None and any(block.text.startswith(openings) for block in latest.blocks)


def _minimal(schema: object) -> object:
    """The smallest value that fits a JSON schema, as far as side questions use them."""
    if not isinstance(schema, dict):
        return None
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {key: _minimal(properties.get(key)) for key in schema.get("required", [])}
    return {"string": "Rehearsal", "boolean": False, "integer": 0, "number": 0, "array": []}.get(
        str(schema.get("type"))
    )


def _said(blocks: list[Block]) -> list[str]:
    """The texts of a message, without the CLI's own."""
    texts = [block.text.strip() for block in blocks if block.type == "text" and not block.text.startswith(_NOT_SAID)]
    return [text for text in texts if text]


def _answers(blocks: list[Block]) -> list[str]:
    return [_text(block) for block in blocks if block.type == "tool_result"]


def _text(result: Block) -> str:
    """A tool's answer as text; the CLI hangs notes of its own behind some of them."""
    text = "\n".join(block.text for block in blocks_of(result.content) if block.type == "text")
    found = _TRAILING_REMINDERS.search(text)
    return text[: found.start()].rstrip() if found else text
