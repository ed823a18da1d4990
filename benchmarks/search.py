"""(d) 1:N: the index alone, at several sizes."""

from benchmarks.bench import Bench
from benchmarks.bundles import current
from benchmarks.child import measure_apart
from benchmarks.index_search import CHECKED, NEAREST
from benchmarks.report import Report, Row, Target, percentiles

NAME = "search"
ASKED_DIMENSION = 256
ASKED_MS = {100_000: 10, 1_000_000: 100}


def run(bench: Bench) -> Report:
    report = Report(NAME, f"1:N, exact, the {NEAREST} nearest, one thread")
    for dimension in dict.fromkeys((ASKED_DIMENSION, current().dimension)):
        bench.say(f"search: index of up to {bench.sizes.templates[-1]:,} templates, d = {dimension}")
        report.rows += _index_rows(bench, dimension)
    report.targets = [
        Target(f"p50 at {row['templates']:,}, d = {row['d']}", ASKED_MS[row["templates"]], row["p50 ms"], "ms")
        for row in report.rows
        if row["templates"] in ASKED_MS
    ]
    report.notes = [
        f"Random vectors; {CHECKED} searches at each size gave numpy's ids and distances.",
        "Remove: taking one template out, which copies the whole index.",
    ]
    return report


def _index_rows(bench: Bench, dimension: int) -> list[Row]:
    task = {"dimension": dimension, "templates": bench.sizes.templates, "searches": bench.sizes.searches}
    measured = measure_apart("benchmarks.index_search", task)["rows"]
    return [
        {"templates": row["templates"], "d": dimension}
        | percentiles(row["milliseconds"])
        | {"remove ms": row["remove_ms"]}
        for row in measured
    ]
