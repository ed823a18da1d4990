"""(g) A whole cheque over HTTP: found, lifted, judged and committed, on both databases."""

from pathlib import Path

import cv2
import numpy as np

from benchmarks import load
from benchmarks.bench import DATABASES, Bench
from benchmarks.report import Report, Row, Target
from benchmarks.scans import Writer, writers
from benchmarks.stand import Stand
from benchmarks.verification import WARM_UP_S, enrol, load_row

NAME = "cheques"
BUSY = 4  # clients at which throughput is judged
PEOPLE = 8
SPECIMENS = 3


def run(bench: Bench) -> Report:
    report = Report(NAME, "Whole cheques over HTTP: real ones of about 2000 pixels, every answer committed")
    people = writers(bench.signatures, PEOPLE, questioned=1)
    cheques = sorted((bench.signatures.parent / "cheques" / "idrbt" / "images").glob("*.jpg"))
    for database in DATABASES:
        report.rows += _measure(bench, database, people, cheques)
    report.targets = [target for database in DATABASES for target in _targets(report.rows, database)]
    report.notes = [
        "Each account has one signatory with three specimens, whose signature is not on the cheque.",
        f"The cheques are JPEG files, {_sizes(cheques)} pixels wide.",
        "p50/p99: seen by the client. Server p50: the request log, commit included.",
    ]
    return report


def _measure(bench: Bench, database: str, people: list[Writer], cheques: list[Path]) -> list[Row]:
    with bench.stand(database) as stand:
        stand.start()
        enrol(stand, people, SPECIMENS)
        requests = _requests(stand, people, cheques)
        load.generate(stand.port, BUSY, requests, WARM_UP_S)
        rows = []
        for clients in (1, BUSY):
            bench.say(f"cheques: {database}, {clients} client(s)")
            rows.append({"database": database} | load_row(stand, clients, requests, bench))
        return rows


def _requests(stand: Stand, people: list[Writer], cheques: list[Path]) -> list[bytes]:
    return [
        load.multipart(
            f"/v1/accounts/{people[turn % len(people)].account_id}/verifications",
            stand.api_key,
            [("kind", "cheque"), ("image", path.read_bytes())],
        )
        for turn, path in enumerate(cheques)
    ]


def _sizes(cheques: list[Path]) -> str:
    widths = [cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE).shape[1] for path in cheques]
    return f"{min(widths)} to {max(widths)}"


def _targets(rows: list[Row], database: str) -> list[Target]:
    alone, busy = (
        next(row for row in rows if (row["database"], row["clients"]) == (database, clients)) for clients in (1, BUSY)
    )
    return [
        Target(
            f"p50 of a cheque inside the server, 1 client, {database}", 60, alone["server p50"], "ms", moonshot=30
        ),
        Target(f"cheques a second, {BUSY} clients, {database}", 20, busy["per s"], "/s", at_least=True, moonshot=40),
    ]
