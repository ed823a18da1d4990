"""The card of the model that finds signatures on cheques, from `cheque.json` and what `evaluate` measured."""

from __future__ import annotations

import json
from pathlib import Path

from training.cheques.measures import share

WHAT = """Finds the signatures on an image of a whole cheque: a grey picture of 256 x 512 pixels in, a map of 32 x
64 cells out. Each cell says how surely it is the middle of a signature or of a cheque, how far the signature's ink,
its field and the cheque reach, and which way is up. A field is the ink with the caption printed for it and a small
margin. A cheque that takes up little of the image, or lies on its side, is looked at a second time, nearer."""

SOURCES = """Cheques that this project draws: layouts, security paper, print, stamps, handwriting and captures, all
made up, each from a seed. They are signed by made-up writers, by CEDAR's (freely downloadable, no stated terms) and
by those of the cross-media Chinese set (MIT); weights inherit whatever question these terms leave open. No cheque
that a bank issued trained it or chose a threshold, a layout or a constant of it."""

LIMITS = """* It says where somebody signed, never who did, and not whether anything on the cheque is true.
* The real cheques that it was measured on come from a few Indian banks, are nearly black and white, and show few
  people's signatures many times: true intervals are wider. On cheques of other countries, with colour and security
  paper, it was measured only on drawn ones and on small composited ones.
* The back of a cheque has no region by intent: an endorsement is no drawer's signature. A mirrored image is not
  noticed.
* Do not let it alone decide that nobody signed: refer such a cheque to a person."""


def write(folder: Path, figures: list[dict], cost: dict[str, float]) -> None:
    """`evaluation.json` and `card.md` into the model's folder."""
    (folder / "evaluation.json").write_text(json.dumps({"sets": figures, "cost": cost}, indent=1) + "\n", "utf-8")
    manifest = json.loads((folder / "cheque.json").read_text("utf-8"))
    (folder / "card.md").write_text(card(manifest, figures, cost), "utf-8")


def card(manifest: dict, figures: list[dict], cost: dict[str, float]) -> str:
    """Markdown for people."""
    parts = [
        f"# Model card: signatures on cheques, {manifest['version']}",
        WHAT,
        f"## Trained on\n\n{SOURCES}\n\n{_training(manifest)}",
        f"## Measured\n\n{_measured(figures)}",
        f"## On drawn cheques of people it never saw\n\n{_drawn(manifest)}",
        f"## Cost\n\n{_cost(cost)}",
        f"## Limits\n\n{LIMITS}",
    ]
    return "\n\n".join(parts) + "\n"


def _training(manifest: dict) -> str:
    """Each run went on from the one before; `training` holds the last, and `start` of each the one before."""
    runs, run = [], manifest["training"]
    while run:
        runs.insert(0, run)
        run = run.get("start")
    rows = ["| scenes | from number | epochs | seed | loss, first and last epoch | on scenes never learned from |"]
    rows += ["|---|---|---|---|---|---|"]
    for recipe, history in ((run["recipe"], run["history"]) for run in runs):
        rows.append(
            f"| {recipe['scenes']} | {recipe['first']} | {recipe['epochs']} | {recipe['seed']} | "
            f"{history[0]['loss']:.2f}, {history[-1]['loss']:.2f} | {history[-1]['held']:.2f} |"
        )
    said = "Each run went on from the one before. Losses compare only where EXPERIMENTS.md says that nothing changed."
    return said + "\n\n" + "\n".join(rows)


def _measured(figures: list[dict]) -> str:
    rows = ["| set | signatures found | false regions a cheque | cheques without any region |", "|---|---|---|---|"]
    for one in figures:
        found = share(one["found"], one["wanted"]) if one["wanted"] else "none to find"
        false = one["false"] / one["cheques"]
        rows.append(f"| {one['name']} | {found} | {false:.3f} | {share(one['silent'], one['cheques'])} |")
    return (
        "A signature is found where a region overlaps its box by half or more (intersection over union): the box "
        "that a person drew, or the box of the ink where signatures were composed. Brackets: 95 % after Wilson.\n\n"
    ) + "\n".join(rows)


def _drawn(manifest: dict) -> str:
    drawn, limits = manifest["drawn"], manifest["thresholds"]
    return (
        f"Thresholds were chosen on these {drawn['scenes']} scenes: {limits['signature']} for a signature, "
        f"{limits['cheque']} for a cheque, {limits['second_cheque']} for a second one. With them "
        f"{share(drawn['found'], drawn['signatures'])} of the signatures are found and {drawn['false']} regions are "
        f"false; {drawn['cheques_refused']} of {drawn['of_cheques']} cheques are refused as none, "
        f"{drawn['others_passed']} of {drawn['of_others']} other pages pass; {drawn['pairs_noticed']} of "
        f"{drawn['of_pairs']} pairs are noticed, {drawn['single_taken_for_two']} single cheques are taken for two."
    )


def _cost(cost: dict[str, float]) -> str:
    return (
        f"{cost['find_ms']:.1f} ms of CPU time to find signatures on a decoded page of {cost['width']} x "
        f"{cost['height']} pixels, p50 of {cost['pages']}, without lifting."
    )
