"""The service with its tower on an endpoint: the same vectors, and a clear answer when there are none."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast
from unittest.mock import patch

import httpx
import numpy as np
import pytest
import structlog
from click.testing import CliRunner

from embeddings import bundle
from embeddings.encoder import Encoder
from embeddings.errors import UnusableImage
from embeddings.identity import tower_name
from service import cli, reembedding, remote_tower
from service.access import SCOPES
from service.errors import Refused
from service.product import Product
from service.remote_tower import LARGEST_BODY, SageMakerTower
from service.schema import migrate
from service.settings import BadSetting, Settings
from service.towers import check_tower, open_encoder
from tests.conftest import api_client
from tests.support import images
from tests.support.bundles import copy_bundle
from tests.support.sagemaker import Complaint, Embed, SageMaker
from tests.support.server import free_port

PATIENT = 15
NEW = "9.0.0"


@pytest.fixture(scope="module")
def local() -> Encoder:
    return Encoder.load()


@pytest.fixture
def endpoint(sagemaker: SageMaker, local: Encoder) -> SageMaker:
    """The shipped tower in service, once under a name of its own."""
    variant = tower_name(local.model_version, local.bundle.tower)
    for name in ("towers", f"tower-{variant}"):
        sagemaker.serve(name, variant, lambda canvases: local._tower.embed(canvases[..., 0]))
    return sagemaker


@pytest.fixture
def remote(endpoint: SageMaker, local: Encoder) -> SageMakerTower:
    return SageMakerTower(local.bundle, "towers", PATIENT)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'countersign.db'}",
        keystore_url=f"file:{tmp_path / 'keystore.json'}",
        models=tmp_path / "models",
        tower="sagemaker:tower-{version}",
        tower_timeout_seconds=PATIENT,
    )


@pytest.fixture
def client(endpoint: SageMaker, settings: Settings) -> Iterator[httpx.Client]:
    migrate(settings.database_url)
    product = Product.open(settings)
    product.index.catch_up()
    with api_client(settings, product, SCOPES) as caller:
        yield caller
    product.close()


def canvases(count: int) -> np.ndarray:
    return (np.random.default_rng(0).random((count, 128, 256)) < 0.05).astype(np.float32)


def test_the_endpoint_gives_the_vectors_of_the_local_tower(remote: SageMakerTower, local: Encoder) -> None:
    asked = canvases(3)

    assert np.abs(remote.embed(asked) - local._tower.embed(asked)).max() < 1e-4


def test_grey_canvases_arrive_as_they_are(remote: SageMakerTower, local: Encoder) -> None:
    asked = np.random.default_rng(0).random((1, 128, 256)).astype(np.float32)

    assert np.abs(remote.embed(asked) - local._tower.embed(asked)).max() < 1e-4


def test_many_canvases_go_in_several_requests_and_come_back_in_order(
    remote: SageMakerTower, endpoint: SageMaker, local: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_tower, "LARGEST_BODY", 300_000)
    endpoint.embed = lambda asked: np.repeat(asked.sum(axis=(1, 2)), local.dimension, axis=1)
    asked = canvases(5)

    answered = remote.embed(asked)

    assert np.array_equal(answered[:, 0], asked.sum(axis=(1, 2)))
    assert len(endpoint.asked("InvokeEndpoint")) == 3


def test_a_request_is_as_large_as_the_endpoint_takes() -> None:
    bodies = list(remote_tower._requests(canvases(100)))

    assert [count for _, count in bodies] == [47, 47, 6]
    assert max(len(body) for body, _ in bodies) <= LARGEST_BODY


def test_an_endpoint_may_be_named_after_its_tower(endpoint: SageMaker, local: Encoder) -> None:
    variant = tower_name(local.bundle.model_version, local.bundle.tower)
    endpoint.serve(f"own-{variant}", variant, lambda asked: local._tower.embed(asked[..., 0]))

    assert SageMakerTower(local.bundle, "own-{version}", PATIENT).embed(canvases(1)).shape == (1, local.dimension)


def test_an_endpoint_of_another_model_is_refused(remote: SageMakerTower, endpoint: SageMaker) -> None:
    remote.embed(canvases(1))
    endpoint.configs["towers"]["ProductionVariants"][0]["VariantName"] = "2-0-0-00000000"

    with pytest.raises(Refused) as refusal:
        remote.embed(canvases(1))
    assert refusal.value.code == "tower_mismatch"


@pytest.mark.parametrize(("more", "value"), [(1, 0.0), (0, np.nan)])
def test_vectors_that_cannot_be_are_refused(
    remote: SageMakerTower, endpoint: SageMaker, local: Encoder, more: int, value: float
) -> None:
    endpoint.embed = lambda _: np.full((1, local.dimension + more), value)

    with pytest.raises(Refused) as refusal:
        remote.embed(canvases(1))
    assert refusal.value.code == "tower_mismatch"


@pytest.mark.parametrize(
    "fault", [("ThrottlingException", 400), ("ServiceUnavailable", 503), ("InternalFailure", 500)]
)
def test_a_passing_fault_is_tried_again(remote: SageMakerTower, endpoint: SageMaker, fault: tuple[str, int]) -> None:
    endpoint.faults = [("InvokeEndpoint", *fault)]

    assert len(remote.embed(canvases(1))) == 1
    assert len(endpoint.asked("InvokeEndpoint")) == 2


@pytest.mark.parametrize(
    ("code", "status", "advice"),
    [
        ("ExpiredTokenException", 403, "renew them"),
        ("AccessDeniedException", 403, "sagemaker:InvokeEndpoint"),
        ("ModelError", 424, "CloudWatch"),
        ("ThrottlingException", 400, "--max-instances"),
    ],
)
def test_a_lasting_fault_is_told_to_the_operator_with_the_setting_to_change(
    remote: SageMakerTower, endpoint: SageMaker, code: str, status: int, advice: str
) -> None:
    endpoint.faults = [("InvokeEndpoint", code, status)] * 3

    with structlog.testing.capture_logs() as logged, pytest.raises(Refused) as refusal:
        remote.embed(canvases(1))
    assert refusal.value.code == "tower_unavailable"
    assert advice in logged[-1]["advice"]


def test_a_missing_endpoint_is_told_with_its_setting(local: Encoder, endpoint: SageMaker) -> None:
    with structlog.testing.capture_logs() as logged, pytest.raises(Refused):
        SageMakerTower(local.bundle, "nobody", PATIENT).embed(canvases(1))
    assert "COUNTERSIGN_TOWER" in logged[-1]["advice"]


def test_an_endpoint_that_is_too_slow_ends_the_waiting(local: Encoder, endpoint: SageMaker) -> None:
    slow = SageMakerTower(local.bundle, "towers", 0.1)
    endpoint.delay = 0.4
    with pytest.raises(Refused) as refusal:
        slow.embed(canvases(1))
    assert refusal.value.code == "tower_unavailable"


def test_an_endpoint_that_cannot_be_reached_is_told(
    local: Encoder, endpoint: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", f"http://127.0.0.1:{free_port()}")

    with pytest.raises(Refused) as refusal:
        SageMakerTower(local.bundle, "towers", PATIENT).embed(canvases(1))
    assert refusal.value.code == "tower_unavailable"


def test_the_service_enrols_and_verifies_through_the_endpoint(client: httpx.Client, endpoint: SageMaker) -> None:
    enrolled = client.post(
        "/v1/customers",
        data={"customer_id": "ada", "account_id": "4711"},
        files={"specimen": images.signature("ada")},
    )
    asked = {"image": images.signature("ada", 1)}
    verified = client.post("/v1/accounts/4711/verifications", files=asked)

    assert (enrolled.status_code, verified.status_code) == (201, 201)
    assert verified.json()["signatures"][0]["customer_id"] == "ada"
    assert len(endpoint.asked("InvokeEndpoint")) == 2


def test_while_the_endpoint_is_away_callers_are_told_and_nothing_is_stored(
    client: httpx.Client, endpoint: SageMaker
) -> None:
    endpoint.faults = [("InvokeEndpoint", "ModelError", 424)]
    ada = {
        "data": {"customer_id": "ada", "account_id": "4711"},
        "files": {"specimen": images.signature("ada")},
    }

    refused = client.post("/v1/customers", **ada)

    assert (refused.status_code, refused.json()["code"]) == (503, "tower_unavailable")
    assert client.get("/v1/customers/ada").status_code == 404
    assert client.post("/v1/customers", **ada).status_code == 201


@pytest.fixture
def work(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str | None]:
    """One turn of a worker that is not patient and writes one specimen at a time."""
    monkeypatch.setattr(reembedding, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(reembedding, "AT_A_TIME", 1)

    def turn() -> str | None:
        product = Product.assemble(settings)
        try:
            return reembedding.advance(product, "worker", threading.Event())
        finally:
            product.close()

    return turn


@pytest.mark.usefixtures("copies_pass")
def test_an_activation_waits_while_the_endpoint_is_away_and_then_goes_on(
    settings: Settings, client: httpx.Client, endpoint: SageMaker, work: Callable[[], str | None]
) -> None:
    for name in ("ada", "bruno", "clara"):
        files = {"specimen": images.signature(name)}
        client.post("/v1/customers", data={"customer_id": name, "account_id": name}, files=files)
    new = bundle.load(copy_bundle(cast("Path", settings.models), NEW))
    started = client.post(f"/v1/models/{NEW}/activation", json={"mode": "switch"}).json()

    def progress() -> tuple[str, int, int, str | None]:
        shown = client.get(f"/v1/activations/{started['activation_id']}").json()
        return shown["state"], shown["done"], shown["needs_reenrolment"], shown["problem"]

    assert work() == "waits: tower_unavailable"  # nobody has put the new tower into service yet
    assert progress() == ("reembedding", 0, 0, "tower_unavailable")
    asked = {"image": images.signature("ada")}
    assert client.post("/v1/accounts/ada/verifications", files=asked).json()["outcome"] == "accept"

    name = tower_name(NEW, new.tower)
    endpoint.serve(f"tower-{name}", "1-0-0-00000000", cast("Embed", endpoint.embed))
    assert work() == "waits: tower_mismatch"

    endpoint.serve(f"tower-{name}", name, failing_after(1, endpoint))
    assert work() == "waits: tower_unavailable"
    assert progress() == ("reembedding", 1, 0, "tower_unavailable")

    assert work() == f"switched to {NEW}"
    assert progress() == ("done", 3, 0, None)
    verified = client.post("/v1/accounts/ada/verifications", files=asked).json()
    assert (verified["model_version"], verified["outcome"]) == (NEW, "accept")


def failing_after(answers: int, endpoint: SageMaker) -> Embed:
    """Gives so many answers as the endpoint does, then fails once."""
    embed, left = cast("Embed", endpoint.embed), [answers]

    def fail(asked: np.ndarray) -> np.ndarray:
        left[0] -= 1
        if left[0] == -1:
            raise Complaint("ModelError", "said the stand-in", 424)
        return embed(asked)

    return fail


def test_a_few_specimens_are_one_request(endpoint: SageMaker, remote: SageMakerTower, local: Encoder) -> None:
    encoder = Encoder(local.bundle, remote)

    ada, problem, bruno = encoder.enrol_each([images.signature("ada"), b"no image", images.signature("bruno")])

    assert len(endpoint.asked("InvokeEndpoint")) == 1
    assert isinstance(problem, UnusableImage)
    for name, vectors in (("ada", ada), ("bruno", bruno)):
        assert np.abs(vectors - local.enrol(images.signature(name))).max() < 1e-4


def make_asynchronous(endpoint: SageMaker) -> None:
    answers = {"OutputConfig": {"S3OutputPath": "s3://bank/answers"}}
    endpoint.configs["towers"]["AsyncInferenceConfig"] = answers


@pytest.mark.parametrize(
    ("command", "begins"), [("serve", "service.supervisor.run"), ("worker", "service.worker.work")]
)
def test_an_asynchronous_endpoint_stops_the_start_with_the_setting(
    endpoint: SageMaker, settings: Settings, command: str, begins: str
) -> None:
    make_asynchronous(endpoint)
    given = {"COUNTERSIGN_TOWER": "sagemaker:towers", "COUNTERSIGN_DATABASE_URL": settings.database_url}

    with patch("service.cli.logs.configure"), patch(begins, side_effect=AssertionError("it started")):
        done = CliRunner().invoke(cli.main, [command], env=given)

    assert done.exit_code == 1
    assert "COUNTERSIGN_TOWER names the asynchronous endpoint towers" in done.stderr
    assert "--mode realtime" in done.stderr


def test_a_role_that_may_not_look_at_the_endpoint_starts_and_is_told_by_the_first_question(
    endpoint: SageMaker, settings: Settings, remote: SageMakerTower
) -> None:
    make_asynchronous(endpoint)
    endpoint.faults = [("DescribeEndpoint", "AccessDeniedException", 400)]

    check_tower(settings.model_copy(update={"tower": "sagemaker:towers"}))

    with structlog.testing.capture_logs() as logged, pytest.raises(Refused):
        remote.embed(canvases(1))
    assert "answers at once" in logged[-1]["advice"]


def test_an_endpoint_without_a_region_stops_the_start_with_the_setting(
    settings: Settings, endpoint: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(BadSetting, match="set AWS_REGION"):
        open_encoder(settings)
