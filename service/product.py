"""What a running process holds: opened once, after the fork, and handed to the use cases."""

from dataclasses import dataclass, field

from embeddings.encoder import Encoder
from embeddings.index import use_one_thread
from service.database import Database
from service.keystore import KeyStore
from service.search_index import SearchIndex, Tick
from service.settings import Settings
from service.vault import Vault


@dataclass
class Product:
    settings: Settings
    database: Database
    vault: Vault
    encoder: Encoder
    index: SearchIndex
    tick: Tick = field(repr=False)

    @classmethod
    def open(cls, settings: Settings) -> "Product":
        use_one_thread()
        database = Database(settings.database_url, pool_size=settings.threads + 2)
        vault = Vault(KeyStore.open(settings.keystore_url))
        encoder = Encoder.load(settings.bundle)
        index = SearchIndex(database, vault, encoder.model_version, encoder.dimension)
        tick = Tick(index, settings.index_refresh_seconds)
        tick.start()  # also builds the index, beside the first requests
        return cls(settings, database, vault, encoder, index, tick)

    def close(self) -> None:
        self.tick.stop()
        self.database.close()
