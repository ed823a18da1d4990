"""A model version comes into service while people enrol, leave and are verified. The other version's tower is far
away here, so whatever mixes versions scores 0."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import psutil
import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, update

from embeddings.bundle import Thresholds
from embeddings.encoder import Encoder
from service import embedders, reembedding, worker
from service.cli import main
from service.models import Activation, Customer, Job, ShadowResult, Specimen, Template
from service.product import Product
from service.settings import PREFIX, Settings
from tests.support.bundles import copy_bundle, set_apart
from tests.support.images import signature
from tests.support.world import World, parts, wait_until

pytestmark = pytest.mark.usefixtures("copies_pass")  # specimens themselves are questioned here

NEW = "9.0.0"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WAIT = 60

Answer = dict[str, Any]


class Bank(World):
    """The application, and a worker that is run by hand."""

    @property
    def old(self) -> str:
        return self.product.models.default_version

    def another_process(self) -> "Bank":
        return Bank(self.settings, Product.open(self.settings))

    def start(self, version: str, mode: str) -> httpx.Response:
        return self.api.post(f"/v1/models/{version}/activation", json={"mode": mode})

    def work(self, name: str = "worker") -> str | None:
        """One turn of a worker process of its own."""
        product = Product.assemble(self.settings)
        result = reembedding.advance(product, name, threading.Event())
        product.close()
        return result

    def activate(self, version: str, mode: str = "switch") -> Answer:
        started = self.start(version, mode)
        assert started.status_code == 202, started.text
        self.work()
        return self.progress(started.json()["activation_id"])

    def progress(self, activation_id: str) -> Answer:
        shown: Answer = self.api.get(f"/v1/activations/{activation_id}").json()
        return shown

    def model(self, version: str) -> Answer:
        (model,) = (m for m in self.api.get("/v1/models").json()["items"] if m["model_version"] == version)
        return model

    def versions_of(self, customer_id: str) -> list[list[str]]:
        """Of every specimen, the versions of its templates."""
        ids = [specimen["specimen_id"] for specimen in self.shown(customer_id)["specimens"]]
        with self.product.database.reading() as session:
            rows = session.execute(select(Specimen.specimen_id, Template.model_version).join(Template)).all()
        return [sorted(row.model_version for row in rows if row.specimen_id == one) for one in ids]

    def shown(self, customer_id: str) -> Answer:
        answer: Answer = self.api.get(f"/v1/customers/{customer_id}").json()
        return answer

    def delete_image(self, customer_id: str) -> None:
        """As a policy may, which keeps templates only."""
        (specimen,) = self.shown(customer_id)["specimens"]
        with self.product.database.writing() as session:
            row = update(Specimen).where(Specimen.specimen_id == specimen["specimen_id"])
            session.execute(row.values(sealed=b""))


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one other version; a score tells by which version it was made."""
    folder = tmp_path_factory.mktemp("models")
    copy_bundle(folder, NEW, more_bias=1)
    return folder


@pytest.fixture
def settings(database_url: str, tmp_path: Path, shelf: Path) -> Settings:
    return Settings(
        database_url=database_url,
        keystore_url=f"file:{tmp_path / 'keystore.json'}",
        models=shelf,
        index_refresh_seconds=0.02,
    )


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Encoder.load

    def load_apart(path: Path | None = None) -> Encoder:
        encoder = load(path)
        return set_apart(encoder) if encoder.model_version == NEW else encoder

    monkeypatch.setattr(Encoder, "load", load_apart)


@pytest.fixture
def bank(settings: Settings, product: Product) -> Bank:
    return Bank(settings, product)


