import itertools
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embeddings.container import PNG
from embeddings.decode import decode
from embeddings.errors import CODES, UnusableImage
from tests.drawings import paper, png, sign, signature

SMALL = signature()[60:180:2, 60:440:2].copy()
UPRIGHT = np.full((60, 90), 240, np.uint8)
UPRIGHT[8:14, 10:70] = 20
UPRIGHT[14:40, 10:16] = 20


def encode(grey: NDArray[np.generic], extension: str, *options: int) -> bytes:
    return cv2.imencode(extension, grey, options)[1].tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def make_png(width: int, height: int, rows: bytes, *extra: bytes, colour: int = 0, depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def make_tiff(grey: NDArray[np.uint8], orientation: int = 1, pages: int = 1) -> bytes:
    height, width = grey.shape
    start = 8 + grey.size
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(274, 3, orientation), (277, 3, 1), (278, 4, height), (279, 4, grey.size)]
    directory = b""
    for page in range(pages):
        following = start + (page + 1) * (2 + 12 * len(tags) + 4) if page + 1 < pages else 0
        entries = (struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in tags)
        directory += struct.pack("<H", len(tags)) + b"".join(entries) + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", start) + grey.tobytes() + directory


def oriented(grey: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """What a camera stores so that `orientation` brings back `grey`."""
    back = {
        1: grey,
        2: grey[:, ::-1],
        3: grey[::-1, ::-1],
        4: grey[::-1],
        5: grey.T,
        6: np.rot90(grey),
        7: grey[::-1, ::-1].T,
        8: np.rot90(grey, -1),
    }
    return np.ascontiguousarray(back[orientation])


def code_of(image: bytes) -> str:
    with pytest.raises(UnusableImage) as refusal:
        decode(image)
    return refusal.value.code


@pytest.mark.parametrize("extension", [".png", ".tiff", ".bmp"])
def test_every_depth_and_colour_decodes_to_the_same_grey(extension: str) -> None:
    colour = cv2.cvtColor(SMALL, cv2.COLOR_GRAY2BGR)
    opaque = cv2.cvtColor(SMALL, cv2.COLOR_GRAY2BGRA)
    variants = [SMALL, colour, opaque] + ([SMALL.astype(np.uint16) * 257] if extension != ".bmp" else [])
    for variant in variants:
        np.testing.assert_array_equal(decode(encode(variant, extension)), SMALL)


@given(ink=st.integers(0, 150), grey=st.integers(205, 255), seed=st.integers(0, 20))
@settings(max_examples=20)
def test_depth_colour_and_inversion_do_not_change_what_is_seen(ink: int, grey: int, seed: int) -> None:
    drawn = sign(np.full((120, 400), grey, np.uint8), (200, 60), seed, ink=ink)
    for variant in (drawn, cv2.cvtColor(drawn, cv2.COLOR_GRAY2BGR), drawn.astype(np.uint16) * 257, 255 - drawn):
        np.testing.assert_array_equal(decode(png(variant)), drawn)


def test_a_jpeg_decodes_to_nearly_the_same_grey() -> None:
    assert np.abs(decode(encode(SMALL, ".jpg")).astype(int) - SMALL).mean() < 3


def test_a_palette_is_looked_up() -> None:
    rows = b"".join(b"\0" + bytes(row) for row in (UPRIGHT < 128).astype(np.uint8))
    image = make_png(90, 60, rows, chunk(b"PLTE", bytes([250, 250, 250, 10, 10, 10])), colour=3)
    np.testing.assert_array_equal(decode(image), np.where(UPRIGHT < 128, 10, 250))


def test_one_bit_a_pixel_is_enough() -> None:
    image = png(np.where(UPRIGHT < 128, 0, 255).astype(np.uint8), cv2.IMWRITE_PNG_BILEVEL, 1)
    np.testing.assert_array_equal(decode(image), np.where(UPRIGHT < 128, 0, 255))


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_transparent_paper_is_dark_on_white(ink: int) -> None:
    drawn = np.full((60, 90, 4), ink, np.uint8)
    drawn[..., 3] = np.where(UPRIGHT < 128, 255, 0)
    np.testing.assert_array_equal(decode(png(drawn)), np.where(UPRIGHT < 128, 0, 255))


@pytest.mark.parametrize("shade", [1.0, 0.4])
def test_light_ink_on_dark_paper_is_inverted_and_a_shadow_is_not(shade: float) -> None:
    light = np.linspace(shade, 1.0, 500)
    shadowed = (signature() * light).astype(np.uint8)
    np.testing.assert_array_equal(decode(png(shadowed)), shadowed)
    np.testing.assert_array_equal(decode(png(255 - shadowed)), shadowed)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_in_every_format(orientation: int) -> None:
    stored = oriented(UPRIGHT, orientation)
    height, width = stored.shape
    rows = b"".join(b"\0" + bytes(row) for row in stored)
    np.testing.assert_array_equal(decode(make_png(width, height, rows, chunk(b"eXIf", exif(orientation)))), UPRIGHT)
    np.testing.assert_array_equal(decode(make_tiff(stored, orientation)), UPRIGHT)
    plain = encode(stored, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100)
    body = b"Exif\0\0" + exif(orientation)
    jpeg = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    assert np.abs(decode(jpeg).astype(int) - UPRIGHT).max() < 16


def test_damaged_metadata_is_ignored() -> None:
    rows = b"".join(b"\0" + bytes(row) for row in UPRIGHT)
    for damaged in (
        chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        chunk(b"iCCP", b"x\0\0junk"),
        chunk(b"zTXt", b"\0" * 9),
    ):
        np.testing.assert_array_equal(decode(make_png(90, 60, rows, damaged)), UPRIGHT)


@pytest.mark.parametrize("extension", [".png", ".jpg", ".tiff", ".bmp"])
def test_every_truncation_is_refused(extension: str) -> None:
    image = encode(SMALL, extension)
    places = itertools.chain(range(1, 200), range(200, len(image) - 1, 37), [len(image) - 1])
    assert {code_of(image[:n]) for n in places} == {"image_truncated"}


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"", "image_empty"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image_format"),
        (b"%PDF-1.7\n", "image_format"),
        (b"a text that is named .png", "image_format"),
        (b"GIF89a" + bytes(40), "image_format"),
        (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(40), "image_format"),
        (make_png(1, 1, b"\0\0"), "image_too_small"),
        (make_png(30_000, 30_000, bytes(1000)), "image_too_large"),
        (make_png(20_001, 20, bytes(1000)), "image_too_large"),
        (make_png(8_000, 5_001, bytes(1000)), "image_too_large"),
        (make_png(100, 100, bytes(50_000_000)), "image_format"),  # inflates to more than it declares
        (make_png(8_000, 5_000, bytes(1000)), "image_truncated"),  # and to less
        (make_png(90, 60, b"\x09" * 91 * 60), "image_format"),  # no such filter
        (make_png(90, 60, bytes(91 * 60), chunk(b"acTL", struct.pack(">II", 2, 0))), "image_animated"),
        (make_tiff(UPRIGHT, pages=2), "image_animated"),
        (b"BM" + struct.pack("<IIIIiiHHI", 60, 0, 54, 40, 30_000, -30_000, 1, 24, 0) + bytes(24), "image_too_large"),
        (b"BM" + struct.pack("<IIIIiiHHI", 60, 0, 54, 40, 90, 60, 1, 8, 1) + bytes(9000), "image_format"),
    ],
)
def test_what_is_not_one_whole_reasonable_picture_is_refused(image: bytes, code: str) -> None:
    assert code_of(image) == code


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    image = bytearray(png(SMALL))
    image[len(image) // 2] ^= 1
    assert code_of(bytes(image)) == "image_truncated"


WHOLE = [encode(SMALL, extension) for extension in (".png", ".jpg", ".tiff", ".bmp")] + [make_tiff(UPRIGHT)]


@given(
    st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=6)), max_size=4), st.data()
)
@settings(max_examples=300)
def test_no_bytes_do_worse_than_a_refusal(image: bytes, edits: list[tuple[int, bytes]], data: st.DataObject) -> None:
    damaged = bytearray(image)
    for place, replacement in edits:
        at = place % (len(damaged) + 1)
        damaged[at : at + data.draw(st.sampled_from([0, len(replacement)]))] = replacement
    try:
        grey = decode(bytes(damaged))
    except UnusableImage:
        return
    assert grey.dtype == np.uint8
    assert grey.ndim == 2


@given(st.sampled_from([PNG, b"\xff\xd8\xff\xe0", b"II*\0", b"MM\0*", b"BM", b""]), st.binary(max_size=300))
def test_any_bytes_behind_a_known_magic_are_refused(magic: bytes, rest: bytes) -> None:
    assert code_of(magic + rest) in CODES


def test_a_compressed_tiff_is_read() -> None:
    for compression in (1, 5, 8, 32773):  # none, LZW, deflate, pack bits
        image = encode(SMALL, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, compression)
        np.testing.assert_array_equal(decode(image), SMALL)


def test_damage_makes_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    for extension in (".png", ".tiff", ".bmp"):
        image = encode(paper(), extension)
        for at in range(8, len(image), len(image) // 60):
            try:
                decode(image[:at] + b"\xff\x00\xfe" + image[at + 3 :])
            except UnusableImage:
                continue
    assert capfd.readouterr() == ("", "")
