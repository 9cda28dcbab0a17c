"""The Messages API as bytes: requests in, replies out, whole or streamed. Pure: no clock, no server, no script.

Only what a scripted answer needs is read from a request; everything else is skipped while decoding, because a request
of Claude Code is 50 to 100 KB, most of it help texts of tools. Called by ``prompter`` and ``server``.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pitboss.model.run import Frozen, Usage

__all__ = [
    "Block",
    "Call",
    "Message",
    "OutputConfig",
    "Reply",
    "Request",
    "Thinking",
    "blocks_of",
    "encode_error",
    "encode_reply",
    "read_request",
    "stream_events",
]


class Block(Frozen, frozen=True, kw_only=True):
    """One piece of a message's content; which fields are filled depends on ``type``."""

    type: str
    text: str = ""
    id: str = ""
    """Of a tool call."""
    tool_use_id: str = ""
    """In a tool result: the call it answers."""
    content: str | list[Block] = ""
    """Of a tool result."""


class Message(Frozen, frozen=True, kw_only=True):
    """One message of the conversation so far."""

    role: str
    """``user``, ``assistant``, or ``system`` for what the CLI adds between them."""
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        """The content, a bare string taken as one text block."""
        return blocks_of(self.content)


class Thinking(Frozen, frozen=True, kw_only=True):
    """Whether the model may think aloud; here only a mark by which side questions are known."""

    type: str = ""


class OutputConfig(Frozen, frozen=True, kw_only=True):
    """The form an answer must have, for questions that want JSON."""

    format: dict[str, object] | None = None


class Request(Frozen, frozen=True, kw_only=True):
    """The part of ``POST /v1/messages`` that matters here."""

    model: str
    messages: list[Message]
    system: str | list[Block] = ""
    max_tokens: int = 0
    stream: bool = False
    tools: tuple[msgspec.Raw, ...] = ()
    thinking: Thinking = Thinking()
    output_config: OutputConfig = OutputConfig()


class Call(Frozen, frozen=True, kw_only=True):
    """A tool call the model makes."""

    name: str
    input: dict[str, object] = msgspec.field(default_factory=dict)


class Reply(Frozen, frozen=True, kw_only=True):
    """One message of the model."""

    id: str
    """Unique for all time: sessions outlive this process, and results are matched by ids made from it."""
    model: str
    text: str = ""
    calls: tuple[Call, ...] = ()
    usage: Usage = Usage()

    @property
    def stop_reason(self) -> str:
        """Why the model stopped: it waits for its tools, or it is done."""
        return "tool_use" if self.calls else "end_turn"


_decoder = msgspec.json.Decoder(Request)
_encode = msgspec.json.Encoder().encode


def blocks_of(content: str | list[Block]) -> list[Block]:
    """Content in its long form."""
    return [Block(type="text", text=content)] if isinstance(content, str) else content


def read_request(body: bytes) -> Request:
    """Decode a request.

    Raises:
        msgspec.DecodeError: It is not JSON, or not a Messages request; the text says where.
    """
    return _decoder.decode(body)


def encode_error(kind: str, message: str) -> bytes:
    """An error in the API's own form."""
    return _encode({"type": "error", "error": {"type": kind, "message": message}})


def encode_reply(reply: Reply) -> bytes:
    """A whole message, for requests that do not stream."""
    return _encode(_envelope(reply, _content(reply), reply.stop_reason, reply.usage.output))


def stream_events(reply: Reply) -> Iterator[bytes]:
    """The same message as server-sent events, one item each."""
    yield _event("message_start", message=_envelope(reply, [], None, 1))
    for index, block in enumerate(_content(reply)):
        yield from _block_events(index, block)
    delta = {"stop_reason": reply.stop_reason, "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage={"output_tokens": reply.usage.output})
    yield _event("message_stop")


def _envelope(
    reply: Reply, content: list[dict[str, object]], stop_reason: str | None, output: int
) -> dict[str, object]:
    return {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": reply.usage.input,
            "output_tokens": output,
            "cache_read_input_tokens": reply.usage.cache_read,
            "cache_creation_input_tokens": reply.usage.cache_creation,
        },
    }


def _content(reply: Reply) -> list[dict[str, object]]:
    blocks: list[dict[str, object]] = []
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    stem = reply.id.removeprefix("msg_")
    blocks += [
        {"type": "tool_use", "id": f"toolu_{stem}_{index}", "name": call.name, "input": call.input}
        for index, call in enumerate(reply.calls)
    ]
    return blocks


def _block_events(index: int, block: dict[str, object]) -> Iterator[bytes]:
    """Start, a few deltas, stop: the way the real API cuts a block."""
    emptied: dict[str, object]
    if block["type"] == "text":
        emptied, delta, field, whole = {"text": ""}, "text_delta", "text", str(block["text"])
    else:
        whole = _encode(block["input"]).decode()
        emptied, delta, field = {"input": {}}, "input_json_delta", "partial_json"
    yield _event("content_block_start", index=index, content_block=block | emptied)
    for piece in _pieces(whole):
        yield _event("content_block_delta", index=index, delta={"type": delta, field: piece})
    yield _event("content_block_stop", index=index)


def _pieces(whole: str, most: int = 4) -> list[str]:
    """``whole`` in at most ``most`` pieces of equal size; a short one stays in one piece."""
    size = max(16, -(-len(whole) // most))
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def _event(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields}))
