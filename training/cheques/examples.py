"""The examples that the network learns from, made once by every core and kept in a cache."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from training.cheques import ink
from training.cheques.scenes import VERSION, bank_of, scene
from training.cheques.targets import CELLS, INPUT, TARGETS, example

_banks: dict[str, ink.Bank] = {}  # of this process


def examples(numbers: range, cache: Path, data: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (n, 256, 512), 255 black, and targets float16 (n, 32, 64, 14), mapped from the cache."""
    name = f"scenes-{VERSION}-{numbers.start}-{numbers.stop}"
    kept = [cache / f"{name}-{part}.npy" for part in ("pictures", "targets")]
    if not (cache / f"{name}.done").exists():
        bank_of(numbers.start, cache, data)
        pictures = np.lib.format.open_memmap(kept[0], "w+", np.uint8, (len(numbers), *INPUT))
        targets = np.lib.format.open_memmap(kept[1], "w+", np.float16, (len(numbers), *CELLS, TARGETS))
        with ProcessPoolExecutor(initializer=_start, initargs=(numbers.start, cache, data)) as pool:
            made = pool.map(_example, numbers, chunksize=16)
            for at, (picture, target) in enumerate(track(made, "drawing cheques", len(numbers), transient=True)):
                pictures[at], targets[at] = picture, target
        pictures.flush()
        targets.flush()
        (cache / f"{name}.done").touch()
    return np.load(kept[0], mmap_mode="r"), np.load(kept[1], mmap_mode="r")


def _start(first: int, cache: Path, data: Path | None) -> None:
    cv2.setNumThreads(1)
    _banks["this"] = bank_of(first, cache, data)


def _example(number: int) -> tuple[np.ndarray, np.ndarray]:
    picture, target = example(scene(number, _banks["this"]))
    return np.asarray(np.round(picture.astype(np.float32) * 255), np.uint8), target
