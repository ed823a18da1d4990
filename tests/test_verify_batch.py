"""`verify-batch`, in this process and with processes of its own."""

import csv
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from service import batch_run, batches
from service.batch_results import COLUMNS, ResultsFile
from service.cli import main
from service.manifest import Entry
from service.models import Batch, BatchRow, Verification
from tests.support import images
from tests.support.images import signature
from tests.support.world import World
from tests.test_batches import new_account, work

ON_SQLITE = pytest.mark.parametrize("world", ["sqlite"], indirect=True)


class Desk:
    """An operator's folder with a manifest and scans, and the command line."""

    def __init__(self, world: World, folder: Path, account: str) -> None:
        self.world = world
        self.folder = folder
        self.account = account
        self.out = folder / "results.csv"
        self.marker = folder / "results.csv.batch"
        self.scan("own.png", signature("ada", 2))
        self.scan("other.png", signature("zoe"))
        self.scan("blank.png", images.blank_page())

    def scan(self, name: str, image: bytes) -> None:
        path = self.folder / "scans" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)

    def write(self, *lines: str, columns: str = "account_id,image") -> None:
        rows = [line.replace("ACCOUNT", self.account) for line in lines]
        (self.folder / "monday.csv").write_text("\n".join([columns, *rows, ""]), "utf-8")

    def run(self, *options: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        settings = {
            "COUNTERSIGN_DATABASE_URL": self.world.settings.database_url,
            "COUNTERSIGN_KEYSTORE_URL": self.world.settings.keystore_url,
        }
        arguments = ["verify-batch", str(self.folder / "monday.csv"), "--out", str(self.out), *options]
        with patch("service.cli.logs.configure"), patch("service.held_models.log"):  # they would write to it
            done = CliRunner().invoke(main, arguments, env=settings)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def results(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out.read_text("utf-8"))))

    def verifications(self) -> int:
        with self.world.product.database.reading() as session:
            return session.scalar(select(func.count()).select_from(Verification)) or 0


@pytest.fixture(scope="module")
def account(world: World) -> str:
    return new_account(world)


@pytest.fixture
def desk(world: World, tmp_path: Path, account: str) -> Desk:
    return Desk(world, tmp_path, account)


@contextmanager
def no_answer_for(row: int) -> Iterator[None]:
    """The model is away when this row's turn comes."""
    answer = batch_run._Answerer.answer

    def answers(self: Any, entry: Entry) -> Any:
        return "tower_unavailable" if entry.position == row else answer(self, entry)

    with patch.object(batch_run._Answerer, "answer", answers):
        yield


@contextmanager
def interrupted_at(row: int) -> Iterator[None]:
    """After this row was verified, and before its line is written."""
    write = ResultsFile.write

    def writes(self: ResultsFile, entry: Entry, result: Any) -> None:
        if entry.position == row:
            raise KeyboardInterrupt
        write(self, entry, result)

    with patch.object(ResultsFile, "write", writes):
        yield


def test_the_results_say_what_each_question_alone_is_answered(desk: Desk) -> None:
    desk.account, twin = new_account(desk.world), new_account(desk.world)
    desk.write(
        'ACCOUNT,scans/own.png,"12.50",EUR,chq 1,',
        "ACCOUNT,scans/other.png,,,,",
        "ACCOUNT,scans/blank.png,,,,",
        "nobody,scans/own.png,,,,",
        "ACCOUNT,scans/lost.png,,,,",
        'ACCOUNT,scans/own.png,"1,50",euro,,',
        "ACCOUNT,scans/own.png,,,,0.05",
        columns="account_id,image,amount,currency,reference,target_far",
    )

    status, said, _ = desk.run()

    found = desk.results()
    assert list(found[0]) == list(COLUMNS)
    assert [row["row"] for row in found] == [str(number) for number in range(1, 8)]
    assert [(row["status"], row["code"], row["at_fault"]) for row in found] == [
        ("done", "", ""),
        ("done", "", ""),
        ("failed", "no_ink", ""),
        ("failed", "account_not_found", ""),
        ("failed", "image_missing", ""),
        ("failed", "invalid_field", "amount currency"),
        ("done", "", ""),
    ]
    alone = [
        desk.world.verify(twin, signature("ada", 2)),
        desk.world.verify(twin, signature("zoe")),
        desk.world.verify(twin, signature("ada", 2), target_far="0.05"),
    ]
    for row, own in zip([found[0], found[1], found[6]], alone, strict=True):
        assert (row["outcome"], float(row["score"]), row["reasons"].split()) == (
            own["outcome"],
            own["score"],
            own["reasons"],
        )
        assert desk.world.api.get(f"/v1/verifications/{row['verification_id']}").json()["outcome"] == own["outcome"]
    outcomes = [row["outcome"] for row in found]
    counts = ", ".join(f"{outcome} {outcomes.count(outcome)}" for outcome in ("accept", "refer", "reject"))
    assert (status, said) == (1, f"{counts}, errors 4; 7 rows\n")
    assert not desk.marker.exists()


