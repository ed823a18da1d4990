"""(f) An activation: how many specimens a second are embedded again, and what verifications feel of it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks import load, seed
from benchmarks.bench import DATABASES, Bench
from benchmarks.bundles import current, renamed
from benchmarks.report import Report, Row, Target, percentiles
from benchmarks.scans import Writer, writers
from benchmarks.stand import Stand
from benchmarks.verification import BUSY, WARM_UP_S, checked_count, enrol, verification_requests

NAME = "activation"
PER_SECOND = 20
POLL_SECONDS = 0.25
ALONE, WATCHED = "bench-1", "bench-2"


def run(bench: Bench) -> Report:
    report = Report(NAME, f"Activation of another version: {bench.sizes.embedded:,} specimens, every write durable")
    people = writers(bench.signatures, bench.sizes.writers, bench.sizes.questioned)
    shelf = bench.folder / "models"
    for version in (ALONE, WATCHED):
        renamed(version, shelf / version)
    for database in DATABASES:
        report.rows.append({"database": database} | _measure(bench, database, people, shelf))
    report.targets = [target for row in report.rows for target in _targets(row)]
    report.notes = [
        "Embedded/s: from the request to the last specimen, with nothing else asked; one worker, two processes.",
        f"p99: of {PER_SECOND} verifications a second, from when each was due: with no activation, and with one.",
        "Each stored specimen holds a real scan.",
    ]
    return report


def _measure(bench: Bench, database: str, people: list[Writer], shelf: Path) -> Row:
    with bench.stand(database, {"COUNTERSIGN_MODELS": str(shelf)}) as stand:
        bench.say(f"activation: {database}, storing {bench.sizes.embedded:,} specimens")
        seed.store(stand, current(), bench.sizes.embedded, people[0].specimens[0].read_bytes())
        stand.start()
        enrol(stand, people, specimens=1)
        requests = verification_requests(stand, people)
        load.generate(stand.port, BUSY, requests, WARM_UP_S)
        bench.say(f"activation: {database}, nothing else")
        alone = _embed(stand, ALONE)
        bench.say(f"activation: {database}, {PER_SECOND} verifications/s without and with one")
        before = _verify(stand, requests, bench)
        with ThreadPoolExecutor(1) as pool:
            verifying = pool.submit(_verify, stand, requests, bench)
            beside = _embed(stand, WATCHED, verifying.done)
            during = verifying.result()
    return {
        "specimens": alone.specimens,
        "embedded/s": alone.per_second,
        "verifications/s": PER_SECOND,
        "p99 ms": before["p99 ms"],
        "p99 ms during": during["p99 ms"],
        "embedded/s during": beside.per_second,
    }


@dataclass(frozen=True)
class Embedded:
    specimens: int
    per_second: float


def _embed(stand: Stand, version: str, is_enough: Callable[[], bool] = lambda: False) -> Embedded:
    """Until the version is active, or `is_enough`; timed to the last specimen, because a switch waits for the indexes
    of every process, however few there are."""
    started = perf_counter()
    answer = stand.call("POST", f"/v1/models/{version}/activation", {"mode": "switch"})
    seconds = 0.0
    while answer["state"] == "reembedding" and not is_enough():
        time.sleep(POLL_SECONDS)
        answer = stand.call("GET", f"/v1/activations/{answer['activation_id']}", {})
        if not seconds and answer["done"] == answer["total"]:
            seconds = perf_counter() - started
    if answer["state"] == "failed":
        raise RuntimeError(f"the activation failed: {answer['problem']}")
    return Embedded(answer["done"], answer["done"] / (seconds or perf_counter() - started))


def _verify(stand: Stand, requests: list[bytes], bench: Bench) -> Row:
    result = load.generate(stand.port, BUSY, requests, bench.sizes.seconds, PER_SECOND)
    checked_count(result)
    return percentiles(result["milliseconds"])


def _targets(row: Row) -> list[Target]:
    times = row["p99 ms during"] / row["p99 ms"]
    return [
        Target(f"specimens embedded again, {row['database']}", 150, row["embedded/s"], "/s", at_least=True),
        Target(f"p99 during an activation, {row['database']}", 3, times, "times that without"),
    ]
