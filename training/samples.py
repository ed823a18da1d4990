"""Draw the samples of the demonstration: made-up people whom no tower was ever trained on, and cheques they signed.

python -m training.samples --out samples
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from training.cheques import drawing
from training.cheques.ink import Bank, script, transparent
from training.synthetic import Writer, writer

# Far from the seeds that training draws (0 upwards) and that export checks with (10,000 upwards), and not
# selected in any way.
PEOPLE = {
    "Ada Moreau": 900_001,
    "Bruno Castel": 900_002,
    "Clara Winter": 900_003,
    "Daniel Frost": 900_004,
    "Elena Petrov": 900_005,
    "Farah Karimi": 900_006,
    "Gustav Lindt": 900_007,
    "Hana Sato": 900_008,
}
GENUINE, FORGED = 4, 2
FORGERS_ERROR = 4.0  # about as far off as CEDAR's volunteers; those that training draws are better


def people() -> dict[str, Writer]:
    """The sample customers by folder name, `ada-moreau` and so on."""
    return {name.lower().replace(" ", "-"): writer(seed, name) for name, seed in PEOPLE.items()}


SIGNERS = ("elena-petrov", "bruno-castel")
NUMBER = 6  # of the genuine signatures: none that is enrolled
HANDS = range(800_000, 800_003)  # fill in the other fields
CHEQUES = {"cheque-of-one": 12, "cheque-of-two": 45}  # seeds: one that the first signed alone, one that both did


def draw_cheque(seed: int) -> bytes:
    """JPEG of a cheque that `SIGNERS` signed, which of them the seed decides."""
    known = people()
    signatures = [transparent(_grey(known[name].genuine(NUMBER))) for name in SIGNERS]
    bank = Bank(signatures, [script(hand) for hand in HANDS])
    cheque = drawing.draw(np.random.default_rng([seed, 99]), bank, signed=True)
    return cv2.imencode(".jpg", cheque.grey, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def _grey(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)


def write(out: Path) -> list[Path]:
    """Writes `NAME/genuine_1.png` ..., `NAME/forged_1.png` ... and the cheques into `out`; answers the files."""
    written = []
    out.mkdir(parents=True, exist_ok=True)
    for name, seed in CHEQUES.items():
        written.append(out / f"{name}.jpg")
        written[-1].write_bytes(draw_cheque(seed))
    for folder, person in people().items():
        (out / folder).mkdir(parents=True, exist_ok=True)
        pictures = {f"genuine_{n + 1}": person.genuine(n) for n in range(GENUINE)}
        pictures |= {f"forged_{n + 1}": person.forged(n, FORGERS_ERROR) for n in range(FORGED)}
        for name, picture in pictures.items():
            path = out / folder / f"{name}.png"
            path.write_bytes(picture)
            written.append(path)
    return written


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.samples", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("samples"))
    written = write(parser.parse_args(arguments).out)
    Console().print(f"{len(written)} pictures, {sum(p.stat().st_size for p in written) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
