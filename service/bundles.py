"""Which model versions are at hand: the bundle that the settings name, the ones that ship, and a folder of more."""

from pathlib import Path

import structlog

from embeddings import bundle
from embeddings.bundle import BrokenBundle
from embeddings.encoder import BUNDLES, shipped_bundle
from service.settings import Settings

log = structlog.get_logger()


def default_folder(settings: Settings) -> Path:
    """Of the version that is active as long as nobody ever switched. Raises `BrokenBundle`."""
    return settings.bundle or shipped_bundle()


def at_hand(settings: Settings) -> dict[str, Path]:
    """Folders by model version, looked up anew each time: a bundle may arrive while the service runs. Of several with
    one version the settings' own is first."""
    found: dict[str, Path] = {}
    for folder in _folders(settings):
        try:
            found.setdefault(bundle.version_of(folder), folder)
        except BrokenBundle as problem:
            log.warning("bundle_passed_over", problem=str(problem))
    return found


def _folders(settings: Settings) -> list[Path]:
    shelves = [BUNDLES, *([settings.models] if settings.models else [])]
    found = [manifest.parent for shelf in shelves for manifest in sorted(shelf.glob(f"*/{bundle.MANIFEST}"))]
    return [*([settings.bundle] if settings.bundle else []), *found]
