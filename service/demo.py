"""`demo`: the main job from beginning to end, over HTTP, against a real server on an empty database."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from service import demo_cheque
from service.demo_client import Client
from service.pictures import Tile, draw_sheet

COLOUR = {"accept": "green", "refer": "yellow", "reject": "red"}


@dataclass(frozen=True)
class Judged:
    customer: str
    kind: str
    image: Path
    answer: dict[str, Any]
    wall_ms: float


def run(samples: Path, out: Path) -> None:
    """Raises `SystemExit(1)` where the product does not do what it promises."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    out.mkdir(parents=True, exist_ok=True)
    people = sorted(folder for folder in samples.iterdir() if folder.is_dir())
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as client:
        _enrol(client, people, console)
        judged = _verify(client, people, console)
        console.print(_results(judged))
        inside = median(one.answer["timings_ms"]["total"] for one in judged)
        outside = median(one.wall_ms for one in judged)
        console.print(f"Median of {len(judged)}: {inside:.1f} ms in the server, {outside:.1f} ms over HTTP.")
        demo_cheque.show(client, samples, out, console)
        _search(client, people[0], console)
        _remove(client, people[0], _account(people, people[0]), Path(folder), console)
    sheet = out / "contact-sheet.png"
    sheet.write_bytes(draw_sheet(_tiles(judged, people)))
    console.print(f"\nEvery verification as a picture: [bold]{sheet}[/bold]")


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[Client]:
    port = _free_port()
    environment = os.environ | {
        "COUNTERSIGN_DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        "COUNTERSIGN_KEYSTORE_URL": f"file:{folder / 'keystore.json'}",
        "COUNTERSIGN_BIND": f"127.0.0.1:{port}",
        "COUNTERSIGN_METRICS_BIND": f"127.0.0.1:{_free_port()}",
    }
    command = [sys.executable, "-m", "service"]
    subprocess.run([*command, "migrate"], env=environment, check=True, stderr=subprocess.DEVNULL)
    scopes = "enrol,verify,search,review,admin"
    key = subprocess.run(
        [*command, "create-key", "--scopes", scopes], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([*command, "serve"], env=environment, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, server, folder / "server.log")
        yield Client(url, key)
    finally:
        server.terminate()
        server.wait(timeout=40)


def _enrol(client: Client, people: list[Path], console: Console) -> None:
    with Progress(console=console, transient=True) as progress:
        for person in progress.track(people, description="enrolling"):
            specimens = [person / "genuine_1.png", person / "genuine_2.png"]
            fields = {"customer_id": person.name, "account_id": _account(people, person)}
            client.post("/v1/customers", fields, {"specimen": specimens}, expect=201)
    console.print(f"Enrolled {len(people)} customers with two specimens each, by POST /v1/customers.")


def _verify(client: Client, people: list[Path], console: Console) -> list[Judged]:
    questions = [
        (person, image)
        for person in people
        for image in sorted(person.glob("*.png"), key=lambda path: (path.stem.startswith("forged"), path.stem))
        if _is_questioned(image)
    ]
    judged = []
    with Progress(console=console, transient=True) as progress:
        for person, image in progress.track(questions, description="verifying"):
            path = f"/v1/accounts/{_account(people, person)}/verifications"
            started = time.perf_counter()
            answer = client.post(path, {}, {"image": [image]}, expect=201)
            wall_ms = (time.perf_counter() - started) * 1000
            judged.append(Judged(person.name, image.stem, image, answer, wall_ms))
    stranger = people[1] / "genuine_1.png"
    path = f"/v1/accounts/{_account(people, people[0])}/verifications"
    started = time.perf_counter()
    answer = client.post(path, {}, {"image": [stranger]}, expect=201)
    wall_ms = (time.perf_counter() - started) * 1000
    return [*judged, Judged(people[0].name, f"signed by {people[1].name}", stranger, answer, wall_ms)]


def _search(client: Client, person: Path, console: Console) -> None:
    items = client.post("/v1/searches", {"limit": "3"}, {"image": [person / "genuine_3.png"]}, expect=200)["items"]
    console.print(f"\nWho signed {person.name}/genuine_3.png?  POST /v1/searches")
    table = Table()
    table.add_column("customer")
    table.add_column("score", justify="right")
    for item in items:
        table.add_row(item["customer_id"], f"{item['score']:.3f}")
    console.print(table)


def _remove(client: Client, person: Path, account: str, folder: Path, console: Console) -> None:
    """Removes a leaver and looks for what might be left, through the API and in the files."""
    customer = person.name
    receipt = client.delete(f"/v1/customers/{customer}", expect=200)
    went = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in receipt["counts"].items() if count)
    image = {"image": [person / "genuine_3.png"]}
    found = client.post("/v1/searches", {"limit": "100"}, image, expect=200)["items"]
    client.get(f"/v1/customers/{customer}", expect=404)
    client.post(f"/v1/accounts/{account}/verifications", {}, image, expect=409)
    named = client.get("/v1/verifications?limit=200", expect=200)["items"]
    matches = [match for row in named for match in (*row["signatures"], *row["candidates"])]
    checks = {
        "GET /v1/customers/… answers 404": True,
        "verifying against the account answers 409 account_not_enrolled": True,
        "no 1:N search finds the leaver": all(item["customer_id"] != customer for item in found),
        "no past verification names the leaver": all(match["customer_id"] != customer for match in matches),
        "no file of the service holds the specimen": not _holds(folder, (person / "genuine_1.png").read_bytes()),
        "no file of the service holds the customer's id": not _holds(folder, customer.encode()),
    }
    console.print(f"\nRemoved {customer} by DELETE /v1/customers/…: {went}.  Receipt {receipt['receipt_id']}")
    for check, holds in checks.items():
        console.print(f"  {'[green]✓' if holds else '[red]✗'}[/] {check}")
    if not all(checks.values()):
        raise SystemExit(1)


def _results(judged: list[Judged]) -> Table:
    table = Table(title="POST /v1/accounts/…/verifications")
    for column in ("account of", "questioned", "score", "outcome", "reasons"):
        table.add_column(column)
    table.add_column("in the server", justify="right")
    table.add_column("over HTTP", justify="right")
    for one in judged:
        outcome = one.answer["outcome"]
        table.add_row(
            one.customer,
            one.kind,
            f"{one.answer['score']:.3f}",
            f"[{COLOUR[outcome]}]{outcome}[/]",
            " ".join(one.answer["reasons"]),
            f"{one.answer['timings_ms']['total']:.1f} ms",
            f"{one.wall_ms:.1f} ms",
        )
    return table


def _tiles(judged: list[Judged], people: list[Path]) -> list[list[Tile]]:
    rows = []
    for person in people:
        mine = [one for one in judged if one.customer == person.name]
        reference = Tile((person / "genuine_1.png").read_bytes(), f"{person.name}: enrolled", None)
        rows.append(
            [reference]
            + [
                Tile(one.image.read_bytes(), f"{one.kind}  {one.answer['score']:.2f}", one.answer["outcome"])
                for one in mine
            ]
        )
    return rows


def _account(people: list[Path], person: Path) -> str:
    return f"{10_000_001 + people.index(person)}"


def _is_questioned(image: Path) -> bool:
    return image.stem not in {"genuine_1", "genuine_2"}


def _holds(folder: Path, needle: bytes) -> bool:
    return any(needle in path.read_bytes() for path in folder.iterdir() if path.is_file())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{url}/readyz", timeout=5)  # noqa: S310 (our own address)
            return
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text()[-2000:]}")
