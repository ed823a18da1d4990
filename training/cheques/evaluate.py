"""How well signatures are found on real cheques, painted out, composed, captured otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from time import process_time

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from embeddings.cheque import MODEL, Region, find_in
from embeddings.errors import UnusableImage
from training.cheques import card, drawing, ink, real
from training.cheques.capture import box
from training.cheques.conditions import CONDITIONS
from training.cheques.ink import Bank, transparent
from training.cheques.measures import Figures
from training.cheques.real import Labelled

console = Console()
UNSEEN = 3_000_000  # seeds of cheques that nothing ever learned from or was chosen on
Failure = tuple[Labelled, list[Region], str]


def measure(name: str, cheques: Iterable[Labelled], *, by_ink: bool = False) -> tuple[Figures, list[Failure]]:
    """Finds signatures on each cheque; `by_ink` where the labels are boxes of the ink alone."""
    figures, failures = Figures(name), []
    for cheque in cheques:
        try:
            regions, refused = find_in(cheque.image), ""
        except UnusableImage as problem:
            regions, refused = [], problem.code
        if not figures.count(cheque.boxes, [one.ink_box if by_ink else one.box for one in regions], refused):
            failures.append((cheque, regions, refused))
    return figures, failures


def sheet(failures: list[Failure], out: Path, width: int = 640, most: int = 60) -> None:
    """A picture of failures: wanted boxes red, found ones blue with their confidence."""
    cells = []
    for cheque, regions, refused in failures[:most]:
        picture = cv2.cvtColor(cheque.image, cv2.COLOR_GRAY2BGR)
        thick = max(1, picture.shape[1] // 500)
        for x, y, w, h in cheque.boxes:
            cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), (0, 0, 255), thick)
        for region in regions:
            for (x, y, w, h), colour in ((region.box, (255, 0, 0)), (region.ink_box, (0, 160, 0))):
                cv2.rectangle(picture, (x, y), (x + w, y + h), colour, thick)
            cv2.putText(
                picture, f"{region.confidence:.2f}", region.box[:2], 0, picture.shape[1] / 1000, (255, 0, 0), thick
            )
        cv2.putText(
            picture,
            f"{cheque.name} {refused}"[-40:],
            (5, picture.shape[0] - 8),
            0,
            picture.shape[1] / 1200,
            (0, 120, 0),
            thick,
        )
        cells.append(cv2.resize(picture, (width, width // 2), interpolation=cv2.INTER_AREA))
    if cells:
        cells += [np.full_like(cells[0], 255)] * (-len(cells) % 3)
        cv2.imwrite(str(out), np.vstack([np.hstack(cells[at : at + 3]) for at in range(0, len(cells), 3)]))


def compositions(cheques: list[Labelled], count: int, data: Path) -> list[Labelled]:
    """Real cheques signed by `count` writers of the Dutch set, whom nothing that ships was ever shown."""
    writers = sorted((data / "sigcomp2011-dutch" / "genuine").iterdir())
    rng = np.random.default_rng([count, 11])
    made = []
    for cheque in cheques:
        paths = [sorted(writers[at].glob("*.png")) for at in rng.choice(len(writers), count, replace=False)]
        scans = [cv2.imread(str(some[rng.integers(len(some))]), cv2.IMREAD_GRAYSCALE) for some in paths]
        blank = Labelled(cheque.name, real.painted_out(cheque).image, cheque.boxes)
        made.append(real.composed(blank, scans, rng))
    return made


def drawn(count: int, data: Path, size: int = 88) -> list[Labelled]:
    """Drawn cheques with `count` signatures, all by writers of the Dutch set; labels are fields."""
    paths = sorted((data / "sigcomp2011-dutch" / "genuine").glob("*/*.png"))[::9]
    signatures = [transparent(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in paths]
    bank = Bank(signatures, ink.drawn(people=1, hands=30, first=UNSEEN).scripts)
    made: list[Labelled] = []
    seed = UNSEEN
    while len(made) < size:
        one = drawing.draw(np.random.default_rng([seed, 12]), bank, signed=True)
        seed += 1
        if len(one.fields) == count:
            made.append(Labelled(str(seed), one.grey, [box(field) for field in one.fields]))
    return made


def cost(cheques: list[Labelled]) -> dict[str, float]:
    """CPU time of finding, p50 over the cheques."""
    took = []
    for cheque in cheques:
        started = process_time()
        find_in(cheque.image)
        took.append(1e3 * (process_time() - started))
    height, width = cheques[0].image.shape
    return {"find_ms": float(np.median(took)), "width": width, "height": height, "pages": len(cheques)}


def sets(data: Path, *, quick: bool) -> list[tuple[str, Callable[[], list[Labelled]], bool]]:
    """Name of each set, how it is made, and whether its labels are boxes of the ink alone."""
    cheques = real.read(data / "cheques" / "idrbt")
    made: list[tuple[str, Callable[[], list[Labelled]], bool]] = [
        ("real", lambda: cheques, False),
        ("real, painted out", lambda: [real.painted_out(one) for one in cheques], False),
        ("real, signed by two unseen writers", lambda: compositions(cheques, 2, data), True),
        ("real, signed by three unseen writers", lambda: compositions(cheques, 3, data), True),
        ("drawn, signed by one unseen writer", lambda: drawn(1, data), False),
        ("drawn, signed by two unseen writers", lambda: drawn(2, data), False),
        ("drawn, signed by three unseen writers", lambda: drawn(3, data), False),
        ("composited", lambda: real.read(data / "cheques" / "composited"), False),
    ]
    if quick:
        return made
    return made + [
        (f"real, {name}", lambda change=change: [change(one) for one in cheques], False)
        for name, change in CONDITIONS.items()
    ]


def evaluate(data: Path, out: Path | None, *, quick: bool = False, publish: bool = False) -> list[Figures]:
    """All figures, printed as they come; pictures of failures into `out`; with `publish` the card of the model."""
    everything = []
    for name, make, by_ink in sets(data, quick=quick):
        figures, failures = measure(name, track(make(), name, transient=True), by_ink=by_ink)
        console.print(str(figures), highlight=False, soft_wrap=True)
        everything.append(figures)
        if out is not None and failures:
            out.mkdir(parents=True, exist_ok=True)
            sheet(failures, out / f"{name.replace(' ', '-').replace(',', '')}.png")
    took = cost(real.read(data / "cheques" / "idrbt")[:40])
    console.print(f"finding takes {took['find_ms']:.1f} ms of CPU time")
    if publish:
        card.write(MODEL, [asdict(figures) for figures in everything], took)
    return everything
