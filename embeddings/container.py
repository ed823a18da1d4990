"""The headers of image files, read before a decoder allocates a pixel or is shown a byte it would trip over.

Each reader takes the whole file, refuses what a decoder would half-decode, and returns what a decoder may see:
the same picture without its metadata, which holds nothing that we use but the orientation.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

from embeddings.errors import UnusableImage

MOST_PIXELS = 40_000_000
LONGEST_SIDE = 20_000
SHORTEST_SIDE = 16
PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112  # the tag of EXIF and of TIFF


@dataclass(frozen=True)
class Container:
    """Bytes for the decoder, and the EXIF orientation (1..8) that it will not apply itself."""

    image: bytes
    orientation: int = 1


def open_container(image: bytes) -> Container:
    """Raises `UnusableImage`: empty, truncated, unsupported, too large, too small or animated."""
    if not image:
        raise UnusableImage(0, "image_empty")
    for magic, reader in READERS.items():
        if image.startswith(magic):
            try:
                return reader(image)
            except (struct.error, IndexError):
                raise UnusableImage(0, "image_truncated") from None
            except (ValueError, zlib.error) as error:
                raise error if isinstance(error, UnusableImage) else UnusableImage(0, "image_format") from None
        if len(image) < len(magic) and magic.startswith(image):
            raise UnusableImage(0, "image_truncated")
    raise UnusableImage(0, "image_format")


def check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise UnusableImage(0, "image_too_large")
    if min(width, height) < SHORTEST_SIDE:
        raise UnusableImage(0, "image_too_small")


def require(condition: bool, code: str = "image_format") -> None:
    if not condition:
        raise UnusableImage(0, code)


# PNG (ISO/IEC 15948)


def read_png(image: bytes) -> Container:
    kept, data, orientation = [PNG], [], 1
    for kind, chunk in png_chunks(image):
        body = chunk[8:-4]
        require(kind != b"acTL", "image_animated")
        if kind == b"IHDR":
            header = unpack_from(">IIBBBBB", body)
            check_size(header[0], header[1])
        elif kind == b"eXIf":
            orientation = exif_orientation(body)
        elif kind == b"IDAT":
            data.append(body)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(chunk)
    check_png_data(b"".join(data), header)
    return Container(b"".join(kept), orientation)


def png_chunks(image: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk up to the end mark: its kind, and all of it; checksums compared."""
    at, kind, view = len(PNG), b"", memoryview(image)
    while kind != b"IEND":
        length, kind = unpack_from(">I4s", image, at)
        require(at > len(PNG) or (kind == b"IHDR" and length == 13))
        require(at + 12 + length <= len(image), "image_truncated")
        end = at + 8 + length
        require(zlib.crc32(view[at + 4 : end]) == unpack_from(">I", image, end)[0], "image_truncated")
        yield kind, image[at : end + 4]
        at += 12 + length


def check_png_data(data: bytes, header: tuple[int, ...]) -> None:
    """Inflate once, never beyond the declared size: the decoder reports damage on standard error, or pads it."""
    width, height, depth, colour, _, _, interlaced = header
    require(colour in (0, 2, 3, 4, 6) and depth in (1, 2, 4, 8, 16) and interlaced in (0, 1))
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = png_passes(width, height) if interlaced else [(width, height)]
    sizes = [(math.ceil(w * bits / 8) + 1, h) for w, h in passes if w and h]
    inflater = zlib.decompressobj()
    raw = inflater.decompress(data, sum(row * rows for row, rows in sizes) + 1)
    require(len(raw) >= sum(row * rows for row, rows in sizes), "image_truncated")
    require(len(raw) == sum(row * rows for row, rows in sizes))
    require(inflater.eof, "image_truncated")
    start = 0
    for row, rows in sizes:
        require(max(raw[start : start + row * rows : row]) <= 4)  # the filter of each row
        start += row * rows


def png_passes(width: int, height: int) -> list[tuple[int, int]]:
    """Width and height of the seven passes of Adam7."""
    grid = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    return [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in grid]


# JPEG (ITU-T T.81)

FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
APPLICATION = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # all but JFIF and Adobe, which say what the colours mean


