"""Where images are embedded: in this process or on an endpoint."""

from pathlib import Path

from embeddings.encoder import Encoder
from service.settings import Settings

SAGEMAKER = "sagemaker:"


def open_encoder(settings: Settings, folder: Path | None = None) -> Encoder:
    """The bundle in `folder`, or the one that the settings name, with the tower that they name."""
    encoder = Encoder.load(folder or settings.bundle)
    if not settings.tower.startswith(SAGEMAKER):
        return encoder
    from service.remote_tower import SageMakerTower  # boto3 takes a third of a second, which no other start pays

    endpoint = settings.tower.removeprefix(SAGEMAKER)
    return Encoder(encoder.bundle, SageMakerTower(encoder.bundle, endpoint, settings.tower_timeout_seconds))
