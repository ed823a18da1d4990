"""(f) An activation: how many specimens a second are embedded again, and what verifications feel of it."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import load, seed
from benchmarks.bench import DATABASES, Bench
from benchmarks.bundles import current, renamed
from benchmarks.report import Report, Row, Target, percentiles
from benchmarks.scans import Writer, writers
from benchmarks.stand import Stand
from benchmarks.verification import BUSY, WARM_UP_S, checked_count, enrol, verification_requests

NAME = "activation"
PER_SECOND = 20
POLL_SECONDS = 0.1
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
        "Embedded/s: from the request to the switch, with nothing else asked; one worker, two threads.",
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
        alone = _activate(stand, ALONE)
        bench.say(f"activation: {database}, {PER_SECOND} verifications/s without and with one")
        before = _verify(stand, requests, bench)
        with ThreadPoolExecutor(1) as pool:
            activation = pool.submit(_activate, stand, WATCHED)
            during = _verify(stand, requests, bench)
            watched = activation.result()
    return {
        "specimens": alone["total"],
        "embedded/s": _rate(alone),
        "verifications/s": PER_SECOND,
        "p99 ms": before["p99 ms"],
        "p99 ms during": during["p99 ms"],
        "embedded/s during": _rate(watched),
    }


def _activate(stand: Stand, version: str) -> dict[str, Any]:
    answer = stand.call("POST", f"/v1/models/{version}/activation", {"mode": "switch"})
    while answer["state"] == "reembedding":
        time.sleep(POLL_SECONDS)
        answer = stand.call("GET", f"/v1/activations/{answer['activation_id']}", {})
    if answer["state"] != "done":
        raise RuntimeError(f"the activation failed: {answer['problem']}")
    return answer


def _rate(activation: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(activation[name]) for name in ("created_at", "finished_at"))
    return float(activation["done"] / (ended - began).total_seconds())


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
