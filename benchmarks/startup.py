"""(e) From the start of the process to every server process ready, and the memory of the whole service."""

import statistics
import time

from benchmarks import load, seed
from benchmarks.bench import DATABASES, Bench
from benchmarks.bundles import current, of_dimension
from benchmarks.report import Report, Row, Target
from benchmarks.scans import writers
from benchmarks.stand import Stand
from benchmarks.verification import BUSY, WARM_UP_S
from embeddings.bundle import Bundle

NAME = "startup"
ASKED_DIMENSION = 256


def run(bench: Bench) -> Report:
    report = Report(NAME, f"Start to ready and memory with {bench.sizes.stored:,} templates in the database")
    asked = of_dimension(ASKED_DIMENSION, bench.folder / "stand-in")
    bundles = {bundle.model_version: bundle for bundle in (asked, current())}
    for database in DATABASES:
        for bundle in bundles.values():
            report.rows.append(_measure(bench, database, bundle))
    report.targets = [target for row in report.rows if row["d"] == ASKED_DIMENSION for target in _targets(row)]
    report.notes = [
        f"Seconds: from starting the process to both server processes ready, the median of {bench.sizes.starts}.",
        "MB: sum of proportional set sizes (shared memory counted once), after a second of comparisons by 8 clients.",
        "PostgreSQL's own processes are not in it.",
        "Each stored specimen holds a real scan.",
    ]
    return report


def _measure(bench: Bench, database: str, bundle: Bundle) -> Row:
    image = writers(bench.signatures, 1, 1)[0].specimens[0].read_bytes()
    with bench.stand(database, {"COUNTERSIGN_BUNDLE": str(bundle.folder)}) as stand:
        bench.say(f"start: {database}, {bundle.model_version}, storing {bench.sizes.stored:,} customers")
        seed.store(stand, bundle, bench.sizes.stored, image)
        seconds = []
        for _ in range(bench.sizes.starts):
            stand.stop()
            seconds.append(_start(stand))
        bench.say(f"start: {database}, ready after {statistics.median(seconds):.2f} s")
        _work(stand, image)
        memory = stand.memory_mb()
    return {
        "database": database,
        "bundle": bundle.model_version,
        "d": bundle.dimension,
        "templates": bench.sizes.stored,
        "seconds": statistics.median(seconds),
        "MB": sum(map(sum, memory.values())),
        **{f"{role} MB": sum(sizes) for role, sizes in memory.items()},
    }


def _work(stand: Stand, image: bytes) -> None:
    """Every process has then touched what it needs to serve."""
    request = load.multipart("/v1/comparisons", stand.api_key, [("image_a", image), ("image_b", image)])
    load.generate(stand.port, BUSY, [request], WARM_UP_S)


def _start(stand: Stand) -> float:
    started = time.perf_counter()
    stand.start()
    return time.perf_counter() - started


def _targets(row: Row) -> list[Target]:
    where = f"{row['templates']:,} x {row['d']}, {row['database']}"
    return [
        Target(f"start to ready, {where}", 3, row["seconds"], "s"),
        Target(f"memory of the service, {where}", 500, row["MB"], "MB"),
    ]
