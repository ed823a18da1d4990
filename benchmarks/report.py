"""What a benchmark answers, and how it is shown: a table, the targets beside their figures, JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A figure that was asked for. `limit` is the most, or with `at_least` the least, that meets it."""

    what: str
    asked: float
    measured: float
    unit: str
    at_least: bool = False
    moonshot: float | None = None

    @property
    def met(self) -> bool:
        return self._reaches(self.asked)

    @property
    def verdict(self) -> str:
        if self.moonshot is not None and self._reaches(self.moonshot):
            return "yes, moonshot too"
        return "yes" if self.met else "NO"

    def _reaches(self, limit: float) -> bool:
        return self.measured >= limit if self.at_least else self.measured <= limit


@dataclass
class Report:
    """`rows` share their keys, which head the columns."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        targets = [{**asdict(target), "met": target.met} for target in self.targets]
        return {"title": self.title, "rows": self.rows, "targets": targets, "notes": self.notes}


def percentiles(milliseconds: Sequence[float]) -> Row:
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"p50 ms": float(p50), "p99 ms": float(p99)}


def show(report: Report, console: Console) -> None:
    console.print(_table(report.title, report.rows))
    if report.targets:
        console.print(_table("Asked and measured", [_target_row(target) for target in report.targets]))
    for note in report.notes:
        console.print(f"  {note}", style="dim", markup=False)
    console.print()


def markdown(report: Report) -> str:
    parts = [f"## {report.title}", _markdown_table(report.rows)]
    if report.targets:
        parts.append(_markdown_table([_target_row(target) for target in report.targets]))
    parts.extend(f"- {note}" for note in report.notes)
    return "\n\n".join(parts) + "\n"


def _target_row(target: Target) -> Row:
    sign = ">=" if target.at_least else "<="
    asked = f"{sign} {_text(target.asked)} {target.unit}"
    if target.moonshot is not None:
        asked += f" (moonshot {_text(target.moonshot)})"
    return {
        "figure": target.what,
        "asked": asked,
        "measured": f"{_text(target.measured)} {target.unit}",
        "met": target.verdict,
    }


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in rows[0]:
        table.add_column(name, justify="right" if _is_number(rows[0][name]) else "left")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    return table


def _markdown_table(rows: list[Row]) -> str:
    head = f"| {' | '.join(rows[0])} |"
    line = f"|{'|'.join('---:' if _is_number(value) else '---' for value in rows[0].values())}|"
    return "\n".join([head, line, *(f"| {' | '.join(_text(value) for value in row.values())} |" for row in rows)])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
