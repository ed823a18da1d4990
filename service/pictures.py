"""Pictures for people: two signatures compared, and a sheet of many with what was answered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.bundle import Thresholds
from embeddings.decode import decode
from embeddings.preprocess import prepare
from service import drawing
from service.drawing import BOLD, BOTH, COLOURS, QUESTION, SPECIMEN, WHITE, Picture

PAIR_TILE = (480, 240)
SHEET_TILE = (300, 150)
BANNER = 28


@dataclass(frozen=True)
class Tile:
    image: bytes
    caption: str
    outcome: str | None


def draw_pair(image_a: bytes, image_b: bytes, score: float, thresholds: Thresholds) -> bytes:
    """PNG bytes: both images, one laid over the other as the tower sees them, the score and what it means."""
    outcome = "accept" if score >= thresholds.accept else "refer" if score >= thresholds.reject else "reject"
    width = PAIR_TILE[0]
    canvases = [prepare(image).canvas for image in (image_a, image_b)]
    tiles = [
        np.vstack([_banner(name, colour, width), drawing.framed(picture, PAIR_TILE)])
        for name, colour, picture in (
            ("A", QUESTION, decode(image_a)),
            ("B", SPECIMEN, decode(image_b)),
            ("A over B: dark where both have ink", BOTH, drawing.laid_over(canvases[0], canvases[1], width - 16)),
        )
    ]
    pair = np.hstack(tiles)
    return drawing.png(np.vstack([_banner(f"score {score:.3f}  {outcome}", COLOURS[outcome], pair.shape[1]), pair]))


def draw_sheet(rows: Sequence[Sequence[Tile]]) -> bytes:
    """PNG bytes: one row a customer, the enrolled signature first, then each questioned one with its outcome."""
    width = max(len(row) for row in rows)
    blank = drawing.blank(SHEET_TILE[0], SHEET_TILE[1] + BANNER)
    return drawing.png(
        np.vstack([np.hstack([_captioned(tile) for tile in row] + [blank] * (width - len(row))) for row in rows])
    )


def _captioned(tile: Tile) -> Picture:
    caption = tile.caption if tile.outcome is None else f"{tile.caption}  {tile.outcome}"
    return np.vstack(
        [_banner(caption, COLOURS[tile.outcome], SHEET_TILE[0]), drawing.framed(decode(tile.image), SHEET_TILE)]
    )


def _banner(text: str, colour: drawing.Colour, width: int) -> Picture:
    banner = drawing.blank(width, BANNER, colour)
    drawing.write(banner, drawing.shortened(text, width - 16, 15, BOLD), (8, 19), 15, WHITE, BOLD)
    return banner
