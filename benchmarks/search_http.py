"""(d) 1:N over HTTP: a scan read, searched among many customers, and each hit looked up and opened."""

from benchmarks import load, seed
from benchmarks.bench import DATABASES, Bench
from benchmarks.bundles import current
from benchmarks.report import Report, Row, percentiles
from benchmarks.scans import writers
from benchmarks.stand import Stand
from benchmarks.verification import BUSY, WARM_UP_S

NAME = "search-http"


def run(bench: Bench) -> Report:
    bundle = current()
    report = Report(NAME, f"1:N over HTTP among {bench.sizes.stored:,} customers, d = {bundle.dimension}")
    people = writers(bench.signatures, bench.sizes.writers, bench.sizes.questioned)
    for database in DATABASES:
        with bench.stand(database) as stand:
            bench.say(f"search over HTTP: {database}, storing {bench.sizes.stored:,} customers")
            seed.store(stand, bundle, bench.sizes.stored, people[0].specimens[0].read_bytes())
            stand.start()
            requests = [
                load.multipart("/v1/searches", stand.api_key, [("image", path.read_bytes())])
                for person in people
                for path in person.questioned
            ]
            load.generate(stand.port, BUSY, requests, WARM_UP_S)
            for clients in (1, BUSY):
                bench.say(f"search over HTTP: {database}, {clients} client(s)")
                report.rows.append({"database": database} | _measure(stand, clients, requests, bench))
    return report


def _measure(stand: Stand, clients: int, requests: list[bytes], bench: Bench) -> Row:
    before = sum(stand.cpu_seconds())
    result = load.generate(stand.port, clients, requests, bench.sizes.seconds)
    cpu = sum(stand.cpu_seconds()) - before
    if set(result["statuses"]) != {"200"}:
        raise RuntimeError(f"not every search succeeded: {result['statuses']}")
    count = result["statuses"]["200"]
    return {
        "clients": clients,
        "per s": count / result["wall_s"],
        **percentiles(result["milliseconds"]),
        "CPU ms": 1000 * cpu / count,
    }