@pytest.mark.parametrize("broken_off", [no_answer_for, interrupted_at])
def test_an_interrupted_run_goes_on_and_verifies_nothing_twice(desk: Desk, broken_off: Any) -> None:
    desk.write(*["ACCOUNT,scans/own.png"] * 4)
    before = desk.verifications()

    with broken_off(3):
        status, said, complaint = desk.run("--processes", "1")
    assert (status, said) == (3, "")
    assert "2 of 4 rows are done; the same command goes on." in complaint
    assert len(desk.results()) == 2
    assert desk.marker.exists()

    assert desk.run("--processes", "1")[0] == 0
    assert [row["row"] for row in desk.results()] == ["1", "2", "3", "4"]
    assert desk.verifications() == before + 4
    assert len({row["verification_id"] for row in desk.results()}) == 4


def test_a_torn_line_is_cut_off_and_written_again(desk: Desk) -> None:
    desk.write(*["ACCOUNT,scans/own.png"] * 3)
    before = desk.verifications()
    with interrupted_at(3):
        desk.run("--processes", "1")
    whole = desk.out.read_bytes()
    desk.out.write_bytes(whole[:-9])

    desk.run("--processes", "1")

    assert desk.out.read_bytes().startswith(whole)
    assert len(desk.results()) == 3
    assert desk.verifications() == before + 3


def test_results_that_were_lost_are_written_again_from_the_database(desk: Desk) -> None:
    desk.write(*["ACCOUNT,scans/own.png"] * 3)
    before = desk.verifications()
    with interrupted_at(3):
        desk.run("--processes", "1")
    first = desk.results()
    desk.out.unlink()

    desk.run("--processes", "1")

    assert desk.results()[:2] == first
    assert desk.verifications() == before + 3


def test_a_finished_run_is_not_written_over(desk: Desk) -> None:
    desk.write("ACCOUNT,scans/own.png")
    desk.run()
    content, before = desk.out.read_bytes(), desk.verifications()

    status, _, complaint = desk.run()

    assert status == 2
    assert "is there already" in complaint
    assert (desk.out.read_bytes(), desk.verifications()) == (content, before)
    assert not desk.marker.exists()


@ON_SQLITE
def test_another_manifest_does_not_go_on_with_these_results(desk: Desk) -> None:
    desk.write(*["ACCOUNT,scans/own.png"] * 3)
    with interrupted_at(2):
        desk.run("--processes", "1")
    desk.write(*["ACCOUNT,scans/other.png"] * 3)
    before = desk.verifications()

    status, _, complaint = desk.run()

    assert status == 2
    assert "was begun with another manifest" in complaint
    assert desk.verifications() == before


@ON_SQLITE
def test_two_runs_do_not_write_the_same_results(desk: Desk) -> None:
    desk.write("ACCOUNT,scans/own.png")
    held = ResultsFile(desk.out, "another run")
    try:
        status, _, complaint = desk.run()
    finally:
        held.close()

    assert status == 2
    assert "another run is writing" in complaint


