"""Where images are embedded: in this process or on an endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from embeddings import bundle
from embeddings.bundle import Bundle
from embeddings.encoder import Encoder
from service.bundles import default_folder
from service.settings import Settings

if TYPE_CHECKING:
    from service.remote_tower import SageMakerTower

SAGEMAKER = "sagemaker:"


def open_encoder(settings: Settings, folder: Path | None = None) -> Encoder:
    """The bundle in `folder`, or the one that the settings name, with the tower that they name."""
    encoder = Encoder.load(folder or settings.bundle)
    if not settings.tower.startswith(SAGEMAKER):
        return encoder
    return Encoder(encoder.bundle, _remote(settings, encoder.bundle))


def check_tower(settings: Settings) -> None:
    """Before a start: raises `BadSetting` where the settings name an endpoint that can never answer a service."""
    if settings.tower.startswith(SAGEMAKER):
        _remote(settings, bundle.load(default_folder(settings))).check()


def _remote(settings: Settings, loaded: Bundle) -> SageMakerTower:
    from service.remote_tower import SageMakerTower  # boto3 takes a third of a second, which no other start pays

    endpoint = settings.tower.removeprefix(SAGEMAKER)
    return SageMakerTower(loaded, endpoint, settings.tower_timeout_seconds)
