import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.database import Database
from service.keystore import BrokenKeyStore, KeyStore
from service.product import Product
from service.schema import migrate
from service.settings import Settings
from service.vault import SealBroken, SealedValue, Vault
from tests.support.images import signature
from tests.support.world import World

names = st.text(st.characters(blacklist_characters="\0", codec="utf-8"), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return Vault(KeyStore.open(f"file:{tmp_path_factory.mktemp('keys') / 'keystore.json'}"))


@given(owner=names, kind=names, value=st.binary(max_size=2000))
def test_what_is_sealed_opens_for_its_owner_and_kind(vault: Vault, owner: str, kind: str, value: bytes) -> None:
    assert vault.open(owner, kind, vault.seal(owner, kind, value)) == value


@given(owner=names, other=names, kind=names, another=names, value=st.binary(max_size=100))
def test_it_opens_for_no_other_owner_and_no_other_kind(
    vault: Vault, owner: str, other: str, kind: str, another: str, value: bytes
) -> None:
    sealed = vault.seal(owner, kind, value)

    for somebody, something in {(other, kind), (owner, another), (kind, owner)} - {(owner, kind)}:
        with pytest.raises(SealBroken):
            vault.open(somebody, something, sealed)


@given(value=st.binary(max_size=100), data=st.data())
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow])
def test_it_does_not_open_with_one_bit_changed(vault: Vault, value: bytes, data: st.DataObject) -> None:
    sealed = vault.seal("owner", "kind", value)
    whole = bytearray(sealed.nonce + sealed.sealed)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8

    with pytest.raises(SealBroken):
        vault.open("owner", "kind", SealedValue(sealed.key_id, bytes(whole[:12]), bytes(whole[12:])))


def test_it_does_not_open_cut_short_or_under_an_unknown_key(vault: Vault) -> None:
    sealed = vault.seal("owner", "kind", b"value")

    for change in ({"sealed": sealed.sealed[:-1]}, {"sealed": b""}, {"key_id": "unknown"}):
        with pytest.raises(SealBroken):
            vault.open("owner", "kind", sealed._replace(**change))


def test_the_same_value_is_never_sealed_twice_the_same(vault: Vault) -> None:
    sealed = [vault.seal("owner", "kind", b"value") for _ in range(100)]

    assert len({one.nonce for one in sealed}) == len({one.sealed for one in sealed}) == 100


def test_an_error_says_nothing_of_what_was_sealed(vault: Vault) -> None:
    with pytest.raises(SealBroken) as broken:
        vault.open("somebody", "kind", vault.seal("owner", "kind", b"the secret value"))

    assert "secret" not in str(broken.value)
    assert "owner" not in str(broken.value)


def test_a_look_up_is_the_same_for_the_same_store_alone(tmp_path: Path, vault: Vault) -> None:
    other = Vault(KeyStore.open(f"file:{tmp_path / 'other.json'}"))

    assert vault.lookup("customer", "ada") == vault.lookup("customer", "ada")
    hashes = {
        vault.lookup("customer", "ada"),
        vault.lookup("customer", "bruno"),
        vault.lookup("account", "ada"),
        other.lookup("customer", "ada"),
    }
    assert len(hashes) == 4
    assert {len(one) for one in hashes} == {32}


def test_a_new_store_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keystore.json"

    KeyStore.open(f"file:{path}")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["keystore.json"]


def test_a_store_opens_again_with_the_same_keys(tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'keystore.json'}"

    assert KeyStore.open(url) == KeyStore.open(url)


def test_processes_that_make_the_store_at_once_agree_on_it(tmp_path: Path) -> None:
    path = tmp_path / "keystore.json"
    program = (
        "import sys; from service.keystore import KeyStore;"
        "sys.stdin.readline(); print(KeyStore.open(f'file:{sys.argv[1]}').lookup.hex())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]

    for process in started:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    seen = {process.communicate()[0].strip() for process in started}

    assert seen == {KeyStore.open(f"file:{path}").lookup.hex()}
    assert [file.name for file in tmp_path.iterdir()] == ["keystore.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "",
        lambda text: text[: len(text) // 2],
        lambda _: "[]",
        lambda _: "{}",
        lambda text: json.dumps(json.loads(text) | {"active": "another"}),
        lambda text: json.dumps(json.loads(text) | {"lookup": "c2hvcnQ="}),
        lambda text: json.dumps(json.loads(text) | {"lookup": "!"}),
        lambda text: json.dumps(json.loads(text) | {"keys": {json.loads(text)["active"]: "c2hvcnQ="}}),
    ],
)
def test_a_damaged_store_is_refused_and_left_as_it_is(tmp_path: Path, damage: Callable[[str], str]) -> None:
    path = tmp_path / "keystore.json"
    KeyStore.open(f"file:{path}")
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    damaged = path.read_bytes()

    with pytest.raises(BrokenKeyStore) as broken:
        KeyStore.open(f"file:{path}")

    assert str(path) in str(broken.value)
    assert path.read_bytes() == damaged


def test_a_lost_store_is_not_replaced_while_somebody_is_enrolled(world: World, tmp_path: Path) -> None:
    world.enrol(world.new_id(), signature("ada"))
    lost = tmp_path / "lost.json"

    with pytest.raises(BrokenKeyStore, match="is missing"):
        Product.open(_with_keys(world.settings, lost))

    assert not lost.exists()


def test_a_store_of_other_keys_is_refused_while_somebody_is_enrolled(world: World, tmp_path: Path) -> None:
    world.enrol(world.new_id(), signature("ada"))
    other = tmp_path / "other.json"
    KeyStore.open(f"file:{other}")

    with pytest.raises(BrokenKeyStore, match="lacks the key"):
        Product.open(_with_keys(world.settings, other))


def test_a_store_is_not_made_before_the_database_says_that_it_is_empty(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'countersign.db'}", keystore_url=f"file:{tmp_path / 'keystore.json'}"
    )

    with pytest.raises(BrokenKeyStore, match="is missing"):
        Product.open(settings)
    migrate(settings.database_url)
    Product.open(settings).close()

    assert (tmp_path / "keystore.json").exists()


def test_nothing_in_a_database_opens_with_the_database_alone(world: World) -> None:
    """What a thief of the database file or of a backup has is seals and keyed hashes."""
    customer_id = world.new_id("thief")
    world.enrol(customer_id, signature("ada"), name="Stolen Name")

    database = Database(world.settings.database_url)
    with database.reading() as session:
        rows = session.connection().exec_driver_sql("SELECT sealed FROM customers").all()
    database.close()

    assert rows
    assert not any(customer_id.encode() in bytes(row[0]) or b"Stolen Name" in bytes(row[0]) for row in rows)


def _with_keys(settings: Settings, path: Path) -> Settings:
    return settings.model_copy(update={"keystore_url": f"file:{path}"})
