"""How a model's message is told in frames: blocks, partial messages, and the tokens of the call."""

from __future__ import annotations

from pitboss.testing.fake_ledger import usage_fields
from pitboss.testing.fake_pipe import new_uuid

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from pitboss.testing.fake_pipe import Frame
    from pitboss.testing.fake_session import Session
    from pitboss.testing.fake_tasks import Task

__all__ = ["Voice"]


class Voice:
    """The main conversation's model in one turn, or a subagent's in its whole life.

    As with the real CLI each block is a line of its own, all with the message's id and the usage of the message's
    start; the true number of output tokens is in the partial messages only, which a subagent has not.
    """

    def __init__(self, session: Session, subagent: Task | None) -> None:
        self._session = session
        self._subagent = subagent
        self._partial = session.partial and subagent is None
        self._message_id = ""
        self._blocks = 0
        self._calling = False
        self.calls = 0
        """Messages so far."""
        self.last_text = ""

    @property
    def speaking(self) -> bool:
        """A message has begun and is not finished."""
        return bool(self._message_id)

    def call(self) -> None:
        """Asks the model, unless it is speaking: from now on a new message has to wait for the next call."""
        if self._calling:
            return
        self._calling = True
        if self._subagent is None:
            while self._session.pipe.has_prompts:
                self._session.memory.hear(self._session.pipe.take_prompt())
        if self._partial:
            self._session.say(type="system", subtype="status", status="requesting")

    def say(self, text: str) -> None:
        """Says a text block."""
        self._block({"type": "text", "text": text}, {"type": "text_delta", "text": text})
        self.last_text = text

    def ask_for_tool(self, name: str, arguments: Frame) -> str:
        """Says a tool call, which ends the message, and returns its id."""
        tool_use_id = f"toolu_{new_uuid()}"
        block: Frame = {"type": "tool_use", "id": tool_use_id, "name": name, "input": arguments}
        self._block(block, {"type": "input_json_delta", "partial_json": ""})
        self.finish("tool_use")
        return tool_use_id

    def finish(self, stop_reason: str) -> None:
        """Ends the message and books it."""
        session, tokens = self._session, self._session.usage
        delta = {"stop_reason": stop_reason, "stop_sequence": None}
        self._stream(type="message_delta", delta=delta, usage={"output_tokens": tokens[1]})
        self._stream(type="message_stop")
        session.ledger.charge(session.model, tokens, subagent=self._subagent is not None)
        self._message_id, self._blocks, self._calling = "", 0, False
        self.calls += 1

    def _block(self, content: Frame, delta: Frame) -> None:
        self._begin()
        self._stream(type="content_block_start", index=self._blocks, content_block={"type": content["type"]})
        self._stream(type="content_block_delta", index=self._blocks, delta=delta)
        self._session.say(type="assistant", message=self._message([content]), **self.whose())
        self._stream(type="content_block_stop", index=self._blocks)
        self._blocks += 1

    def _begin(self) -> None:
        if not self.speaking:
            self.call()
            self._message_id = f"msg_{new_uuid()}"
            self._stream(type="message_start", message=self._message([]))

    def _message(self, content: list[Frame]) -> Frame:
        usage = {**usage_fields(self._session.usage), "output_tokens": 1}
        return {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._session.model,
            "content": content,
            "stop_reason": None,
            "usage": usage,
        }

    def _stream(self, **event: object) -> None:
        if self._partial:
            self._session.say(type="stream_event", event=event, parent_tool_use_id=None)

    def whose(self) -> Frame:
        """The fields that say who speaks."""
        if self._subagent is None:
            return {"parent_tool_use_id": None}
        return {"parent_tool_use_id": self._subagent.tool_use_id, "agent_id": self._subagent.id}
