"""Pages with several signatures on them, in places that are known."""

from pathlib import Path

import cv2
import numpy as np

Box = tuple[int, int, int, int]
SAMPLES = Path(__file__).parents[2] / "samples"
PAPER = 250


def sample(person: str, name: str) -> bytes:
    """A signature of one of the sample people: `genuine_1` to `genuine_4`, `forged_1`, `forged_2`."""
    return (SAMPLES / person / f"{name}.png").read_bytes()


def page(*signatures: bytes) -> tuple[bytes, list[Box]]:
    """PNG of a page with these beside each other, and the box of each."""
    drawn = [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE) for image in signatures]
    paper = np.full((800, 700 * max(len(drawn), 2)), PAPER, np.uint8)
    boxes: list[Box] = []
    for place, grey in enumerate(drawn):
        (height, width), left, top = grey.shape, 100 + 700 * place, 400
        paper[top : top + height, left : left + width] = np.minimum(grey, PAPER)
        boxes.append((left, top, width, height))
    return cv2.imencode(".png", paper)[1].tobytes(), boxes
