"""The public face: image bytes to vectors, vectors to a score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings import bundle
from embeddings.bundle import Bundle
from embeddings.errors import UnusableImage
from embeddings.preprocess import Box, Prepared, prepare, prepare_mask
from embeddings.quality import Quality
from embeddings.tower import LiteRTTower, Tower

Vectors = NDArray[np.float32]

BUNDLES = Path(__file__).parent / "bundles"


@dataclass(frozen=True)
class Reading:
    """One image, read: its vector float32 (d,), its quality, its (width, height), milliseconds by step, the model
    version that read it, for only vectors of one version may be compared, and its canvas float32 (128, 256)."""

    vector: Vectors
    quality: Quality
    size: tuple[int, int]
    timings_ms: dict[str, float]
    model_version: str
    canvas: NDArray[np.float32]


class Encoder:
    """Loads once, then embeds and scores from any thread."""

    def __init__(self, loaded: Bundle, tower: Tower) -> None:
        self.bundle = loaded
        self.model_version = loaded.model_version
        self.dimension = loaded.dimension
        self._tower = tower

    @classmethod
    def load(cls, path: str | Path | None = None) -> Self:
        """Loads the bundle in folder `path`, by default the one that ships; raises `BrokenBundle`."""
        loaded = bundle.load(Path(path) if path is not None else shipped_bundle())
        return cls(loaded, LiteRTTower(loaded.tower))

    def read(self, image: bytes, box: Box | None = None) -> Reading:
        """Embeds one image, or what lies in a box (left, top, width, height in pixels) of it, and says how good it
        is; raises `UnusableImage` with index 0."""
        return self._read(prepare(image, box))

    def read_mask(self, mask: NDArray[np.uint8]) -> Reading:
        """The same for ink that was lifted off a page, a mask (h, w) uint8 of 0 and 1; raises `UnusableImage` with
        index 0, `no_ink` where nothing was left."""
        return self._read(prepare_mask(mask))

    def _read(self, prepared: Prepared) -> Reading:
        started = perf_counter()
        vector = self._tower.embed(prepared.canvas[np.newaxis])[0]
        embed_ms = (perf_counter() - started) * 1000
        timings = {"decode": prepared.decode_ms, "preprocess": prepared.preprocess_ms, "embed": embed_ms}
        return Reading(vector, prepared.quality, prepared.size, timings, self.model_version, prepared.canvas)

    def embed(self, images: Sequence[bytes]) -> Vectors:
        """Encoded images (PNG, JPEG, TIFF, BMP) to vectors float32 (n, d).

        Raises `UnusableImage` with the index of the first image that cannot be used.
        """
        canvases = [_prepared_canvas(index, image) for index, image in enumerate(images)]
        if not canvases:
            return np.empty((0, self.dimension), np.float32)
        return self._tower.embed(np.stack(canvases))

    def enrol(self, image: bytes) -> Vectors:
        """What is kept of one specimen: float32 (m, d). Raises `UnusableImage` with index 0."""
        return self.embed([image])

    def enrol_each(self, images: Sequence[bytes]) -> list[Vectors | UnusableImage]:
        """Of each image what `enrol` keeps, float32 (m, d), or why it keeps nothing. The tower is asked once for all,
        which matters where it is far away."""
        found = [_canvas_or_problem(index, image) for index, image in enumerate(images)]
        canvases = [one for one in found if not isinstance(one, UnusableImage)]
        vectors = iter(self._tower.embed(np.stack(canvases)) if canvases else ())
        return [one if isinstance(one, UnusableImage) else next(vectors)[np.newaxis] for one in found]

    def score(self, references: Vectors, query: Vectors) -> float:
        """Score in (0, 1) of `query` (d,) against one person's `references` (k, d), stacked from any number of
        specimens. ValueError if there are none or the dimensions differ.
        """
        if references.ndim != 2 or not len(references) or references.shape[1:] != query.shape:
            raise ValueError(f"references (k, d) and a query (d,), got {references.shape} and {query.shape}")
        head = self.bundle.head
        return head.score(head.distance(references, query))


def _prepared_canvas(index: int, image: bytes) -> NDArray[np.float32]:
    try:
        return prepare(image).canvas
    except UnusableImage as problem:
        raise UnusableImage(index, problem.code) from problem


def _canvas_or_problem(index: int, image: bytes) -> NDArray[np.float32] | UnusableImage:
    try:
        return _prepared_canvas(index, image)
    except UnusableImage as problem:
        return problem


def shipped_bundle() -> Path:
    """The folder of the bundle that ships; raises `BrokenBundle` unless there is exactly one."""
    folders = sorted(path.parent for path in BUNDLES.glob(f"*/{bundle.MANIFEST}"))
    if len(folders) != 1:
        raise bundle.BrokenBundle(f"{BUNDLES} must hold exactly one bundle, it holds {len(folders)}")
    return folders[0]
