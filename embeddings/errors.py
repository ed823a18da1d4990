"""Why an image cannot be used, in words that say what to do about it."""

from __future__ import annotations

CODES: dict[str, str] = {
    "image_empty": "The image has no bytes. Send the file itself.",
    "image_truncated": "The image ends early or is damaged. Send the whole file again.",
    "image_format": "The image is not a readable PNG, JPEG, TIFF or BMP. Convert it to one of these.",
    "image_too_large": "The image is over 40 megapixels or 20,000 pixels on a side. Scan it at 300 dpi.",
    "image_too_small": "The image has too few pixels to hold a signature. Scan it at 200 dpi or more.",
    "image_animated": "The image holds several pages or frames. Send one of them.",
    "box_outside": "The box does not lie within the image. It is left, top, width and height in pixels.",
    "no_ink": "There is no ink on the paper. Send an image that holds a signature.",
    "too_faint": "The ink can hardly be told from the paper. Scan it again with more contrast.",
    "too_small": "The signature has too few pixels. Scan it at 200 dpi or more.",
    "only_lines": "There are only ruled or border lines. Send an image that holds a signature.",
    "print_not_ink": "This is printed text, not a signature. Send the signature alone.",
    "not_on_paper": "This is not dark ink on plain paper. Scan the signature on plain paper.",
    "clipped": "The ink runs off the border of the image. Leave a margin around the signature.",
    "not_a_cheque": "Nothing on the image looks like a cheque. Send its front, or a signature alone as one.",
    "two_cheques": "There seem to be two cheques. Send one at a time.",
    "two_signatures": "There seem to be two signatures. Send one at a time.",
}


class UnusableImage(ValueError):
    """Image `index` of a request cannot be embedded; `code` is a key of `CODES`."""

    def __init__(self, index: int, code: str) -> None:
        super().__init__(f"image {index}: {CODES[code]}")
        self.index = index
        self.code = code

    def __reduce__(self) -> tuple[type[UnusableImage], tuple[int, str]]:
        return type(self), (self.index, self.code)
