"""(b) The same pairs through the reference way, in the same run."""

import os

from benchmarks import verification
from benchmarks.bench import DATABASES, Bench
from benchmarks.child import measure_apart
from benchmarks.report import Report, Row, Target
from benchmarks.scans import writers

NAME = "reference"
LEAST = {"predict": 20, "tf.function": 5}  # times the CPU time of ours


def run(bench: Bench) -> Report:
    pairs = [
        pair
        for person in writers(bench.signatures, bench.sizes.writers, bench.sizes.questioned)
        for pair in person.pairs
    ]
    pairs = pairs[:: max(1, len(pairs) // bench.sizes.compared_pairs)]
    bench.say(f"reference: {len(pairs)} pairs by predict and by tf.function")
    theirs = measure_apart("benchmarks.reference_way", {"pairs": pairs})
    bench.say(f"reference: {len(pairs)} pairs by our reading and matching alone")
    alone = measure_apart("benchmarks.compute", {"pairs": pairs, "bundle": os.environ.get("COUNTERSIGN_BUNDLE")})
    ours = [_served(bench, database) for database in DATABASES]
    ours.append({"way": "Countersign, reading and matching alone", "ms": alone["wall_ms"], "CPU ms": alone["cpu_ms"]})
    ways = [
        {"way": f"reference, {name}", "ms": theirs[name]["wall_ms"], "CPU ms": theirs[name]["cpu_ms"]}
        for name in LEAST
    ]
    report = Report(NAME, "One verification, ours and the reference way, on the same CEDAR pairs")
    report.rows = [_compared(row, theirs) for row in [*ways, *ours]]
    report.targets = [
        Target(
            f"{name}'s CPU over ours, {row['way'].partition(', ')[2]}", least, row[f"{name} / it"], "x", at_least=True
        )
        for name, least in LEAST.items()
        for row in report.rows[len(ways) :]
    ]
    report.notes = [
        f"The reference network has {theirs['parameters']:,} parameters, here random. Preprocessing is included.",
        f"Whole server: CPU with {verification.BUSY} clients, HTTP and database included; ms is one client's p50.",
    ]
    return report


def _served(bench: Bench, database: str) -> Row:
    """The whole server's cost, from benchmark (a), which runs first if it has not."""
    if verification.NAME not in bench.results:
        bench.results[verification.NAME] = verification.run(bench)
    report = bench.results[verification.NAME]
    busy = verification.busy_row(report, database)
    alone = next(row for row in report.rows if row["database"] == database and row["clients"] == 1)
    return {
        "way": f"Countersign, the whole server on {database}",
        "ms": alone["p50 ms"],
        "CPU ms": busy["CPU ms service"] + busy["CPU ms database"],
    }


def _compared(row: Row, theirs: dict[str, dict[str, float]]) -> Row:
    return row | {f"{name} / it": theirs[name]["cpu_ms"] / row["CPU ms"] for name in LEAST}
