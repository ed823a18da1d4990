"""Comparing two images, and showing both beside their score."""

from embeddings.encoder import Encoder
from embeddings.errors import UnusableImage
from service.errors import Refused

FIELDS = ("image_a", "image_b")


def compare_images(encoder: Encoder, image_a: bytes, image_b: bytes) -> float:
    """Raises `Refused` with the image's own code."""
    try:
        vectors = encoder.embed([image_a, image_b])
    except UnusableImage as problem:
        raise Refused(problem.code, errors=[{"field": FIELDS[problem.index], "problem": problem.code}]) from problem
    return encoder.score(vectors[:1], vectors[1])
