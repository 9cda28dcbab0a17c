"""Work in the background of a fake session: shells that really run, and subagents that wait for their parent's turn.

The real CLI runs a subagent beside its parent; here it plays its steps when the parent's turn is over, which gives the
same order of the lines that matter: a result while the task is listed, the task's end, a turn by itself, a result.
"""

from __future__ import annotations

from pitboss.testing.fake_pipe import new_uuid
from pitboss.testing.fake_tools import Answer, new_output_file

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from collections.abc import Callable
    from subprocess import Popen

    from pitboss.testing.fake_pipe import Frame
    from pitboss.testing.fake_script import Step
    from pitboss.testing.fake_tools import Shells

__all__ = ["Task", "Tasks"]


class Task:
    """One task: a shell, or the steps of a subagent."""

    def __init__(self, about: str, tool_use_id: str, *, shell: Popen[bytes] | None, steps: list[Step]) -> None:
        self.id = new_uuid()[:8]
        self.description = about
        self.tool_use_id = tool_use_id
        self.shell = shell
        self.steps = steps
        self.kind = "local_agent" if shell is None else "local_bash"

    @property
    def over(self) -> bool:
        """It is time to conclude it; for a subagent, as soon as nobody else has anything to do."""
        return self.shell is None or self.shell.poll() is not None


class Tasks:
    """The tasks of a session."""

    def __init__(self, say: Callable[..., None], shells: Shells) -> None:
        self._say = say
        self._shells = shells
        self._tasks: list[Task] = []

    def any(self) -> bool:
        """There is at least one."""
        return bool(self._tasks)

    def next_over(self) -> Task | None:
        """The first that wants to be concluded."""
        return next((task for task in self._tasks if task.over), None)

    def add_shell(self, arguments: Frame, tool_use_id: str) -> Answer:
        """Starts Bash's command and lets it run."""
        output = new_output_file()
        shell = self._shells.start(str(arguments.get("command", "")), output)
        task = Task(str(arguments.get("description", "")), tool_use_id, shell=shell, steps=[])
        self._add(task)
        return Answer(f"Command running in background with ID: {task.id}. Output is being written to: {output}.")

    def add_agent(self, description: str, steps: list[Step], tool_use_id: str) -> Answer:
        """Takes up a subagent."""
        task = Task(description, tool_use_id, shell=None, steps=steps)
        self._add(task)
        return Answer([{"type": "text", "text": f"Async agent launched successfully.\nagentId: {task.id}"}])

    def conclude(self, task: Task) -> None:
        """Strikes a task off the list and tells of it."""
        self._tasks.remove(task)
        about = {"task_id": task.id, "tool_use_id": task.tool_use_id, "status": "completed"}
        self._say(type="system", subtype="task_notification", **about, summary=f"{task.description} completed")
        self._tell()

    def _add(self, task: Task) -> None:
        self._tasks.append(task)
        self._tell()
        about = {"task_id": task.id, "tool_use_id": task.tool_use_id, "description": task.description}
        self._say(type="system", subtype="task_started", **about, task_type=task.kind, is_backgrounded=True)

    def _tell(self) -> None:
        tasks = [{"task_id": task.id, "task_type": task.kind, "description": task.description} for task in self._tasks]
        self._say(type="system", subtype="background_tasks_changed", tasks=tasks)