def read_jpeg(image: bytes) -> Container:
    kept, orientation, seen = [b"\xff\xd8"], 1, False
    at = 2
    while True:
        require(image[at] == 0xFF, "image_truncated")
        marker = image[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        require(0xC0 <= marker <= 0xFE and not 0xD0 <= marker <= 0xD9)
        length = unpack_from(">H", image, at + 2)[0]
        require(length >= 2)
        body = image[at + 4 : at + 2 + length]
        require(len(body) == length - 2, "image_truncated")
        if marker in FRAMES:
            require(not seen)
            seen = True
            height, width = unpack_from(">HH", body, 1)
            check_size(width, height)
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = exif_orientation(body[6:])
        if marker == 0xDA:
            break
        if marker not in APPLICATION:
            kept.append(image[at : at + 2 + length])
        at += 2 + length
    require(seen)
    end = image.rfind(b"\xff\xd9", at)
    require(end > 0, "image_truncated")
    return Container(b"".join([*kept, image[at : end + 2]]), orientation)


# TIFF 6.0, and the same directory inside EXIF

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
INTEGERS = {1: "B", 3: "H", 4: "I"}
MOST_TAGS = 200


def read_tiff(image: bytes) -> Container:
    order = "<" if image[:2] == b"II" else ">"
    at = unpack_from(order + "I", image, 4)[0]
    pages, seen = [], set[int]()
    while at and len(seen) < 16:
        require(at not in seen)
        seen.add(at)
        tags, at = tiff_directory(image, order, at)
        if not first(tags, 254, 0) & 1:  # a reduced copy is no page
            pages.append(tags)
    require(len(pages) <= 1 and not at, "image_animated")
    require(len(pages) == 1)
    check_tiff_page(image, pages[0])
    return Container(image)  # its decoder applies the orientation itself


def check_tiff_page(image: bytes, tags: dict[int, tuple[int, ...]]) -> None:
    width, height = first(tags, 256, 0), first(tags, 257, 0)
    check_size(width, height)
    samples = first(tags, 277, 1)
    require(1 <= samples <= 4 and {*tags.get(258, (1,))} <= {1, 2, 4, 8, 16} and first(tags, 339, 1) == 1)
    tile = (first(tags, 322, 0), first(tags, 323, 0))
    require(max(tile) <= LONGEST_SIDE and tile[0] * tile[1] <= MOST_PIXELS)
    places = (324, 325) if 324 in tags else (273, 279)  # of tiles, of strips
    offsets, counts = (tags.get(tag, ()) for tag in places)
    require(0 < len(offsets) == len(counts))
    inside = all(offset + count <= len(image) for offset, count in zip(offsets, counts, strict=True))
    require(inside, "image_truncated")
    if first(tags, 259, 1) == 1 and 324 not in tags:
        row = math.ceil(width * samples * max(tags.get(258, (1,))) / 8)
        require(sum(counts) >= row * height, "image_truncated")


def first(tags: dict[int, tuple[int, ...]], tag: int, default: int) -> int:
    values = tags.get(tag)
    return values[0] if values else default


def tiff_directory(image: bytes, order: str, at: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """Integer tags of the directory at `at`, and where the next one is (0: nowhere)."""
    count = unpack_from(order + "H", image, at)[0]
    require(count <= MOST_TAGS)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = unpack_from(order + "HHI", image, entry)
        size = SIZES.get(kind, 1) * number
        value = entry + 8 if size <= 4 else unpack_from(order + "I", image, entry + 8)[0]
        require(value + size <= len(image), "image_truncated")
        if kind in INTEGERS:
            tags[tag] = unpack_from(f"{order}{number}{INTEGERS[kind]}", image, value)
    return tags, unpack_from(order + "I", image, at + 2 + 12 * count)[0]


def exif_orientation(exif: bytes) -> int:
    """1 (upright) where it is missing or damaged: metadata alone never makes an image unusable."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        tags, _ = tiff_directory(exif, order, unpack_from(order + "I", exif, 4)[0])
    except (struct.error, UnusableImage):
        return 1
    orientation = first(tags, ORIENTATION, 1)
    return orientation if 1 <= orientation <= 8 else 1


# BMP

UNCOMPRESSED = (0, 3, 6)  # plain, and with bit fields; run lengths are not worth their decoder


def read_bmp(image: bytes) -> Container:
    start, header = unpack_from("<II", image, 10)
    if header == 12:
        width, height, _, bits = unpack_from("<HHHH", image, 18)
        compression = 0
    else:
        require(40 <= header <= 124)
        width, height, _, bits, compression = unpack_from("<iiHHI", image, 18)
    check_size(width, abs(height))
    require(bits in (1, 4, 8, 16, 24, 32) and compression in UNCOMPRESSED)
    require(start >= 14 + header)
    require(start + (width * bits + 31) // 32 * 4 * abs(height) <= len(image), "image_truncated")
    return Container(image)


READERS = {PNG: read_png, b"\xff\xd8\xff": read_jpeg, b"II*\0": read_tiff, b"MM\0*": read_tiff, b"BM": read_bmp}
