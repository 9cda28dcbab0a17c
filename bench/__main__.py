"""``python -m bench [ROW ...]``: measure, print the table, exit 1 if a goal was missed."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import control, crash, laws, rows, tree, views
from bench.ground import Row

ROWS = rows.ROWS | laws.ROWS | crash.ROWS | tree.ROWS | views.ROWS | control.ROWS
CORES = os.cpu_count() or 1


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        print(f"no such row: {', '.join(unknown)}; there are: {', '.join(ROWS)}")
        return 2
    found: list[Row] = []
    for name in names or list(ROWS):
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="pitboss-bench-") as place:
            found.append(ROWS[name](Path(place)))
    table = Table(title=f"Pitboss, {CORES} cores; medians, floors measured in the same run")
    for heading in ("what", "goal", "measured", "", "detail"):
        table.add_column(heading, overflow="fold")
    for row in found:
        table.add_row(row.what, row.goal, row.measured, "ok" if row.reached else "MISSED", row.detail)
    Console(width=150).print(table)
    return 0 if all(row.reached for row in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