def once(encoder: Encoder, method: str, meanwhile: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the encoder's next reading something else happens, before what was read is used."""
    original, pending = getattr(encoder, method), [meanwhile]

    def read(*given: Any) -> Any:
        found = original(*given)
        if pending:
            pending.pop()()
        return found

    monkeypatch.setattr(encoder, method, read)


def at_next_embedding(meanwhile: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever process embeds a specimen again."""
    original, pending = Encoder.enrol_each, [meanwhile]

    def enrol_each(self: Encoder, images: Sequence[bytes]) -> Any:
        if pending:
            pending.pop()()
        return original(self, images)

    monkeypatch.setattr(Encoder, "enrol_each", enrol_each)


def test_a_switch_embeds_everybody_again_and_from_then_on_the_new_version_judges(bank: Bank) -> None:
    for name in ("ada", "bruno"):
        bank.enrol(name, signature(name), accounts=[name])
    assert bank.verify("ada", signature("ada"))["model_version"] == bank.old
    assert bank.model(NEW) == {
        "model_version": NEW,
        "active": False,
        "previous": False,
        "at_hand": True,
        "specimens": 0,
        "missing": 2,
        "needs_reenrolment": 0,
    }

    started = bank.start(NEW, "switch")

    assert started.status_code == 202
    assert started.json() | {"activation_id": 0, "created_at": 0} == {
        "activation_id": 0,
        "model_version": NEW,
        "from_version": bank.old,
        "mode": "switch",
        "state": "reembedding",
        "done": 0,
        "total": 2,
        "needs_reenrolment": 0,
        "problem": None,
        "created_at": 0,
        "shadow_until": None,
        "finished_at": None,
        "outcomes": [],
    }
    assert bank.work() == f"switched to {NEW}"
    done = bank.progress(started.json()["activation_id"])
    assert (done["state"], done["done"], done["total"]) == ("done", 2, 2)
    for name in ("ada", "bruno"):
        verification = bank.verify(name, signature(name))
        assert (verification["model_version"], verification["outcome"]) == (NEW, "accept")
        wait_until(bank.product.models.is_ready)
        assert bank.search(signature(name))[0]["customer_id"] == name
        assert bank.versions_of(name) == [sorted([bank.old, NEW])]
    assert bank.model(NEW)["active"]
    assert bank.model(bank.old)["previous"]


@ON_SQLITE
def test_a_process_that_nobody_asks_follows_a_switch_and_lets_the_old_index_go(bank: Bank) -> None:
    bank.enrol("ada", signature("ada"))
    idle = bank.another_process()
    wait_until(idle.product.models.is_ready)

    bank.activate(NEW)

    wait_until(lambda: set(idle.product.models._indexes) == {NEW})
    assert idle.product.models.active_version == NEW
    assert len(idle.product.index) == 1
    idle.product.close()


@ON_SQLITE
def test_an_index_of_the_version_to_come_is_filled_before_the_switch(bank: Bank) -> None:
    bank.enrol("ada", signature("ada"))

    bank.start(NEW, "switch")

    wait_until(lambda: NEW in bank.product.models._indexes and bank.product.models.index_of(NEW).is_loaded)
    assert bank.product.models.active_version == bank.old


@ON_SQLITE
def test_what_cannot_be_activated_is_refused_with_its_reason(bank: Bank, shelf: Path, tmp_path: Path) -> None:
    def refusal(version: str, mode: str) -> tuple[int, str]:
        answer = bank.start(version, mode)
        return answer.status_code, answer.json()["code"]

    broken = copy_bundle(shelf, "0.0.1")
    (broken / "tower.tflite").write_bytes(b"other")

    assert refusal("7.7.7", "switch") == (404, "model_not_found")
    assert refusal("0.0.1", "switch") == (409, "model_broken")
    assert refusal(bank.old, "switch") == (409, "model_active")
    assert refusal(NEW, "rollback") == (409, "model_not_previous")
    assert refusal(NEW, "at once") == (422, "invalid_field")
    assert bank.api.get("/v1/activations/act_0").json()["code"] == "activation_not_found"


def test_one_activation_is_on_its_way_at_a_time(bank: Bank) -> None:
    assert bank.start(NEW, "switch").status_code == 202

    second = bank.start(NEW, "shadow")

    assert (second.status_code, second.json()["code"]) == (409, "activation_running")


def test_a_rollback_embeds_who_came_meanwhile_before_it_goes_back(bank: Bank) -> None:
    bank.enrol("ada", signature("ada"), accounts=["ada"])
    bank.activate(NEW)
    bank.enrol("bruno", signature("bruno"), accounts=["bruno"])
    assert bank.versions_of("bruno") == [[NEW]]

    done = bank.activate(bank.old, "rollback")

    assert (done["state"], done["done"], done["total"]) == ("done", 2, 2)
    for name in ("ada", "bruno"):
        verification = bank.verify(name, signature(name))
        assert (verification["model_version"], verification["outcome"]) == (bank.old, "accept")
        assert bank.versions_of(name) == [sorted([bank.old, NEW])]
    assert bank.model(NEW)["previous"]


def test_whose_image_is_gone_is_counted_beforehand_and_marked(bank: Bank) -> None:
    for name in ("ada", "bruno"):
        bank.enrol(name, signature(name), accounts=[name])
    bank.delete_image("ada")
    assert (bank.model(NEW)["missing"], bank.model(NEW)["needs_reenrolment"]) == (1, 1)

    started = bank.start(NEW, "switch").json()

    assert (started["total"], started["needs_reenrolment"]) == (1, 1)
    assert bank.verify("ada", signature("ada"))["outcome"] == "accept"  # the old version still knows her
    assert bank.shown("ada")["specimens"][0]["quality"] == {"ok": True, "codes": []}
    bank.work()
    assert bank.shown("ada")["specimens"][0]["quality"] == {"ok": False, "codes": ["needs_reenrolment"]}
    answer = bank.api.post("/v1/accounts/ada/verifications", files=parts("image", signature("ada")))
    assert answer.json()["code"] == "account_not_enrolled"
    assert bank.verify("bruno", signature("bruno"))["outcome"] == "accept"
    assert bank.model(NEW) | {"missing": 0, "needs_reenrolment": 1, "specimens": 1} == bank.model(NEW)


@ON_SQLITE
def test_an_image_that_does_not_open_any_more_stops_nobody_else(bank: Bank) -> None:
    for name in ("ada", "bruno"):
        bank.enrol(name, signature(name))
    with bank.product.database.writing() as session:
        first = select(func.min(Specimen.id)).scalar_subquery()
        session.execute(update(Specimen).where(Specimen.id == first).values(sealed=b"edited" * 10))

    done = bank.activate(NEW)

    assert (done["state"], done["done"], done["total"], done["needs_reenrolment"]) == ("done", 1, 1, 1)


def test_whoever_enrols_meanwhile_has_a_template_at_the_switch(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.enrol("ada", signature("ada"))
    at_next_embedding(lambda: bank.enrol("bruno", signature("bruno"), accounts=["bruno"]), monkeypatch)

    done = bank.activate(NEW)

    assert (done["done"], done["total"]) == (2, 2)
    assert bank.versions_of("bruno") == [sorted([bank.old, NEW])]
    assert bank.verify("bruno", signature("bruno"))["outcome"] == "accept"


def test_whoever_leaves_meanwhile_gets_no_template_back(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ada", "bruno"):
        bank.enrol(name, signature(name))
    at_next_embedding(lambda: bank.api.delete("/v1/customers/ada").raise_for_status(), monkeypatch)

    done = bank.activate(NEW)

    assert (done["state"], done["done"], done["total"]) == ("done", 1, 1)
    with bank.product.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Customer)) == 1
        assert session.scalar(select(func.count()).select_from(Template)) == 2
    bank.product.models.catch_up()
    assert bank.product.index.vector_ids() == _vectors(bank, NEW)


@ON_SQLITE
def test_leaving_takes_the_templates_of_every_version(bank: Bank) -> None:
    bank.enrol("ada", signature("ada"))
    bank.activate(NEW)

    receipt = bank.api.delete("/v1/customers/ada").json()

    assert receipt["counts"]["templates"] == 2
    assert _vectors(bank, NEW) == _vectors(bank, bank.old) == set()


@ON_SQLITE
def test_a_pending_specimen_is_embedded_too_and_counts_once_confirmed(bank: Bank) -> None:
    with bank.trusting():
        bank.enrol("ada", signature("ada"), accounts=["ada"])
    with bank.thresholds(accept=2, reject=1.5):
        (doubted,) = bank.add("ada", signature("ada", 1))
    assert doubted["status"] == "pending"

    bank.activate(NEW)

    assert bank.versions_of("ada") == [sorted([bank.old, NEW])] * 2
    bank.product.models.catch_up()
    assert len(bank.product.index) == 1
    bank.api.post(f"/v1/customers/ada/specimens/{doubted['specimen_id']}/confirmation").raise_for_status()
    bank.product.models.catch_up()
    assert bank.product.index.vector_ids() == _vectors(bank, NEW)


def test_an_image_that_was_read_before_a_switch_is_read_again(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.enrol("ada", signature("ada"), accounts=["ada"])
    encoder = bank.product.encoder
    wait_until(bank.product.models.is_ready)

    once(encoder, "read", lambda: bank.activate(NEW), monkeypatch)
    verification = bank.verify("ada", signature("ada"))

    assert (verification["model_version"], verification["outcome"]) == (NEW, "accept")
    assert verification["score"] == bank.product.models.encoder_of(NEW).bundle.head.score(0)

    once(bank.product.models.encoder_of(NEW), "read", lambda: bank.activate(bank.old, "rollback"), monkeypatch)
    bank.enrol("bruno", signature("bruno"))

    assert bank.versions_of("bruno") == [[bank.old]]

    bank.start(NEW, "switch")
    wait_until(lambda: bank.product.models.index_of(NEW).is_loaded)
    once(bank.product.models.encoder_of(bank.old), "read", bank.work, monkeypatch)
    answer = bank.api.post("/v1/searches", files=parts("image", signature("bruno"))).json()

    assert (answer["model_version"], answer["items"][0]["customer_id"]) == (NEW, "bruno")


@ON_SQLITE
def test_a_stopped_worker_is_followed_by_one_that_does_only_the_rest(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembedding, "AT_A_TIME", 2)
    for number in range(7):
        bank.enrol(f"c{number}", signature(f"c{number}"))
    started = bank.start(NEW, "switch").json()
    stopped = threading.Event()
    monkeypatch.setattr(reembedding._Turn, "_rest", lambda *_given: stopped.set())

    assert reembedding.advance(bank.product, "first", stopped) == "stopped"
    assert bank.progress(started["activation_id"])["done"] == 6  # what it had begun to read is done
    embedded: list[bytes] = []
    enrol_each = Encoder.enrol_each
    monkeypatch.setattr(
        Encoder, "enrol_each", lambda self, images: embedded.extend(images) or enrol_each(self, images)
    )
    bank.work("second")

    assert len(embedded) == 1
    assert bank.model(NEW)["active"]


@ON_SQLITE
def test_a_killed_process_that_embeds_is_told_and_the_next_turn_does_the_rest(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembedding, "AT_A_TIME", 1)
    monkeypatch.setattr(reembedding, "PATIENCE_SECONDS", 0)
    for number in range(4):
        bank.enrol(f"c{number}", signature(f"c{number}"))
    started = bank.start(NEW, "switch").json()
    product = Product.assemble(bank.settings.model_copy(update={"activation_threads": 1}))

    def kill(*_given: object) -> None:
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    with monkeypatch.context() as patched:
        patched.setattr(embedders, "FEW", 0)
        patched.setattr(reembedding._Turn, "_rest", kill)
        assert reembedding.advance(product, "worker", threading.Event()) == "waits: internal_error"
    product.close()

    stopped = bank.progress(started["activation_id"])
    assert (stopped["state"], stopped["problem"]) == ("reembedding", "internal_error")
    assert 1 <= stopped["done"] < 4
    assert bank.work() == f"switched to {NEW}"
    assert bank.progress(started["activation_id"]) | {"done": 4, "problem": None, "needs_reenrolment": 0} == (
        bank.progress(started["activation_id"])
    )


@ON_SQLITE
def test_a_worker_whose_lease_ran_out_writes_nothing(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.enrol("ada", signature("ada"))
    bank.start(NEW, "switch")

    def taken_over() -> None:
        with bank.product.database.writing() as session:
            session.execute(update(Job).values(leased_by="somebody else"))

    at_next_embedding(taken_over, monkeypatch)

    assert bank.work() == "another worker has it"
    assert bank.work("a third") is None
    assert _vectors(bank, NEW) == set()


@ON_SQLITE
def test_a_worker_without_the_bundle_ends_the_activation_and_says_why(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.enrol("ada", signature("ada"), accounts=["ada"])
    started = bank.start(NEW, "switch").json()
    elsewhere = Product.assemble(bank.settings.model_copy(update={"models": None}))

    assert reembedding.advance(elsewhere, "elsewhere", threading.Event()) == "failed: model_unavailable"

    elsewhere.close()
    failed = bank.progress(started["activation_id"])
    assert (failed["state"], failed["problem"]) == ("failed", "model_unavailable")
    assert bank.verify("ada", signature("ada"))["model_version"] == bank.old
    assert bank.activate(NEW)["state"] == "done"


@ON_SQLITE
def test_a_host_without_the_active_bundle_is_not_ready_and_says_so(bank: Bank) -> None:
    bank.enrol("ada", signature("ada"), accounts=["ada"])
    bank.activate(NEW)
    without = bank.settings.model_copy(update={"models": None})

    product = Product.open(without)

    elsewhere = Bank(without, product)
    answer = elsewhere.api.post("/v1/accounts/ada/verifications", files=parts("image", signature("ada")))
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
    assert elsewhere.api.get("/readyz").status_code == 503
    product.close()


def test_a_shadow_scores_beside_the_active_version_and_reports_how_outcomes_would_change(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ada", "bruno"):
        bank.enrol(name, signature(name), accounts=[name])
    bank.delete_image("bruno")

    shadow = bank.activate(NEW, "shadow")

    assert (shadow["state"], shadow["done"], shadow["outcomes"]) == ("shadowing", 1, [])
    wait_until(lambda: bank.product.models.shadow)
    for name in ("ada", "ada", "bruno"):
        verification = bank.verify(name, signature(name))
        assert (verification["model_version"], verification["outcome"]) == (bank.old, "accept")
    stricter = bank.product.models.encoder_of(NEW)
    with monkeypatch.context() as patched:
        patched.setattr(stricter, "bundle", replace(stricter.bundle, thresholds=Thresholds(2, 2)))
        for _ in range(3):
            bank.verify("ada", signature("ada"))
    assert bank.progress(shadow["activation_id"])["outcomes"] == [
        {"active": "accept", "shadow": "reject", "verifications": 3},
        {"active": "accept", "shadow": "accept", "verifications": 2},
        {"active": "accept", "shadow": "not_enrolled", "verifications": 1},
    ]
    assert not bank.model(NEW)["active"]

    switched = bank.activate(NEW, "switch")

    assert (switched["state"], switched["done"]) == ("done", 1)
    assert bank.progress(shadow["activation_id"])["state"] == "done"
    assert bank.verify("ada", signature("ada"))["model_version"] == NEW


@ON_SQLITE
def test_whoever_enrols_while_a_shadow_scores_is_embedded_for_it(bank: Bank) -> None:
    shadow = bank.activate(NEW, "shadow")
    bank.enrol("ada", signature("ada"))

    bank.work()

    assert bank.versions_of("ada") == [sorted([bank.old, NEW])]
    assert bank.progress(shadow["activation_id"])["done"] == 1


@ON_SQLITE
def test_a_shadow_ends_when_its_time_is_over(bank: Bank) -> None:
    shadow = bank.activate(NEW, "shadow")
    with bank.product.database.writing() as session:
        session.execute(update(Activation).values(shadow_until=datetime.now(UTC) - timedelta(seconds=1)))

    bank.work()

    assert bank.progress(shadow["activation_id"])["state"] == "done"
    assert not bank.model(NEW)["active"]


@ON_SQLITE
def test_a_shadow_that_breaks_does_not_touch_the_answer(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.enrol("ada", signature("ada"), accounts=["ada"])
    bank.activate(NEW, "shadow")
    wait_until(lambda: bank.product.models.shadow)

    def broken(_image: bytes) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(bank.product.models.encoder_of(NEW), "read", broken)

    assert bank.verify("ada", signature("ada"))["outcome"] == "accept"


def test_leaving_takes_the_shadow_results_that_name_the_person(bank: Bank) -> None:
    for name in ("ada", "bruno"):
        bank.enrol(name, signature(name), accounts=[name])
    bank.activate(NEW, "shadow")
    wait_until(lambda: bank.product.models.shadow)
    for name in ("ada", "bruno"):
        bank.verify(name, signature(name))

    bank.api.delete("/v1/customers/ada").raise_for_status()

    with bank.product.database.reading() as session:
        (kept,) = session.scalars(select(ShadowResult)).all()
        assert session.get_one(Customer, kept.customer_id)


@ON_SQLITE
def test_no_more_specimens_a_second_are_embedded_than_the_setting_says(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0)
            return super().wait(0)

    for number in range(3):
        bank.enrol(f"c{number}", signature(f"c{number}"))
    bank.start(NEW, "switch")
    product = Product.assemble(bank.settings.model_copy(update={"activation_rate": 1}))

    reembedding.advance(product, "worker", Stopped())

    product.close()
    assert len([rest for rest in rests if 0 < rest <= 1]) >= 2  # between three specimens; time went by besides


@ON_SQLITE
def test_a_worker_process_does_an_activation_by_itself(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.02)
    bank.enrol("ada", signature("ada"))
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(worker.work, bank.settings, stopped)
        try:
            started = bank.start(NEW, "switch").json()
            wait_until(lambda: bank.progress(started["activation_id"])["state"] == "done", WAIT)
        finally:
            stopped.set()
        working.result(WAIT)


@dataclass
class Operator:
    """At a terminal, with the settings of the bank; a worker is running."""

    bank: Bank

    def run(self, *arguments: str) -> tuple[int, str, str]:
        values = self.bank.settings.model_dump(include={"database_url", "keystore_url", "models"})
        environment = {PREFIX + name.upper(): str(value) for name, value in values.items()}
        with patch("service.cli.logs.configure"), patch("service.cli_models.POLL_SECONDS", 0.02):
            done = CliRunner().invoke(main, arguments, env=environment)
        return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def operator(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.02)
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(worker.work, bank.settings, stopped)
        yield Operator(bank)
        stopped.set()
        working.result(WAIT)


@ON_SQLITE
def test_an_operator_lists_versions_activates_one_and_goes_back(operator: Operator) -> None:
    bank = operator.bank
    for name in ("ada", "bruno"):
        bank.enrol(name, signature(name))
    bank.delete_image("bruno")

    status, listed, _ = operator.run("models")
    assert status == 0
    assert re.search(rf"{bank.old}\W+active\W+yes\W+2\W+0\W+0\b", listed)
    assert re.search(rf"{NEW}\W+yes\W+0\W+1\W+1\b", listed)

    status, printed, told = operator.run("activate", NEW, "--mode", "switch")
    assert status == 0, told
    assert f"{NEW} is active." in printed
    assert "1 specimens need re-enrolment" in told
    assert "1/1" in told

    status, _, told = operator.run("activate", NEW, "--mode", "switch")
    assert (status, "model_active: " in told) == (1, True)

    assert operator.run("activate", bank.old, "--mode", "rollback")[0] == 0
    assert bank.model(bank.old)["active"]


@ON_SQLITE
def test_an_operator_sees_how_outcomes_would_change(operator: Operator) -> None:
    bank = operator.bank
    bank.enrol("ada", signature("ada"), accounts=["ada"])

    status, printed, _ = operator.run("activate", NEW, "--mode", "shadow", "--no-follow")

    assert status == 0
    activation_id = printed.split()[-1]
    wait_until(lambda: bank.product.models.shadow)
    bank.verify("ada", signature("ada"))
    status, printed, told = operator.run("activation", activation_id)
    assert status == 0, told
    assert "accept -> accept: 1" in printed


@pytest.fixture
def processes(bank: Bank) -> Iterator[list[Bank]]:
    opened = [bank, bank.another_process()]
    for process in opened:
        wait_until(process.product.models.is_ready)
    yield opened
    opened[1].product.close()


def test_no_verification_mixes_versions_while_a_switch_happens_under_load(bank: Bank, processes: list[Bank]) -> None:
    """In two processes people are verified, join, are searched and leave, while the model goes to and fro. Every
    answer is to one's own specimen, so its score is that of distance 0 under the version that it names."""
    scores = {version: bank.product.models.encoder_of(version).bundle.head.score(0) for version in (bank.old, NEW)}
    assert scores[bank.old] != scores[NEW]
    for name in ("ada", "bruno"):
        bank.enrol(name, signature(name), accounts=[name])
    finished = threading.Event()
    seen: set[str] = set()

    def verify(process: Bank, name: str) -> None:
        while not finished.is_set():
            answer = process.verify(name, signature(name))
            assert answer["score"] == pytest.approx(scores[answer["model_version"]], abs=1e-3)
            assert (answer["outcome"], len(answer["candidates"])) == ("accept", 1)
            seen.add(answer["model_version"])

    def come_and_go(process: Bank, name: str) -> None:
        turn = 0
        while not finished.is_set():
            customer_id, turn = f"{name}-{turn}", turn + 1
            process.enrol(customer_id, signature(name), accounts=[customer_id])
            verified = process.verify(customer_id, signature(name))
            assert verified["score"] == pytest.approx(scores[verified["model_version"]], abs=1e-3)
            if turn % 2:
                process.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    with ThreadPoolExecutor(4) as pool:
        load = [
            pool.submit(verify, processes[0], "ada"),
            pool.submit(verify, processes[1], "bruno"),
            pool.submit(come_and_go, processes[1], "clara"),
        ]
        try:
            for version in (NEW, bank.old, NEW):
                assert bank.activate(version)["state"] == "done"
        finally:
            finished.set()
        for clients in load:
            clients.result(WAIT)

    assert seen == {bank.old, NEW}
    for process in processes:
        process.product.models.catch_up()
        assert process.product.index.vector_ids() == _vectors(bank, NEW)
    assert bank.model(NEW)["missing"] == 0


def _vectors(bank: Bank, version: str) -> set[int]:
    """The templates of a version that count."""
    with bank.product.database.reading() as session:
        active = select(Template.vector_id).join(Specimen).where(Specimen.status == "active")
        return set(session.scalars(active.where(Template.model_version == version)))


@ON_SQLITE
def test_after_an_upgrade_that_brings_another_bundle_everybody_is_embedded_again(
    bank: Bank, settings: Settings, shelf: Path
) -> None:
    customer_id, account = bank.new_id(), bank.new_id()
    bank.enrol(customer_id, signature("ada"), accounts=[account])
    upgraded = settings.model_copy(update={"bundle": shelf / NEW})
    after = Bank(upgraded, Product.open(upgraded))
    asked = {"files": parts("image", signature("ada"))}
    assert after.api.post(f"/v1/accounts/{account}/verifications", **asked).json()["code"] == "account_not_enrolled"
    assert after.model(NEW)["missing"] == 1

    assert after.activate(NEW)["state"] == "done"

    assert after.verify(account, signature("ada"))["model_version"] == NEW
    assert after.model(NEW)["missing"] == 0
    assert after.start(NEW, "switch").json()["code"] == "model_active"