@pytest.mark.slow  # each process takes seconds to start
def test_several_processes_answer_the_same_in_the_same_order(desk: Desk) -> None:
    lines = ["ACCOUNT,scans/own.png", "ACCOUNT,scans/other.png", "nobody,scans/own.png"] * 6  # with copies
    desk.account = new_account(desk.world)
    desk.write(*lines)
    status, said, _ = desk.run("--processes", "1")
    one = desk.results()
    desk.out.unlink()
    desk.account = new_account(desk.world)
    desk.write(*lines)

    assert desk.run("--processes", "2")[:2] == (status, said)

    own = {"verification_id", "account_id"}
    assert [{key: row[key] for key in row.keys() - own} for row in desk.results()] == [
        {key: row[key] for key in row.keys() - own} for row in one
    ]


@ON_SQLITE
@pytest.mark.parametrize(
    "path", ["../secret.png", "scans/../../secret.png", "ABSOLUTE", "link.png", "scans/loop.png"]
)
def test_no_path_leads_out_of_the_folder_of_the_images(desk: Desk, path: str) -> None:
    outside = desk.folder.parent / "secret.png"
    outside.write_bytes(signature("ada"))
    (desk.folder / "link.png").symlink_to(outside)
    (desk.folder / "scans" / "loop.png").symlink_to("loop.png")
    desk.write("ACCOUNT,scans/own.png", f"ACCOUNT,{path.replace('ABSOLUTE', str(outside))}")
    before = desk.world.counts()

    status, said, complaint = desk.run()

    assert (status, said) == (2, "")
    assert "line 3: the image does not lie in the folder of images" in complaint
    assert desk.world.counts() == before
    assert not desk.out.exists()
    assert not desk.marker.exists()


@ON_SQLITE
def test_the_operator_may_say_where_the_images_are(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(desk.folder / "scans", elsewhere / "scans")
    desk.write("ACCOUNT,scans/own.png", f"ACCOUNT,{elsewhere / 'scans' / 'other.png'}")

    assert desk.run("--images", str(elsewhere))[0] == 0


@ON_SQLITE
def test_what_is_no_plain_file_or_too_large_is_the_rows_own_error(desk: Desk) -> None:
    os.mkfifo(desk.folder / "scans" / "pipe.png")
    with (desk.folder / "scans" / "huge.png").open("wb") as file:
        file.truncate(desk.world.settings.max_image_mb * 2**20 + 1)
    names = ["pipe.png", "huge.png", "", "x" * 300, "own.png/below.png"]
    desk.write(*(f"ACCOUNT,scans/{name}" for name in names))

    desk.run("--processes", "1")

    assert [row["code"] for row in desk.results()] == [
        "image_missing",
        "too_large",
        "image_missing",
        "image_missing",
        "image_missing",
    ]


@ON_SQLITE
@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x")'])
def test_no_cell_of_the_results_is_a_formula(desk: Desk, formula: str) -> None:
    cell = formula.replace('"', '""')
    desk.write(f'"{cell}","{cell}.png","{cell}"', columns="account_id,image,reference")

    desk.run("--processes", "1")

    (row,) = desk.results()
    assert (row["account_id"], row["image"], row["reference"]) == (f"'{formula}", f"'{formula}.png", f"'{formula}")


@ON_SQLITE
def test_a_broken_manifest_starts_nothing(desk: Desk) -> None:
    desk.write(",a.png", "1")
    before = desk.world.counts()

    status, said, complaint = desk.run()

    assert (status, said) == (2, "")
    assert "  line 2: account_id is empty\n  line 3: 1 cells where the header names 2 columns\n" in complaint
    assert desk.world.counts() == before
    assert not desk.out.exists()


def test_a_worker_leaves_the_rows_of_a_command_line_alone(desk: Desk) -> None:
    desk.write(*["ACCOUNT,scans/own.png"] * 2)
    with no_answer_for(1):
        desk.run("--processes", "1")

    work(desk.world.product)

    with desk.world.product.database.reading() as session:
        mine = select(BatchRow.state).join(Batch).where(Batch.actor == batches.OPERATOR).order_by(BatchRow.id.desc())
        assert list(session.scalars(mine.limit(2))) == ["waiting", "waiting"]


@ON_SQLITE
def test_the_help_teaches(desk: Desk) -> None:
    said = CliRunner().invoke(main, ["verify-batch", "--help"]).stdout

    for word in ("account_id,image", "--images", "results.csv.batch", "Exit status"):
        assert word in said
