"""The model card: what a bundle was trained on, how well it does, and what it must not be used for."""

from __future__ import annotations

RATES = ("skilled_far", "random_far", "frr")

SOURCES = {
    "cedar": "CEDAR (Kalera, Srihari and Xu, 2004; freely downloadable, no stated terms)",
    "cross-media": "cross-media Chinese signatures (MIT)",
    "drawn": "made-up writers drawn by this project (no one's handwriting)",
}


WHAT = (
    "Embeds one image of a handwritten signature; the L1 distance of two embeddings gives the score "
    "`sigmoid(bias - L1)`. Higher = more alike. Where a person has several specimens, L1 is the mean distance to the "
    "two nearest, less half of what the specimens lie further apart than is typical (more if they lie closer)."
)


DECIDE = "Accept at or above the first, reject below the second, refer to a person in between. One reference."


def card(version: str, trained: dict, figures: dict) -> str:
    """Markdown for people, from `run.json` and `evaluation.json`."""
    return (
        "\n\n".join(
            [
                f"# Model card: {version}",
                WHAT,
                "## Trained on\n\n" + _sources(trained),
                "## Accuracy on writers it never saw\n\n" + _accuracy(figures, _about(figures)),
                "## Captured otherwise\n\n" + _conditions(figures, _about(figures)),
                "## Thresholds\n\n" + _thresholds(figures, _about(figures)),
                "## Does it see handwriting or scanners?\n\n" + _leak(figures),
                "## Limits\n\n" + _limits(figures, _about(figures)),
            ]
        )
        + "\n"
    )


PICTURES = {
    "det.png": "Detection error trade-off: false rejection against false acceptance",
    "scores.png": "Scores of genuine, forged and strangers' signatures, and the thresholds",
    "reliability.png": "Do scores mean what they say?",
    "worst.png": "The writers with the highest skilled errors: genuine on the left, forged on the right",
}


def report(version: str, trained: dict, figures: dict) -> str:
    """The card with the pictures that the evaluation drew beside it."""
    shown = [f"![{what}]({name})\n\n{what}." for name, what in PICTURES.items()]
    return card(version, trained, figures) + "\n## Pictures\n\n" + "\n\n".join(shown) + "\n"


def _about(figures: dict) -> dict:
    """Whom the evaluation tested; older ones do not say that it was CEDAR."""
    cedar = {"name": "CEDAR", "writers": 55, "frozen": True, "folds": 5 * [{"test": 11, "calibrate": 8, "fit": 36}]}
    return figures.get("tested", {**cedar, "left_out": 0})


def _sources(trained: dict) -> str:
    rows = ["| set | owners | signatures | of these forged |", "|---|---|---|---|"]
    rows += [
        f"| {SOURCES.get(one['source'], one['source'])} | {one['owners']} | {one['signatures']} | {one['forged']} |"
        for one in trained["collections"]
    ]
    recipe = trained["recipe"]
    return "\n".join(rows) + (
        f"\n\nEpochs: {recipe['epochs']} of {recipe['steps']} batches, seed {recipe['seed']}, "
        f"preprocessing {trained['preprocessing_version']}. An owner is one person's way to sign; in the cross-media "
        "set each person wrote ten names. Weights inherit whatever question the terms of these sets leave open."
    )


def _accuracy(figures: dict, about: dict) -> str:
    rows = [
        "| set, references | who | skilled EER % | random EER % | FRR % at 5 % skilled FAR |",
        "|---|---|---|---|---|",
    ]
    for name, tables in ((about["name"], figures), *figures["unseen"].items()):
        for references in filter(str.isdigit, tables["tower"]):
            rows += [_row(f"{name}, {references}", who, tables[who][references]) for who in ("tower", "floor")]
    others = "The other sets: the tower of this bundle, which never saw them. " if figures["unseen"] else ""
    folds, how = figures["folds"], "frozen folds" if about["frozen"] else "folds"
    note = (
        f"{about['name']}: writer-disjoint, pooled over {len(folds)} of {len(about['folds'])} {how} of "
        f"{_span(about, 'test')} writers. Each fold has a tower of the same recipe, fitted on {_span(about, 'fit')} "
        f"other writers and calibrated on {_span(about, 'calibrate')} more. {others}`floor` is an unlearned "
        "direction grid on the same canvases and trials. Brackets: 95 % over writers. Pooled as they are, without "
        f"any calibration, one-reference trials give {_both(figures['tower']['uncalibrated'])} for the tower "
        f"and {_both(figures['floor']['uncalibrated'])} for the floor (skilled and random EER)."
    )
    if about["left_out"]:
        note += f" {about['left_out']} writers without two genuine signatures and a forgery are in no figure."
    return "\n\n".join([note, "\n".join(rows), _control(figures, about)])


def _span(about: dict, what: str) -> str:
    """`11`, or `6 to 7` where folds differ."""
    sizes = sorted({fold[what] for fold in about["folds"]})
    return " to ".join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1])))


def _row(where: str, who: str, table: dict) -> str:
    cells = [
        table["skilled"]["eer"],
        table["random"]["eer"],
        table["skilled"]["frr_at_far"]["0.05"],
    ]
    return f"| {where} | {who} | " + " | ".join(map(_interval, cells)) + " |"


