import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import httpx
import psutil
import pytest
from click.testing import CliRunner
from PIL import Image

from embeddings.encoder import shipped_bundle
from service.access import identify
from service.active_model import switch
from service.cli import main
from service.database import Database
from service.schema import migrate
from service.settings import PREFIX, Settings
from tests.support.bundles import copy_bundle
from tests.support.images import blank_page, signature
from tests.support.server import ROOT, Server, free_port
from tests.support.world import wait_until


class Operator:
    """Somebody at a terminal, with settings for an embedded database of their own."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'countersign.db'}"
        self.settings = {
            "COUNTERSIGN_DATABASE_URL": self.url,
            "COUNTERSIGN_KEYSTORE_URL": f"file:{folder / 'keystore.json'}",
        }

    def run(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        # The log would go on writing into the captured error stream, for as long as this process lives.
        with patch("service.cli.logs.configure"):
            done = CliRunner().invoke(main, arguments, env=self.settings | settings)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def scopes_of(self, key: str) -> set[str] | None:
        database = Database(self.url)
        with database.reading() as session:
            caller = identify(session, key)
        database.close()
        return set(caller.scopes) if caller else None


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    made = Operator(tmp_path)
    migrate(made.url)
    return made


def test_a_new_key_is_printed_alone_and_has_its_scopes(operator: Operator) -> None:
    status, printed, _ = operator.run("create-key", "--scopes", "enrol, verify")

    assert status == 0
    assert printed.count("\n") == 1
    assert operator.scopes_of(printed.strip()) == {"enrol", "verify"}


def test_a_key_goes_to_a_file_that_its_owner_alone_reads(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "key"

    status, printed, _ = operator.run("create-key", "--scopes", "enrol", "--key-file", str(file))

    assert (status, printed) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert operator.scopes_of(file.read_text("utf-8").strip()) == {"enrol"}


def test_a_key_file_that_others_could_read_is_closed_to_them(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("an older and longer key than the one that comes now, and so on and so on and so on")
    file.chmod(0o644)

    operator.run("create-key", "--scopes", "enrol", "--key-file", str(file))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert operator.scopes_of(file.read_text("utf-8").strip()) == {"enrol"}


def test_a_first_key_is_made_once(operator: Operator) -> None:
    first = operator.run("create-key", "--first", "--scopes", "admin")
    second = operator.run("create-key", "--first", "--scopes", "admin")

    assert operator.scopes_of(first[1].strip()) == {"admin"}
    assert second == (0, "", "")


@pytest.mark.parametrize("scopes", ["", "everything", "enrol,everything", ","])
def test_a_key_with_an_unknown_scope_is_not_made(operator: Operator, scopes: str) -> None:
    status, printed, complaint = operator.run("create-key", "--scopes", scopes)

    assert (status, printed) == (2, "")
    assert "enrol, verify, search, review, audit, models, admin" in complaint


def test_a_revoked_key_is_nobodys(operator: Operator) -> None:
    key = operator.run("create-key", "--scopes", "enrol")[1].strip()

    assert operator.run("revoke-key", key.split("_")[1])[:2] == (0, "revoked\n")
    assert operator.scopes_of(key) is None
    assert operator.run("revoke-key", key.split("_")[1]) == (1, "", "Error: no live key has this id\n")


def test_a_new_host_brings_the_model_that_is_active(operator: Operator, tmp_path: Path) -> None:
    copy_bundle(tmp_path / "store", "2.0.0")
    database = Database(operator.url)
    with database.writing() as session:
        switch(session, shipped_bundle().name, "2.0.0")
    database.close()
    places = {"COUNTERSIGN_MODEL_STORE": str(tmp_path / "store"), "COUNTERSIGN_MODELS": str(tmp_path / "shelf")}

    for _ in range(2):
        fetched = f"2.0.0 is at hand in {tmp_path / 'shelf' / '2.0.0'}.\n"
        assert operator.run("fetch-model", **places)[:2] == (0, fetched)

    status, _, complaint = operator.run("fetch-model", "3.0.0", **places)
    assert status == 1
    assert "nothing is published under this version" in complaint


def test_two_images_are_compared_with_a_picture(operator: Operator, tmp_path: Path) -> None:
    a, b, out = (
        _written(tmp_path / "a.png", signature("a")),
        _written(tmp_path / "b.png", signature("b")),
        tmp_path / "p",
    )

    status, printed, _ = operator.run("compare", a, b, "--out", str(out))

    assert status == 0
    assert 0 < float(printed.split()[0]) < 1
    with Image.open(io.BytesIO(out.read_bytes())) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 100


def test_an_image_that_cannot_be_compared_is_one_line(operator: Operator, tmp_path: Path) -> None:
    a, b = _written(tmp_path / "a.png", signature("a")), _written(tmp_path / "b.png", blank_page())

    status, printed, complaint = operator.run("compare", a, b)

    assert (status, printed) == (1, "")
    assert complaint == "Error: no_ink: There is no ink on the paper. Send an image that holds a signature.\n"


def test_the_settings_are_listed_with_defaults_and_meanings(operator: Operator) -> None:
    status, printed, _ = operator.run("settings")

    assert status == 0
    for name, field in Settings.model_fields.items():
        assert f"{PREFIX}{name.upper()} = {field.default}\n    {field.description}\n" in printed


@pytest.mark.parametrize(
    "command", [["migrate"], ["create-key", "--scopes", "enrol"], ["openapi"], ["serve"], ["worker"]]
)
def test_a_bad_setting_is_one_line(operator: Operator, command: list[str]) -> None:
    status, printed, complaint = operator.run(*command, COUNTERSIGN_WORKERS="none")

    assert (status, printed) == (1, "")
    assert complaint.startswith("Error: COUNTERSIGN_WORKERS='none': ")
    assert complaint.count("\n") == 1


def test_a_missing_bundle_is_one_line(operator: Operator, tmp_path: Path) -> None:
    image = _written(tmp_path / "a.png", signature("a"))

    status, _, complaint = operator.run("compare", image, image, COUNTERSIGN_BUNDLE=str(tmp_path / "nowhere"))

    assert status == 1
    assert complaint == f"Error: {tmp_path / 'nowhere'} holds no readable bundle.json\n"


def test_a_database_that_was_not_migrated_is_one_line(tmp_path: Path) -> None:
    status, printed, complaint = Operator(tmp_path).run("create-key", "--scopes", "enrol")

    assert (status, printed) == (1, "")
    assert "is it there, and migrated?" in complaint
    assert complaint.count("\n") == 1


def test_the_openapi_document_is_printed_alone(operator: Operator) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "service", "openapi"],
        cwd=ROOT,
        env=os.environ | operator.settings,
        capture_output=True,
        check=True,
    ).stdout

    assert json.loads(printed)["info"]["title"] == "Countersign"


def test_the_migrations_build_what_the_models_describe(operator: Operator) -> None:
    assert operator.run("check-schema")[0] == 0


def test_migrating_again_changes_nothing(operator: Operator) -> None:
    assert operator.run("migrate")[0] == operator.run("migrate")[0] == 0


def test_help_lists_the_commands(operator: Operator) -> None:
    status, printed, _ = operator.run("--help")

    assert status == 0
    for command in (
        "migrate",
        "create-key",
        "revoke-key",
        "serve",
        "worker",
        "compare",
        "review-figures",
        "settings",
        "openapi",
        "demo",
    ):
        assert f"\n  {command} " in printed


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = {"COUNTERSIGN_WORKERS": "1", "COUNTERSIGN_METRICS_BIND": f"127.0.0.1:{free_port()}"}
    server = Server(tmp_path, f"sqlite:///{tmp_path / 'countersign.db'}", settings).start()
    yield server
    server.stop()


def test_serve_survives_its_children_and_ends_with_all_of_them(server: Server) -> None:
    """A killed worker and a killed server process are started again; SIGTERM ends everything."""
    job_worker = _only(_children(server), "worker")
    job_worker.kill()
    wait_until(lambda: any(_plays(process, "worker") and process != job_worker for process in _children(server)))

    (request_worker,) = _only(_children(server), "gunicorn").children()
    request_worker.kill()
    wait_until(lambda: not request_worker.is_running() and _answers(server))

    everybody = [psutil.Process(pid) for pid in server.pids()]
    assert len(everybody) == 4  # supervisor, gunicorn, its worker, the job worker
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(timeout=40) == 0
    _, alive = psutil.wait_procs(everybody, timeout=10)
    assert not alive
    assert not _answers(server)
    assert "Traceback" not in server.log()


@pytest.mark.slow
def test_serve_says_what_is_wrong_and_ends_where_it_cannot_begin(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    migrate(operator.url)
    done = subprocess.run(
        [sys.executable, "-m", "service", "serve"],
        cwd=ROOT,
        env=os.environ | operator.settings | {"COUNTERSIGN_BUNDLE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert "holds no readable bundle.json" in done.stderr


def _written(path: Path, image: bytes) -> str:
    path.write_bytes(image)
    return str(path)


def _children(server: Server) -> list[psutil.Process]:
    assert server.process is not None
    return psutil.Process(server.process.pid).children()


def _plays(process: psutil.Process, role: str) -> bool:
    """One that was just killed may be gone, or a zombie that nobody has collected yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and _role(process) == role
    except psutil.NoSuchProcess:
        return False


def _only(processes: list[psutil.Process], role: str) -> psutil.Process:
    (found,) = [process for process in processes if _plays(process, role)]
    return found


def _role(process: psutil.Process) -> str:
    """Both are forked, so they share one command line; only gunicorn has processes of its own."""
    return "gunicorn" if process.children() else "worker"


def _answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
