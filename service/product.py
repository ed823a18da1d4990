"""What a running process holds: opened once, after the fork, and handed to the use cases."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from embeddings.encoder import Encoder
from embeddings.index import use_one_thread
from service import referrals
from service.access import NOTE_SECONDS, KeyUses
from service.database import Database
from service.first_reading import FirstReading
from service.held_models import HeldModels
from service.keystore import BrokenKeyStore, KeyStore
from service.models import Customer
from service.policy import Policy, load_policy
from service.search_index import SearchIndex, Tick
from service.settings import Settings
from service.vault import Vault

if TYPE_CHECKING:
    from service.oidc import Issuer


@dataclass
class Product:
    settings: Settings
    database: Database
    vault: Vault
    models: HeldModels
    policy: Policy
    tick: Tick = field(repr=False)
    gauges: Tick = field(repr=False)
    key_uses: KeyUses
    noting: Tick = field(repr=False)
    issuer: "Issuer | None" = None
    asking_issuer: Tick | None = field(default=None, repr=False)

    @property
    def encoder(self) -> Encoder:
        """Of the active version, as this process last heard."""
        return self.models.encoder

    @property
    def index(self) -> SearchIndex:
        """Of the active version, as this process last heard."""
        return self.models.index

    @classmethod
    def open(cls, settings: Settings, first_reading: FirstReading | None = None) -> "Product":
        """With running ticks, one of which builds the index, beside the first requests. Raises `BrokenBundle`,
        `BrokenKeyStore` and `BadSetting`."""
        opened = cls.assemble(settings, first_reading)
        use_one_thread()
        opened.tick.start()
        opened.gauges.start()
        opened.noting.start()
        if opened.asking_issuer is not None:
            opened.asking_issuer.start()
        return opened

    @classmethod
    def read_ahead(cls, settings: Settings, first_reading: FirstReading) -> None:
        """Reads the templates for the processes that are starting."""
        opened = cls.assemble(settings, first_reading)
        opened.index.read_ahead()
        opened.database.close()

    @classmethod
    def assemble(cls, settings: Settings, first_reading: FirstReading | None = None) -> "Product":
        """Without a tick: as last heard then means at this moment."""
        policy = load_policy(settings.policy)
        database = Database(settings.database_url)
        try:
            vault = Vault(open_keys(settings.keystore_url, database))
        except BrokenKeyStore:
            database.close()
            raise
        models = HeldModels(settings, database, vault, first_reading)
        tick = Tick(models, settings.index_refresh_seconds)
        gauges = Tick(referrals.Gauges(database), referrals.REFRESH_SECONDS, "referrals")
        key_uses = KeyUses(database)
        noting = Tick(key_uses, NOTE_SECONDS, "key uses")
        opened = cls(settings, database, vault, models, policy, tick, gauges, key_uses, noting)
        if settings.oidc_issuer is not None:
            from service.oidc import REFRESH_SECONDS, Issuer  # costs a start without one 0.05 s

            opened.issuer = Issuer(settings, vault)
            opened.asking_issuer = Tick(opened.issuer, REFRESH_SECONDS, "issuer")
        return opened

    def close(self) -> None:
        for tick in (self.tick, self.gauges, self.noting, self.asking_issuer):
            if tick is not None and tick.is_alive():
                tick.stop()
        with suppress(SQLAlchemyError):  # the last seconds' uses, where they can be written
            self.key_uses.catch_up()
        self.database.close()


def open_keys(url: str, database: Database) -> KeyStore:
    """A new store is made for an empty database only: with other keys nobody in it would be found any more, and
    whoever is enrolled meanwhile would be lost when the right store comes back. Raises `BrokenKeyStore`."""
    try:
        with database.reading() as session:
            sealed_under = session.scalar(select(Customer.key_id).order_by(Customer.id.desc()).limit(1))
    except SQLAlchemyError:
        return KeyStore.open(url, may_create=False)  # readiness waits for the database
    store = KeyStore.open(url, may_create=sealed_under is None)
    if sealed_under is not None and sealed_under not in store.keys:
        raise BrokenKeyStore(f"{url} lacks the key that the database is sealed under: restore the store that has it")
    return store