def _control(figures: dict, about: dict) -> str:
    controls = figures["control_without_forgeries"]
    if not controls:
        return f"No control without the forgeries of {about['name']} was trained for this version."
    parts = [f"fold {one['fold']}: {_both(one['tower'])} (floor {_both(one['floor'])})" for one in controls]
    return f"Control trained without any {about['name']} forgery, skilled and random EER %: " + "; ".join(parts) + "."


def _conditions(figures: dict, about: dict) -> str:
    if not figures["conditions"]:
        return "Not measured: a training set holds no scans that could be turned, blurred or drawn on."
    rows = ["| what is questioned | skilled EER % | random EER % | refused |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {_percent(found['skilled_eer'])} | {_percent(found['random_eer'])} | {found['refused']} |"
        for name, found in figures["conditions"].items()
    ]
    what = f"Unseen writers of {about['name']}, one specimen as scanned, everything questioned changed alike:"
    return what + "\n\n" + "\n".join(rows)


def _both(rates: dict) -> str:
    return f"{_percent(rates['skilled_eer'])} and {_percent(rates['random_eer'])}"


def _thresholds(figures: dict, about: dict) -> str:
    shipped = figures["shipped"]
    rows = ["| decision | score | skilled FAR % | random FAR % | FRR % |", "|---|---|---|---|---|"]
    for name, score in shipped["thresholds"].items():
        rows.append(_rate_row(f"{name} | {score:.4f}", shipped["at_thresholds"][name]))
        once = figures["thresholds_applied_once"][name]
        rows.append(_rate_row(f"{name}, chosen on calibration writers | by fold", once))
    for unseen, tables in figures["unseen"].items():
        for name, rates in tables["at_shipped_thresholds"].items():
            rows.append(_rate_row(f"{name}, on {unseen} | {shipped['thresholds'][name]:.4f}", rates))
    note = (
        "The shipped thresholds are read off the pooled out-of-fold scores (5 % skilled FAR, 2 % FRR), so the rates "
        "beside them flatter. Expect what the other rows say: thresholds chosen on "
        f"{_span(about, 'calibrate')} writers and applied once to others, and the shipped thresholds on sets that "
        f"the tower never saw. This tower was fitted on every writer of {about['name']} and has none left to be "
        "calibrated on: its scale and bias are the folds' averages, calibrated once more on their pooled out-of-fold "
        "scores and carried over by how far apart each tower sees the same strangers. Scores are "
        f"calibrated for this prior: {shipped['prior']}."
    )
    return "\n\n".join([DECIDE, "\n".join(rows), note, _targets(figures), _reliability(figures)])


def _targets(figures: dict) -> str:
    if not figures["accounts"]:
        return "With so few folds, nothing is known of accounts of several people."
    rows = [
        "| people on the account | target FAR % | skilled FAR % | random FAR % | FRR % |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {row['people']} | " + " | ".join(_percent(row[key]) for key in ("target_far", *RATES)) + " |"
        for row in figures["accounts"]
    ]
    return (
        "A caller may ask how many skilled forgeries may pass on an account (`target_far`). What became of it "
        "on drawn accounts of unseen writers, one specimen each, with scores read off the other folds' rates; the "
        "stricter score for several people is paid for by genuine signatures:\n\n" + "\n".join(rows)
    )


def _reliability(figures: dict) -> str:
    rows = ["| mean score | share that is genuine % |", "|---|---|"]
    rows += [f"| {row['score']:.2f} | {_percent(row['genuine'])} |" for row in figures["reliability"]]
    return "Do scores mean what they say, for the prior above?\n\n" + "\n".join(rows)


def _rate_row(name: str, rates: dict) -> str:
    return f"| {name} | " + " | ".join(_interval(rates[key]) for key in RATES) + " |"


def _leak(figures: dict) -> str:
    tower, floor = figures["tower"]["leak_gate"], figures["floor"]["leak_gate"]
    unseen = ", ".join(f"{name} {tables['probe_auc']:.2f}" for name, tables in figures["unseen"].items()) or "none"
    return (
        f"A linear probe that sees one embedding and no reference tells forged from genuine with AUC "
        f"{tower['probe_auc']:.3f} (must stay below 0.75; floor {floor['probe_auc']:.3f}; unseen sets: {unseen}). "
        f"Different people's genuine-genuine against genuine-forgery pairs: AUC {tower['strangers_auc']:.3f} "
        f"(must be 0.50 +- 0.03; floor {floor['strangers_auc']:.3f}). "
        f"Gate {'passed' if tower['passed'] else 'NOT passed'}."
    )


def _limits(figures: dict, about: dict) -> str:
    return (
        "- Forgeries in public sets were made by volunteers, not by professionals, and on paper, not on cheques.\n"
        "- A score supports a decision; a person looks at what is referred.\n"
        f"- The worst tenth of the writers of {about['name']} has a skilled EER of "
        f"{_percent(figures['tower']['1']['worst_decile_skilled_eer'])} %.\n"
        f"- Images that preprocessing refused: {_percent(next(iter(figures['failure_to_enrol'].values())))} %.\n"
        "- Only the scripts of the sets above were seen; nothing is known about others.\n"
        f"- With only {about['writers']} writers the intervals are wide; a difference smaller than they are is not a "
        "difference."
    )


def _interval(rate: dict) -> str:
    return f"{_percent(rate['value'])} [{_percent(rate['low'])}, {_percent(rate['high'])}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
