"""Tokens of an issuer that the bank trusts are taken beside API keys, and no others."""

import base64
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from unittest.mock import patch

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service import oidc
from service.oidc import Issuer
from service.settings import BadSetting, load_settings
from tests.support.issuer import AUDIENCE, TestIssuer, new_rsa
from tests.support.server import ROOT
from tests.support.world import World

ON_SQLITE = pytest.mark.parametrize("world", ["sqlite"], indirect=True)
pytestmark = ON_SQLITE


@pytest.fixture
def issuer() -> Iterator[TestIssuer]:
    started = TestIssuer()
    yield started
    started.stop()


@pytest.fixture
def trusting(world: World, issuer: TestIssuer) -> Iterator[World]:
    settings = world.settings.model_copy(update={"oidc_issuer": issuer.name, "oidc_audience": AUDIENCE})
    world.product.issuer = Issuer(settings, world.product.vault)
    yield World(settings, world.product)
    world.product.issuer = None


def ask(world: World, token: str, path: str = "/v1/customers") -> httpx.Response:
    with world.client() as anybody:
        return anybody.get(path, headers={"Authorization": f"Bearer {token}"})


def test_a_token_may_do_what_its_scopes_say_and_nothing_else(trusting: World, issuer: TestIssuer) -> None:
    token = issuer.token()

    assert ask(trusting, token).status_code == 200
    assert ask(trusting, token, "/v1/accounts").json()["code"] == "missing_scope"


def test_api_keys_go_on_working_beside_tokens(trusting: World, issuer: TestIssuer) -> None:
    assert ask(trusting, trusting.key("enrol")).status_code == 200
    assert issuer.asked == []


def test_without_an_issuer_a_token_is_nothing(world: World, issuer: TestIssuer) -> None:
    assert ask(world, issuer.token()).status_code == 401


@pytest.mark.parametrize("scope", [["enrol"], "enrol", "a enrol b"])
def test_scopes_are_a_list_or_words(trusting: World, issuer: TestIssuer, scope: object) -> None:
    assert ask(trusting, issuer.token(scope=scope)).status_code == 200


@pytest.mark.parametrize("scope", [None, "", "enrolment", ["enrol verify"], {"enrol": True}, 7, [["enrol"]]])
def test_a_token_without_a_scope_of_ours_may_do_nothing(trusting: World, issuer: TestIssuer, scope: object) -> None:
    assert ask(trusting, issuer.token(scope=scope)).status_code == 403


def hour(sign: int) -> int:
    return int(time.time()) + sign * 3600


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "another-service"},
        {"aud": None},
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"exp": hour(-1)},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": hour(1)},
        {"iat": hour(1)},
        {"sub": None},
        {"sub": 7},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_token_for_others_or_of_another_time_is_unauthenticated(
    trusting: World, issuer: TestIssuer, changed: dict[str, object]
) -> None:
    answer = ask(trusting, issuer.token(**changed))

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_clocks_may_differ_a_little(trusting: World, issuer: TestIssuer) -> None:
    assert ask(trusting, issuer.token(exp=int(time.time()) - 10, nbf=int(time.time()) + 10)).status_code == 200


def _unsigned(issuer: TestIssuer) -> str:
    return jwt.encode(issuer.claims(), None, "none", {"kid": "first"})


def _signed_with_the_public_key(issuer: TestIssuer) -> str:
    """What a forger can do where a verifier takes the token's word for the algorithm."""
    public = issuer.keys["first"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{_part({'alg': 'HS256', 'kid': 'first'})}.{_part(issuer.claims())}"
    return f"{signed}.{_plain(hmac.digest(public, signed.encode(), 'sha256'))}"


def _of_a_stranger(issuer: TestIssuer) -> str:
    return issuer.token(key=new_rsa())


def _other_algorithm(issuer: TestIssuer) -> str:
    return jwt.encode(issuer.claims(), issuer.keys["first"], "RS512", {"kid": "first"})


def _another_kind_of_key(issuer: TestIssuer) -> str:
    return issuer.token(key=ec.generate_private_key(ec.SECP256R1()))


def _without_a_key_id(issuer: TestIssuer) -> str:
    return jwt.encode(issuer.claims(), issuer.keys["first"], "RS256")


def _with_a_key_of_its_own(issuer: TestIssuer) -> str:
    own = new_rsa()
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key(), as_dict=True)
    return jwt.encode(issuer.claims(), own, "RS256", {"kid": "first", "jwk": jwk, "jku": "http://127.0.0.1:1/"})


