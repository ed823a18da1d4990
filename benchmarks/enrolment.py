"""(c) Enrolment over HTTP: one by one, and in bulk by several clients with one and with three specimens a person."""

from itertools import cycle, islice

from benchmarks import load
from benchmarks.bench import DATABASES, Bench
from benchmarks.report import Report, Row, percentiles
from benchmarks.scans import Writer, writers
from benchmarks.stand import Stand
from benchmarks.verification import checked_count

NAME = "enrolment"
WAYS = (("one by one", 1, 1), ("in bulk", 8, 1), ("in bulk", 8, 3))


def run(bench: Bench) -> Report:
    report = Report(NAME, "Enrolment over HTTP: customer, account, specimens and templates, every answer committed")
    people = writers(bench.signatures, bench.sizes.writers, bench.sizes.questioned)
    for database in DATABASES:
        with bench.stand(database) as stand:
            stand.start()
            for number, (way, clients, specimens) in enumerate(WAYS):
                bench.say(f"enrolment: {database}, {way}, {clients} client(s), {specimens} specimen(s)")
                requests = _requests(stand, people, f"c{number}", specimens, bench.sizes.enrolments)
                row = _measure(stand, clients, specimens, requests)
                report.rows.append({"database": database, "way": way} | row)
    return report


def _requests(stand: Stand, people: list[Writer], prefix: str, specimens: int, count: int) -> list[bytes]:
    return [
        load.multipart(
            "/v1/customers",
            stand.api_key,
            [
                ("customer_id", f"{prefix}-{number}"),
                ("account_id", f"{prefix}-{number}"),
                *(("specimen", path.read_bytes()) for path in person.specimens[:specimens]),
            ],
        )
        for number, person in enumerate(islice(cycle(people), count))
    ]


def _measure(stand: Stand, clients: int, specimens: int, requests: list[bytes]) -> Row:
    service, database = stand.cpu_seconds()
    result = load.generate(stand.port, clients, requests, seconds=None)
    service_after, database_after = stand.cpu_seconds()
    count = checked_count(result)
    return {
        "clients": clients,
        "specimens": specimens,
        "customers/s": count / result["wall_s"],
        "specimens/s": count * specimens / result["wall_s"],
        **percentiles(result["milliseconds"]),
        "CPU ms service": 1000 * (service_after - service) / count,
        "CPU ms database": 1000 * (database_after - database) / count,
    }
