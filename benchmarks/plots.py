"""One picture of a run: what each benchmark answered, as far as it ran."""

from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks import enrolment, reference, search, startup, verification
from benchmarks.report import Report, Row

OURS, THEIRS, ASKED = "#2f6f8f", "#c0703a", "#888888"
COLOURS = {"SQLite": "#2f6f8f", "PostgreSQL": "#7a5c9e"}


def draw(reports: Mapping[str, Report], path: Path) -> None:
    panels = [(draw_panel, reports[name]) for name, draw_panel in PANELS if name in reports]
    if not panels:
        return
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(5.2 * columns, 3.9 * lines), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (draw_panel, report) in zip(grid.flat, panels, strict=False):
        draw_panel(axes, report.rows)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _throughput(axes: Axes, rows: list[Row]) -> None:
    for database, mine in _by_database(rows):
        axes.plot(
            [row["clients"] for row in mine],
            [row["per s"] for row in mine],
            "o-",
            label=database,
            color=COLOURS[database],
        )
    for asked in (150, 300):
        axes.axhline(asked, color=ASKED, linestyle=":", linewidth=1)
    _scale_clients(axes, rows)
    axes.set(title="Verifications per second", xlabel="clients", ylim=(0, None))
    axes.legend(frameon=False)


def _latency(axes: Axes, rows: list[Row]) -> None:
    for database, mine in _by_database(rows):
        clients = [row["clients"] for row in mine]
        for column, style in (("p50 ms", "o-"), ("p99 ms", "o--"), ("server p50", "o:")):
            axes.plot(
                clients, [row[column] for row in mine], style, label=f"{database}, {column}", color=COLOURS[database]
            )
    _scale_clients(axes, rows)
    axes.set(title="Milliseconds a verification", xlabel="clients", yscale="log")
    axes.legend(frameon=False, fontsize=7, handlelength=4)


def _cost(axes: Axes, rows: list[Row]) -> None:
    labels = [row["way"].replace(", ", ",\n").replace(" on ", "\non ") for row in rows]
    bars = axes.barh(
        labels, [row["CPU ms"] for row in rows], color=[THEIRS if "reference" in row["way"] else OURS for row in rows]
    )
    axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set(title="CPU milliseconds a verification", xscale="log")
    axes.margins(x=0.2)
    axes.tick_params(axis="y", labelsize=8)


def _enrolment(axes: Axes, rows: list[Row]) -> None:
    labels = [f"{row['database']}\n{row['clients']} x {row['specimens']}" for row in rows]
    bars = axes.bar(labels, [row["specimens/s"] for row in rows], color=[COLOURS[row["database"]] for row in rows])
    axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set(title="Specimens enrolled per second", xlabel="clients x specimens a customer")
    axes.tick_params(axis="x", labelsize=7)


def _search(axes: Axes, rows: list[Row]) -> None:
    for dimension in dict.fromkeys(row["d"] for row in rows):
        mine = [row for row in rows if row["d"] == dimension]
        axes.plot([row["templates"] for row in mine], [row["p50 ms"] for row in mine], "o-", label=f"d = {dimension}")
    asked = search.ASKED_MS
    axes.plot(list(asked), list(asked.values()), "x", color=ASKED, label="asked")
    axes.set(title="1:N, exact, one thread: ms a search", xlabel="templates", xscale="log", yscale="log")
    axes.legend(frameon=False)


def _memory(axes: Axes, rows: list[Row]) -> None:
    labels = [f"{row['database']}\nd = {row['d']}\n{row['seconds']:.2f} s" for row in rows]
    bottom = [0.0] * len(rows)
    for role in [name for name in rows[0] if name.endswith(" MB")]:
        sizes = [row[role] for row in rows]
        axes.bar(labels, sizes, bottom=bottom, label=role.removesuffix(" MB"))
        bottom = [one + other for one, other in zip(bottom, sizes, strict=True)]
    axes.axhline(500, color=ASKED, linestyle=":", linewidth=1)
    axes.set(title=f"MB with {rows[0]['templates']:,} templates, and seconds to ready")
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(0, 1.35 * max(500, *bottom))
    axes.legend(frameon=False, fontsize=7, ncols=2)


def _by_database(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    return [
        (database, [row for row in rows if row["database"] == database and row["specimens"] == 1])
        for database in COLOURS
    ]


def _scale_clients(axes: Axes, rows: list[Row]) -> None:
    clients = sorted({row["clients"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients, [str(number) for number in clients])


PANELS: list[tuple[str, Callable[[Axes, list[Row]], None]]] = [
    (verification.NAME, _throughput),
    (verification.NAME, _latency),
    (reference.NAME, _cost),
    (enrolment.NAME, _enrolment),
    (search.NAME, _search),
    (startup.NAME, _memory),
]