def _changed(issuer: TestIssuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{_part(issuer.claims(scope='admin enrol'))}.{signature}"


def _part(content: dict[str, object]) -> str:
    return _plain(json.dumps(content).encode())


def _plain(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@pytest.mark.parametrize(
    "forge",
    [
        _unsigned,
        _signed_with_the_public_key,
        _of_a_stranger,
        _other_algorithm,
        _another_kind_of_key,
        _without_a_key_id,
        _with_a_key_of_its_own,
        _changed,
        lambda issuer: issuer.token()[:-4],
        lambda _: "a.b.c",
        lambda _: "e30.e30.",
        lambda _: "x" * 3000,
    ],
)
def test_a_forged_token_is_unauthenticated(
    trusting: World, issuer: TestIssuer, forge: Callable[[TestIssuer], str]
) -> None:
    answer = ask(trusting, forge(issuer))

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.filterwarnings("ignore:The RSA key is")
def test_keys_that_are_too_short_are_not_trusted(trusting: World, issuer: TestIssuer) -> None:
    issuer.keys["short"] = new_rsa(1024)

    assert ask(trusting, issuer.token("short")).status_code == 401
    assert ask(trusting, issuer.token("first")).status_code == 200


def test_a_signature_on_a_curve_is_taken_too(trusting: World, issuer: TestIssuer) -> None:
    issuer.keys["curve"] = ec.generate_private_key(ec.SECP256R1())

    assert ask(trusting, issuer.token("curve")).status_code == 200


def test_a_new_key_of_the_issuer_is_asked_for_and_an_old_one_goes(trusting: World, issuer: TestIssuer) -> None:
    old = issuer.token()
    assert ask(trusting, old).status_code == 200
    issuer.keys = {"second": new_rsa()}

    with later(oidc.PAUSE_SECONDS):
        statuses = [ask(trusting, token).status_code for token in (issuer.token("second"), old)]

    assert statuses == [200, 401]


def test_unknown_key_ids_do_not_make_the_service_ask_the_issuer_each_time(
    trusting: World, issuer: TestIssuer
) -> None:
    ask(trusting, issuer.token())
    before = len(issuer.asked)

    statuses = {ask(trusting, issuer.token(f"made up {number}", new_rsa())).status_code for number in range(3)}

    assert statuses == {401}
    assert len(issuer.asked) == before


def test_those_who_hold_tokens_go_on_working_while_the_issuer_is_away_for_a_day(
    trusting: World, issuer: TestIssuer
) -> None:
    token = issuer.token()
    ask(trusting, token)
    issuer.answers = False

    with later(oidc.REFRESH_SECONDS):
        trusting.product.issuer.catch_up()  # type: ignore[union-attr]
        hold, new = ask(trusting, token), ask(trusting, issuer.token("new", new_rsa()))
    with later(oidc.KEEP_SECONDS + 1):
        too_long = ask(trusting, token)

    assert hold.status_code == 200
    for answer in (new, too_long):
        assert (answer.status_code, answer.json()["code"]) == (503, "issuer_unavailable")
        assert int(answer.headers["Retry-After"]) == oidc.PAUSE_SECONDS


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://elsewhere.example"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"jwks_uri": "http://127.0.0.1:1/keys"},
    ],
    ids=str,
)
def test_an_issuer_whose_document_cannot_be_trusted_is_as_good_as_away(
    trusting: World, issuer: TestIssuer, document: dict[str, object]
) -> None:
    issuer.document = document

    assert ask(trusting, issuer.token()).status_code == 503


def test_a_caller_is_noted_under_a_pseudonym_that_stays(trusting: World, issuer: TestIssuer) -> None:
    identify = trusting.product.issuer.identify  # type: ignore[union-attr]
    callers = [identify(issuer.token(sub=sub, jti=str(number))) for number, sub in enumerate(("ada", "ada", "bob"))]

    ids = [caller.key_id for caller in callers if caller]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) <= 40
    assert "ada" not in ids[0]


def test_the_token_library_is_loaded_only_where_there_is_an_issuer(world: World) -> None:
    code = "import sys, service.product, service.api.app; sys.exit('jwt' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_issuer_without_an_audience_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_OIDC_ISSUER", "https://id.bank.example")

    with pytest.raises(BadSetting, match="COUNTERSIGN_OIDC_AUDIENCE"):
        load_settings()


def later(seconds: float) -> object:
    now = time.monotonic() + seconds
    return patch.object(oidc, "monotonic", lambda: now)
