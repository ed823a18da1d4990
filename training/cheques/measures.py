"""What happened on a set of cheques, with 95 % intervals after Wilson (1927)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from embeddings.cheque_map import overlap

ENOUGH = 0.5  # intersection over union from which a region is the signature


@dataclass
class Figures:
    name: str
    cheques: int = 0
    wanted: int = 0
    found: int = 0
    complete: int = 0  # cheques of which all signatures were found
    false: int = 0
    silent: int = 0  # cheques without any region
    refused: dict[str, int] = field(default_factory=dict)
    overlaps: list[float] = field(default_factory=list)

    def count(self, wanted: Sequence, found: Sequence, refused: str = "") -> bool:
        """Adds one cheque by its boxes; answers whether all is right with it."""
        best = matched(wanted, found)
        hits = sum(value >= ENOUGH for value in best)
        self.cheques += 1
        self.wanted += len(wanted)
        self.found += hits
        self.complete += hits == len(wanted)
        self.false += len(found) - hits
        self.silent += not found
        self.overlaps += [round(value, 3) for value in best]
        if refused:
            self.refused[refused] = self.refused.get(refused, 0) + 1
        return hits == len(wanted) == len(found)

    def __str__(self) -> str:
        parts = [self.name]
        if self.wanted:
            parts += [
                f"found {share(self.found, self.wanted)}",
                f"all of a cheque {share(self.complete, self.cheques)}",
            ]
            parts += [f"median IoU {median(self.overlaps):.2f}"]
        parts += [
            f"false {self.false / max(self.cheques, 1):.3f} a cheque",
            f"no region {share(self.silent, self.cheques)}",
        ]
        parts += [f"refused {count} {code}" for code, count in self.refused.items()]
        return "; ".join(parts)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not of:
        return 0.0, 1.0
    z, p = 1.959964, hits / of
    middle, reach = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (middle - reach) / (1 + z * z / of), (middle + reach) / (1 + z * z / of)


def share(hits: int, of: int) -> str:
    low, high = wilson(hits, of)
    return f"{hits}/{of} = {100 * hits / max(of, 1):.1f} % [{100 * max(low, 0):.1f}, {100 * min(high, 1):.1f}]"


def matched(wanted: Sequence, found: Sequence) -> list[float]:
    """Overlap of each wanted box with a region of its own, best pairs first."""
    pairs = sorted(((overlap(a, b), i, j) for i, a in enumerate(wanted) for j, b in enumerate(found)), reverse=True)
    best: dict[int, float] = {}
    used: set[int] = set()
    for value, i, j in pairs:
        if i not in best and j not in used:
            best[i] = value
            used.add(j)
    return [best.get(i, 0.0) for i in range(len(wanted))]
