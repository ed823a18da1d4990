"""What pictures for people are made of: text, images fitted into frames, and one signature laid over another.

Text is OpenCV's own: its letters are smooth, come in weights, and know more alphabets than Latin.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.preprocess import CANVAS

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

WHITE, BLACK, GREY, FRAME = (255, 255, 255), (35, 35, 35), (115, 115, 115), (205, 205, 205)
# Blue, green, orange, red as BGR, which the colour-blind tell apart (Okabe and Ito 2008); outcomes are also in words.
QUESTION, SPECIMEN, BOTH = (178, 114, 0), (0, 159, 230), (40, 30, 30)
COLOURS: dict[str | None, Colour] = {
    "accept": (115, 158, 0),
    "refer": (20, 130, 200),
    "reject": (40, 70, 190),
    None: (110, 110, 110),
}

LIGHT, BOLD = 400, 600
_FONT = cv2.FontFace("sans")
_ANYWHERE = (30_000, 1_000)


def text_width(text: str, size: int, weight: int = LIGHT) -> int:
    return int(cv2.getTextSize(_ANYWHERE, text, (0, 0), _FONT, size, weight)[2])


def write(
    picture: Picture, text: str, at: tuple[int, int], size: int, colour: Colour = BLACK, weight: int = LIGHT
) -> None:
    """`at` is the left end of the line that the letters stand on."""
    cv2.putText(picture, text, at, colour, _FONT, size, weight)


def shortened(text: str, width: int, size: int, weight: int = LIGHT) -> str:
    """As much of a text as fits, with an ellipsis where that is not all. Control characters are no letters."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    if text_width(text, size, weight) <= width:
        return text
    while text and text_width(text + "…", size, weight) > width:
        text = text[:-1]
    return text + "…"


def wrapped(text: str, width: int, size: int) -> list[str]:
    """Lines of whole words; a word wider than the line is shortened."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(shortened(word, width, size))
    return lines


def blank(width: int, height: int, colour: Colour = WHITE) -> Picture:
    return np.full((height, width, 3), colour, np.uint8)


def framed(picture: Picture, tile: tuple[int, int]) -> Picture:
    """Fitted into a tile (width, height), at most four times as large, centred on white in a thin frame."""
    fitted = fit(picture, (tile[0] - 16, tile[1] - 16))
    frame = blank(*tile)
    left, top = (tile[0] - fitted.shape[1]) // 2, (tile[1] - fitted.shape[0]) // 2
    frame[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    cv2.rectangle(frame, (0, 0), (tile[0] - 1, tile[1] - 1), FRAME, 1)
    return frame


def fit(picture: Picture, room: tuple[int, int]) -> Picture:
    scale = fitting(picture.shape[1], picture.shape[0], room)
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return in_colour(np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8))


def fitting(width: int, height: int, room: tuple[int, int]) -> float:
    """The scale at which something so large fits the room (width, height)."""
    return min(room[0] / width, room[1] / height, 4.0)


def in_colour(picture: Picture) -> Picture:
    return picture if picture.ndim == 3 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)


def laid_over(question: NDArray[np.float32], specimen: NDArray[np.float32] | None, width: int) -> Picture:
    """Canvases of two signatures in one picture: each in its own colour, dark where both have ink."""
    size = (width, round(width * CANVAS[0] / CANVAS[1]))
    above = _smooth(question, size)
    below = 0 * above if specimen is None else _smooth(specimen, size)
    shown = np.full((*above.shape[:2], 3), 255.0)
    for share, colour in ((above * (1 - below), QUESTION), (below * (1 - above), SPECIMEN), (above * below, BOTH)):
        shown += share * (np.array(colour) - 255.0)
    return shown.astype(np.uint8)


def _smooth(canvas: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    """A canvas enlarged, its steps rounded off: how much ink is on each pixel, 0 to 1, (h, w, 1)."""
    large = cv2.GaussianBlur(cv2.resize(canvas, size, interpolation=cv2.INTER_CUBIC), (0, 0), size[0] / 350)
    return np.asarray(np.clip((large - 0.3) / 0.4, 0, 1), np.float64)[:, :, np.newaxis]


def png(picture: Picture) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()
