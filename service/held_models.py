"""What this process holds of each model version: an encoder, loaded once, and an index of the templates.

The database says which version is active. This process hears of a switch within a second, or at once from the first
statement that met it (`Overtaken`), and then reads the image again: no vector meets one of another version.
"""

import threading
from pathlib import Path
from typing import NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from embeddings import bundle
from embeddings.bundle import BrokenBundle
from embeddings.encoder import Encoder
from service import metrics
from service.active_model import Standing, read_standing
from service.bundles import at_hand, default_folder
from service.database import Database, Overtaken
from service.errors import Refused
from service.first_reading import FirstReading
from service.search_index import SearchIndex
from service.settings import Settings
from service.towers import open_encoder
from service.vault import Vault

log = structlog.get_logger()


class Shadow(NamedTuple):
    """A version that scores beside the active one, for this activation (the row's id)."""

    activation: int
    model_version: str


class HeldModels:
    def __init__(
        self, settings: Settings, database: Database, vault: Vault, first_reading: FirstReading | None = None
    ) -> None:
        """Raises `BrokenBundle` where the settings name no bundle."""
        self._settings = settings
        self._database = database
        self._vault = vault
        self._first_reading = first_reading
        self._encoders: dict[str, Encoder] = {}
        self._indexes: dict[str, SearchIndex] = {}
        self._wanted: set[str] = set()
        self._loading = threading.Lock()
        self.default_version = bundle.version_of(default_folder(settings))
        self.active_version = self._first_version()  # as last heard; whoever relies on it asks the database
        self.shadow: Shadow | None = None

    @property
    def encoder(self) -> Encoder:
        return self.encoder_of(self.active_version)

    @property
    def index(self) -> SearchIndex:
        return self.index_of(self.active_version)

    def encoder_of(self, version: str) -> Encoder:
        """Raises `model_unavailable` where this host has no bundle of it, or a damaged one."""
        with self._loading:
            if version not in self._encoders:
                self._encoders[version] = self._load(version)
            return self._encoders[version]

    def index_of(self, version: str) -> SearchIndex:
        """Empty until it has caught up. Raises what `encoder_of` does."""
        dimension = self.encoder_of(version).dimension
        with self._loading:
            if version not in self._indexes:
                self._indexes[version] = SearchIndex(
                    self._database, self._vault, version, dimension, self._first_reading
                )
            return self._indexes[version]

    def at_hand(self) -> dict[str, Path]:
        return at_hand(self._settings)

    def is_ready(self) -> bool:
        try:
            return self.index.is_loaded
        except Refused:
            return False

    def check(self, active: str, version: str) -> None:
        """Raises `Overtaken` where an image was read under another version than the one that is active now."""
        if active != version:
            self.active_version = active
            raise Overtaken

    def catch_up(self) -> None:
        """Follows the database: which version is active, what must be in memory for it, and what no more. An index
        of a version that is about to be active is filled beforehand, so that a switch keeps no search waiting."""
        standing = self._standing()
        wanted = {standing.active}
        activation = standing.activation
        if activation is not None and activation.mode != "shadow":
            wanted.add(activation.model_version)
        for version in sorted(wanted, key=lambda version: version != standing.active):
            self.index_of(version).catch_up()
        self._follow(standing)
        self._let_go(wanted)
        _show(standing)

    def hear(self) -> None:
        """What `catch_up` hears, for a process that searches in no index."""
        self._follow(self._standing())

    def _standing(self) -> Standing:
        with self._database.reading() as session:
            return read_standing(session, self.default_version)

    def _follow(self, standing: Standing) -> None:
        self.active_version = standing.active
        self.shadow = _shadow(standing)

    def _let_go(self, wanted: set[str]) -> None:
        """A request that read its image before a switch may still search: an index stays for a turn."""
        with self._loading:
            for version in set(self._indexes) - wanted - self._wanted:
                self._indexes.pop(version).let_go()
            self._wanted = wanted

    def _load(self, version: str) -> Encoder:
        folder = at_hand(self._settings).get(version)
        if folder is None:
            raise Refused("model_unavailable")
        try:
            encoder = open_encoder(self._settings, folder)
        except BrokenBundle as problem:
            log.error("model_broken", model_version=version, problem=str(problem))
            raise Refused("model_unavailable") from problem
        log.info("model_loaded", model_version=version)
        return encoder

    def _first_version(self) -> str:
        try:
            with self._database.reading() as session:
                return read_standing(session, self.default_version).active
        except SQLAlchemyError:
            return self.default_version  # readiness waits for the database


def _shadow(standing: Standing) -> Shadow | None:
    activation = standing.activation
    if activation is None or activation.state != "shadowing":
        return None
    return Shadow(activation.id, activation.model_version)


def _show(standing: Standing) -> None:
    for version in {standing.previous, standing.active} - {None}:
        metrics.active_model.labels(version).set(version == standing.active)
    activation = standing.activation
    for kind in ("done", "total", "needs_reenrolment"):
        metrics.activation_specimens.labels(kind).set(getattr(activation, kind) if activation else 0)
