"""Drawn test images: signatures of invented writers, and files that no signature can be read from."""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 600, 240


@cache
def signature(writer: object, variant: int = 0) -> bytes:
    """PNG of one stroke of loops. Writers differ in every loop, variants of one writer in how far each loop swings:
    enough that none is a copy of another."""
    drawn = _draw(writer, variant)
    return png(drawn)


def on_a_page(image: bytes, left: int, top: int) -> tuple[bytes, tuple[int, int, int, int]]:
    """PNG of a page with other ink on it beside the signature, and the box of the signature."""
    drawn = Image.open(io.BytesIO(image))
    page = Image.new("L", (1400, 900), 255)
    page.paste(drawn, (left, top))
    ImageDraw.Draw(page).rectangle((100, 100, 900, 260), outline=0, width=5)
    return png(page), (left, top, drawn.width, drawn.height)


def png(image: Image.Image) -> bytes:
    return _saved(image, "PNG")


def jpeg(image: Image.Image) -> bytes:
    return _saved(image, "JPEG", quality=90)


@cache
def blank_page() -> bytes:
    return png(Image.new("L", (WIDTH, HEIGHT), 255))


def one_pixel() -> bytes:
    return png(Image.new("L", (1, 1), 0))


@cache
def photo() -> bytes:
    """Smooth colours and texture everywhere, no paper anywhere."""
    noise = np.random.default_rng(5)
    coarse = Image.fromarray(noise.integers(0, 255, (12, 18, 3), np.uint8)).resize(
        (720, 480), Image.Resampling.BICUBIC
    )
    grain = noise.normal(0, 12, (480, 720, 3))
    return jpeg(Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)))


@cache
def truncated_png() -> bytes:
    whole = signature("truncated")
    return whole[: len(whole) // 2]


@cache
def truncated_jpeg() -> bytes:
    whole = jpeg(_draw("truncated", 0))
    return whole[: len(whole) // 2]


@cache
def animated_png() -> bytes:
    frames = [_draw("animated", variant) for variant in range(2)]
    return _saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=100)


@cache
def animated_gif() -> bytes:
    frames = [_draw("animated", variant) for variant in range(2)]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


@cache
def tiff_of_two_pages() -> bytes:
    pages = [_draw("pages", variant) for variant in range(2)]
    return _saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])


def svg() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg" width="600" height="240"><path d="M9 9 L590 230"/></svg>'


@cache
def pdf() -> bytes:
    return _saved(_draw("pdf", 0), "PDF")


def text() -> bytes:
    return b"A letter to the bank, not an image.\n" * 20


@cache
def huge_png(side: int) -> bytes:
    """A white square of one bit a pixel: some kilobytes of file, `side` squared pixels of image."""
    row = b"\0" + b"\xff" * ((side + 7) // 8)
    packer = zlib.compressobj(1)
    pixels = b"".join([packer.compress(row * 100) for _ in range(side // 100)]) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _draw(writer: object, variant: int) -> Image.Image:
    hand = np.random.default_rng(zlib.crc32(repr(writer).encode()))
    tremble = np.random.default_rng([zlib.crc32(repr(writer).encode()), variant])
    time = np.linspace(0, 1, 400)
    x, y = 0.9 * time, 0 * time
    for _ in range(5):
        turns, phase = hand.uniform(2, 9), hand.uniform(0, 2 * np.pi)
        swing = hand.uniform(0.2, 1) * (1 + 0.3 * tremble.normal())
        x = x + 0.08 * swing * np.cos(2 * np.pi * turns * time + phase)
        y = y + swing * np.sin(2 * np.pi * turns * time + phase + hand.uniform(0, 1)) * (
            0.4 + np.abs(np.sin(3 * time))
        )
    points = np.column_stack([_spread(x, 60, WIDTH - 60), _spread(y, 50, HEIGHT - 50)])
    image = Image.new("L", (WIDTH, HEIGHT), 255)
    ImageDraw.Draw(image).line([tuple(point) for point in points.tolist()], fill=25, width=4, joint="curve")
    return image


def _spread(values: np.ndarray, least: float, most: float) -> np.ndarray:
    return least + (values - values.min()) / np.ptp(values) * (most - least)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
