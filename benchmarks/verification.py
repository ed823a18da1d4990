"""(a) Verification over HTTP, on both databases, both durable."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import load
from benchmarks.bench import DATABASES, Bench
from benchmarks.report import Report, Row, Target, percentiles
from benchmarks.scans import Writer, writers
from benchmarks.stand import Stand

NAME = "verification"
BUSY = 8  # clients at which throughput and cost are judged
WARM_UP_S = 1.0


def run(bench: Bench) -> Report:
    report = Report(NAME, "Verification over HTTP: one signatory, CEDAR scans, every answer committed")
    people = writers(bench.signatures, bench.sizes.writers, bench.sizes.questioned)
    for database in DATABASES:
        for specimens in (1, 3):
            # Several specimens change the cost of matching alone, which shows with few clients as well.
            clients = bench.sizes.clients if specimens == 1 else (1, BUSY)
            report.rows += _measure(bench, database, people, specimens, clients, report.notes)
    report.targets = [target for database in DATABASES for target in _targets(report.rows, database)]
    report.notes += [
        "p50/p99: seen by the client. Server p50: the request log, commit included.",
        "Handler p50: `timings_ms.total` of the answer, from decoding to the match.",
        "CPU ms: CPU time per verification of all service processes, the database server's, the load generator's.",
        "The load generator shares the cores with the server.",
    ]
    return report


def busy_row(report: Report, database: str) -> Row:
    return _row(report.rows, database, BUSY)


def _measure(
    bench: Bench, database: str, people: list[Writer], specimens: int, clients: Sequence[int], notes: list[str]
) -> list[Row]:
    with bench.stand(database) as stand:
        stand.start()
        notes += _durability(stand, database, specimens)
        enrol(stand, people, specimens)
        requests = verification_requests(stand, people)
        load.generate(stand.port, BUSY, requests, WARM_UP_S)
        rows = []
        for number in clients:
            bench.say(f"verification: {database}, {specimens} specimen(s), {number} client(s)")
            rows.append({"database": database, "specimens": specimens} | load_row(stand, number, requests, bench))
        return rows


def enrol(stand: Stand, people: list[Writer], specimens: int) -> None:
    for person in people:
        images = [base64.b64encode(path.read_bytes()).decode() for path in person.specimens[:specimens]]
        content = {"customer_id": person.name, "account_ids": [person.account_id], "specimens": images}
        stand.call("POST", "/v1/customers", content)


def verification_requests(stand: Stand, people: list[Writer]) -> list[bytes]:
    """One per questioned signature, neighbours from different accounts."""
    asked = [(person.account_id, person.questioned) for person in people]
    return [
        load.multipart(
            f"/v1/accounts/{account_id}/verifications", stand.api_key, [("image", paths[turn].read_bytes())]
        )
        for turn in range(min(len(paths) for _, paths in asked))
        for account_id, paths in asked
    ]


def load_row(stand: Stand, clients: int, requests: list[bytes], bench: Bench) -> Row:
    logged, (service, database) = stand.log_size(), stand.cpu_seconds()
    result = load.generate(stand.port, clients, requests, bench.sizes.seconds)
    service_after, database_after = stand.cpu_seconds()
    count = checked_count(result)
    return {
        "clients": clients,
        "per s": count / result["wall_s"],
        **percentiles(result["milliseconds"]),
        "server p50": float(np.median(stand.logged_ms(logged))),
        "handler p50": float(np.median(result["total_ms"])),
        "CPU ms service": 1000 * (service_after - service) / count,
        "CPU ms database": 1000 * (database_after - database) / count,
        "CPU ms load": 1000 * result["cpu_s"] / count,
    }


def checked_count(result: dict[str, Any]) -> int:
    """How many requests were answered; RuntimeError unless each of them succeeded."""
    if set(result["statuses"]) != {"201"}:
        raise RuntimeError(f"not every request succeeded: {result['statuses']}")
    return int(result["statuses"]["201"])


def _durability(stand: Stand, database: str, specimens: int) -> list[str]:
    if specimens > 1:
        return []
    if stand.postgres is None:
        return [f"{database}: journal_mode WAL, synchronous FULL (the service sets both on every connection)."]
    return [f"{database}: {', '.join(f'{name} {value}' for name, value in stand.postgres.durability().items())}."]


def _row(rows: list[Row], database: str, clients: int) -> Row:
    return next(row for row in rows if (row["database"], row["specimens"], row["clients"]) == (database, 1, clients))


def _targets(rows: list[Row], database: str) -> list[Target]:
    alone, busy = _row(rows, database, 1), _row(rows, database, BUSY)
    return [
        Target(f"p50 inside the server, 1 client, {database}", 10, alone["server p50"], "ms", moonshot=5),
        Target(f"throughput, {BUSY} clients, {database}", 150, busy["per s"], "/s", at_least=True, moonshot=300),
    ]
