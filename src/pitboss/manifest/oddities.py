"""What is legal but probably not meant; only warnings. Called by ``load``."""

from __future__ import annotations

from collections.abc import Iterator

from pitboss.manifest.fields import fields_of, section_at
from pitboss.manifest.findings import Findings, shown
from pitboss.manifest.hints import swallowing_tables, trap
from pitboss.manifest.positions import Path
from pitboss.manifest.schema import Manifest, Mode, Section, Task
from pitboss.manifest.templates import TemplateError, names_in

__all__ = ["doubt"]


def doubt(manifest: Manifest, findings: Findings) -> None:
    """Every warning that needs no more than the manifest."""
    _doubt_mode(manifest, findings)
    _doubt_templates(manifest, findings)
    _doubt_swallowed_keys(manifest, findings)
    _doubt_tools(manifest, findings)
    if manifest.run.emit_event_stream:
        findings.warn(
            "[run].emit_event_stream has no effect: a run's journal always has every event",
            ("run", "emit_event_stream"),
        )


def _doubt_mode(manifest: Manifest, findings: Findings) -> None:
    """Keys that the other kind of run would heed."""
    mode = Mode.FLAT if manifest.lead is None else Mode.HIERARCHICAL
    for name in sorted(manifest.model_fields_set - {"task", "lead"}):
        section = getattr(manifest, name)
        if fields_of(Manifest)[name].key.mode not in (Mode.BOTH, mode):
            findings.warn(
                f"{findings.name(_first(name, section))} has no effect in a {mode} run", _first(name, section)
            )
        elif isinstance(section, Section):
            _doubt_keys(section, name, mode, findings)
    if manifest.lead and manifest.lead.budget_usd is not None and manifest.run.budget_usd is not None:
        findings.warn(
            "[run].budget_usd and [lead].budget_usd are limits of the same money; the lower one holds",
            ("run", "budget_usd"),
        )


def _first(name: str, section: object) -> Path:
    return (name, 0) if isinstance(section, list) and section else (name,)


def _doubt_keys(section: Section, name: str, mode: Mode, findings: Findings) -> None:
    for key, shape in fields_of(type(section)).items():
        if key in section.model_fields_set and shape.key.mode not in (Mode.BOTH, mode):
            findings.warn(f"[{name}].{key} has no effect in a {mode} run", (name, key))


def _doubt_templates(manifest: Manifest, findings: Findings) -> None:
    used = {task.template for task in manifest.task}
    for index, template in enumerate(manifest.template):
        if template.id not in used and manifest.lead is None:
            findings.warn(f"{findings.name(('template', index))} is not used by any task", ("template", index))
    for index, task in enumerate(manifest.task):
        _doubt_vars(task, ("task", index), manifest, findings)


def _doubt_vars(task: Task, subject: Path, manifest: Manifest, findings: Findings) -> None:
    """Values that no template asks for."""
    if not task.vars:
        return
    if task.template is None:
        message = f"{findings.name(subject)}: vars have no effect on a prompt, only on a template"
        findings.warn(message, (*subject, "vars"), (*subject, "prompt"))
        return
    for name in sorted(task.vars.keys() - _asked_for(task, manifest)):
        message = f"{findings.name(subject)}: template {shown(task.template)} does not use the var {shown(name)}"
        findings.warn(message, (*subject, "vars", name), (*subject, "template"))


def _asked_for(task: Task, manifest: Manifest) -> set[str]:
    """The names a task's template uses; an unreadable template is another rule's."""
    for template in manifest.template:
        if template.id == task.template:
            try:
                return set(names_in(template.prompt))
            except TemplateError:
                break
    return set(task.vars)


def _doubt_swallowed_keys(manifest: Manifest, findings: Findings) -> None:
    """Keys of a section that a sub-table above them took: TOML gives it all that follow its header."""
    for subject in _tables_with_maps(manifest):
        section = section_at(subject)
        known = fields_of(section) if section is not None else {}
        for table in swallowing_tables(subject, findings):
            taken = findings.document.value(table)
            for name in sorted(known.keys() & taken.keys()) if isinstance(taken, dict) else ():
                if not _is_asked_for(name, table, manifest):
                    findings.warn(
                        f"{findings.name(table)} has {shown(name)}{trap(name, table, subject, findings)}",
                        (*table, name),
                    )


def _tables_with_maps(manifest: Manifest) -> Iterator[Path]:
    """The tables with a sub-table in which any key may stand, so that a stray one goes unnoticed."""
    yield ("defaults",)
    yield ("lead",)
    yield from (("task", index) for index in range(len(manifest.task)))
    yield from (("mcp_server", index) for index in range(len(manifest.mcp_server)))


def _is_asked_for(name: str, table: Path, manifest: Manifest) -> bool:
    """True for a var that the task's template uses by that name."""
    if table[0] != "task" or table[-1] != "vars" or not isinstance(table[1], int):
        return False
    task = manifest.task[table[1]]
    return task.template is not None and name in _asked_for(task, manifest)


def _doubt_tools(manifest: Manifest, findings: Findings) -> None:
    """An empty list used to mean no list, and a list used to restrict nothing."""
    tables: list[tuple[Path, list[str] | None]] = [(("defaults",), manifest.defaults.tools)]
    tables += [(("task", index), task.tools) for index, task in enumerate(manifest.task)]
    if manifest.lead is not None:
        tables.append((("lead",), manifest.lead.tools))
    for subject, tools in tables:
        if tools == []:
            name = findings.name((*subject, "tools"))
            findings.warn(
                f"{name} is empty: no built-in tool can be used; leave it out for the default list", (*subject, "tools")
            )
        for index, tool in enumerate(tools or []):
            if "(" in tool:
                whole = tool.partition("(")[0]
                findings.warn(
                    f"the pattern of {shown(tool)} is not enforced: the agent gets the whole tool {whole}; "
                    "an [[approval_policy]] with tool and args can look at its calls",
                    (*subject, "tools", index),
                )
