"""One turn of a fake session: its steps in order, and the ``result`` at their end.

A subagent's life is played by the same class; it has no result of its own.
"""

from __future__ import annotations

import time

from pitboss.testing import fake_tools
from pitboss.testing.fake_ledger import read_usage
from pitboss.testing.fake_pipe import Interrupted, new_uuid
from pitboss.testing.fake_script import Step, read_steps
from pitboss.testing.fake_tools import Answer
from pitboss.testing.fake_trouble import TROUBLES
from pitboss.testing.fake_voice import Voice

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from collections.abc import Callable

    from pitboss.testing.fake_pipe import Frame
    from pitboss.testing.fake_session import Session
    from pitboss.testing.fake_tasks import Task

__all__ = ["Turn"]

_RETRY_WORDS = {401: "authentication_failed", 429: "rate_limit", 529: "overloaded"}
_STOPPED = "The user doesn't want to proceed with this tool use: this call was stopped while running."
_ENDLESS = 2**31 - 1


class _BudgetSpent(Exception):
    """The call that crossed ``--max-budget-usd`` has been made."""


class _ApiFailed(Exception):
    """The API has refused for good."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Turn:
    """Plays the steps of one turn."""

    def __init__(self, session: Session, steps: list[Step], *, subagent: Task | None = None) -> None:
        self._session = session
        self._steps = steps
        self._subagent = subagent
        self._voice = Voice(session, subagent)
        self._open_tool = ""
        self._denials: list[Frame] = []
        self._started = time.monotonic()
        self._verbs: dict[str, Callable[[Step], object]] = {
            "text": lambda step: self._voice.say(str(self._filled({"text": step.text()})["text"])),
            "tool": lambda step: self._use(step.text(), self._filled(step.mapping("input"))),
            "call": self._call,
            "background": self._background,
            "agent": self._agent,
            "usage": self._usage,
            "delay": self._delay,
            "retry": self._retry,
            "api_error": self._api_error,
        }

    def run(self) -> bool:
        """Plays the turn and writes its result; True unless that is an error."""
        session = self._session
        session.pipe.begin_turn()
        session.ledger.begin_turn()
        session.say_init()
        try:
            return self._to_the_result()
        finally:
            session.pipe.end_turn()

    def _to_the_result(self) -> bool:
        try:
            self._check_budget()
            self.play()
        except Interrupted as order:
            self._interrupted(order)
        except _BudgetSpent:
            self._session.ledger.leave_out_last_call()
            errors = [f"Reached maximum budget (${self._session.budget_usd})"]
            self._result("error_max_budget_usd", "budget_exhausted", is_error=True, errors=errors)
        except _ApiFailed as failure:
            self._result("success", "api_error", is_error=True, api_error_status=failure.status, result=failure.text)
        else:
            text = self._voice.last_text
            self._result("success", "completed", is_error=False, api_error_status=None, result=text)
            return True
        return False

    def play(self) -> None:
        """Plays the steps; whatever they are, a text comes last."""
        for step in self._steps:
            if step.verb == "end":
                break
            trouble = TROUBLES.get(step.verb)
            if trouble is not None:
                trouble(self._session.pipe, step)
            else:
                self._verbs[step.verb](step)
        if not self._voice.speaking:
            self._voice.say("done")
        self._voice.finish("end_turn")
        self._check_budget()

    def play_subagent(self) -> None:
        """Plays a subagent's steps; whatever ends them early is left to the turn that follows."""
        try:
            self.play()
        except (_BudgetSpent, _ApiFailed):
            return  # a budget stops that turn too, and an error is its parent's to judge

    def _check_budget(self) -> None:
        budget = self._session.budget_usd
        if budget is not None and self._session.ledger.spent_here >= budget:
            raise _BudgetSpent

    # The steps that are more than a word

    def _usage(self, step: Step) -> None:
        self._session.usage = read_usage(step.mapping())

    def _delay(self, step: Step) -> None:
        self._voice.call()
        self._session.pipe.wait(lambda: False, step.number())

    def _retry(self, step: Step) -> None:
        status, secs = int(step.number()), step.number("delay", 0.5)
        self._voice.call()
        self._session.say(
            type="system",
            subtype="api_retry",
            attempt=1,
            max_retries=1,
            retry_delay_ms=int(secs * 1000),
            error_status=status,
            error=_RETRY_WORDS.get(status, "unknown"),
        )
        self._session.pipe.wait(lambda: False, secs)

    def _api_error(self, step: Step) -> None:
        status = int(step.number())
        text = step.text("message", f"API Error: {status} scripted {status}")
        self._session.say(
            type="assistant",
            message={"id": new_uuid(), "role": "assistant", "model": "<synthetic>", "content": [_text(text)]},
            parent_tool_use_id=None,
            is_api_error_message=True,
            api_error_status=status,
        )
        raise _ApiFailed(status, text)

    def _background(self, step: Step) -> None:
        secs = _ENDLESS if step.value == "endless" else step.number()
        command = f"sleep {secs}"
        self._use("Bash", {"command": command, "description": command, "run_in_background": True})

    def _agent(self, step: Step) -> None:
        description = step.text("description", "sub")
        steps = read_steps(step.value, "agent")
        self._use("Agent", {"description": description, "prompt": "go", "subagent_type": "general-purpose"}, steps)

    # Tools

    def _call(self, step: Step) -> None:
        answer = self._use(f"mcp__pitboss__{step.text()}", self._filled(step.mapping("input")))
        if name := step.text("as"):
            self._session.memory.note(name, answer.value())

    def _filled(self, said: Frame) -> Frame:
        """What the model says, once it has heard everything that was sent meanwhile."""
        self._voice.call()
        return self._session.memory.fill_all(said)

    def _use(self, name: str, arguments: Frame, steps: list[Step] | None = None) -> Answer:
        """One tool call: said by the model, past the hook, carried out, its answer told."""
        tool_use_id = self._open_tool = self._voice.ask_for_tool(name, arguments)
        denial = self._session.ask_hooks(name, arguments, tool_use_id, self._subagent)
        self._check_budget()
        if denial is None:
            answer = self._carry_out(name, arguments, steps)
        else:
            answer = Answer(denial, is_error=True)
            self._denials.append({"tool_name": name, "tool_use_id": tool_use_id, "tool_input": arguments})
        self._tell(answer)
        return answer

    def _carry_out(self, name: str, arguments: Frame, steps: list[Step] | None) -> Answer:
        session = self._session
        if steps is not None:
            return session.tasks.add_agent(str(arguments["description"]), steps, self._open_tool)
        if name.startswith("mcp__"):
            return session.servers.call(name, arguments, self._open_tool)
        if name == "Bash" and arguments.get("run_in_background"):
            return session.tasks.add_shell(arguments, self._open_tool)
        if name == "Bash":
            return session.shells.run(str(arguments.get("command", "")))
        simple = {"Write": fake_tools.write, "Read": fake_tools.read}.get(name)
        return simple(arguments) if simple else Answer(name)

    def _tell(self, answer: Answer) -> None:
        result = {"type": "tool_result", "tool_use_id": self._open_tool, **answer.fields()}
        self._session.say(type="user", message={"role": "user", "content": [result]}, **self._voice.whose())
        self._open_tool = ""

    # The end

    def _interrupted(self, order: Interrupted) -> None:
        self._session.pipe.answer_interrupt(order.request_id)
        in_tool = bool(self._open_tool)
        if in_tool:
            self._tell(Answer(_STOPPED, is_error=True))
        text = "[Request interrupted by user for tool use]" if in_tool else "[Request interrupted by user]"
        self._session.say(type="user", message={"role": "user", "content": [_text(text)]}, parent_tool_use_id=None)
        reason = "aborted_tools" if in_tool else "aborted_streaming"
        self._result("error_during_execution", reason, is_error=True, errors=["the turn was interrupted"])

    def _result(self, subtype: str, terminal_reason: str, *, is_error: bool, **rest: object) -> None:
        """Writes the result; ``type`` comes late in it, as in the real one."""
        self._session.ledger.save()
        self._session.say(
            **self._session.ledger.close_turn(),
            permission_denials=self._denials,
            terminal_reason=terminal_reason,
            is_error=is_error,
            num_turns=self._voice.calls,
            subtype=subtype,
            **rest,
            type="result",
            duration_ms=int((time.monotonic() - self._started) * 1000),
        )


def _text(text: str) -> Frame:
    return {"type": "text", "text": text}
