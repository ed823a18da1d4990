"""Is this a picture of one signature, and a good one?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCKING = ("no_ink", "too_faint", "too_small", "only_lines", "print_not_ink", "not_on_paper")
DOUBTFUL = ("clipped", "two_signatures")


@dataclass(frozen=True)
class Quality:
    """`codes` are keys of `embeddings.errors.CODES`; `ok` means that there are none."""

    ok: bool
    codes: tuple[str, ...]


def assess(grey: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Quality:
    codes = () if cv2_count(mask) else ("no_ink",)
    return Quality(not codes, codes)


def cv2_count(mask: NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(mask))
