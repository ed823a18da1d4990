"""Measure a bundle as it is served: images in, scores out, through the public face of `embeddings` alone.

This is for sets that the bundle's tower was not fitted on. For CEDAR it is not: `training.evaluate --runs` is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from embeddings import Encoder, UnusableImage
from embeddings.head import Head
from training.datasets import Signature
from training.measure import Errors, Trials, rates_at, reliability, run_trials

REFERENCES = (1, 3, 5)


@dataclass(frozen=True)
class Embedded:
    """Signatures as queries and as specimens, float32 (n, d), and how many images were refused."""

    queries: np.ndarray
    specimens: np.ndarray
    owner: np.ndarray
    genuine: np.ndarray
    refused: int

    def trials(self, head: Head, references: int) -> Trials:
        """Trials whose scores are the head's logits."""
        found = run_trials(
            self.queries,
            self.owner,
            self.genuine,
            references=references,
            enrolled=self.specimens,
            typical=head.typical,
        )
        return found.mapped(1.0, head.bias)


def embed(encoder: Encoder, signatures: list[Signature], name: str) -> Embedded:
    """Every image on its own, as a service gets them."""
    queries, specimens, kept = [], [], []
    for signature in track(signatures, description=name):
        image = signature.path.read_bytes()
        try:
            queries.append(encoder.embed([image])[0])
            specimens.append(encoder.enrol(image)[0])
        except UnusableImage:
            continue
        kept.append(signature)
    return Embedded(
        np.stack(queries),
        np.stack(specimens),
        np.array([signature.owner for signature in kept]),
        np.array([signature.genuine for signature in kept]),
        len(signatures) - len(kept),
    )


def measure(encoder: Encoder, sets: dict[str, list[Signature]]) -> dict[str, dict]:
    """Error rates of each set by number of references, what the bundle's own thresholds do there, and whether its
    scores mean what they say."""
    bundle = encoder.bundle
    figures = {}
    for name, signatures in sets.items():
        seen = embed(encoder, signatures, name)
        by_references = {count: Errors(seen.trials(bundle.head, count)) for count in REFERENCES}
        logits = {at: float(np.log(score / (1 - score))) for at, score in vars(bundle.thresholds).items()}
        figures[name] = {
            "images": len(signatures),
            "refused": seen.refused,
            "eer": {
                str(count): {
                    kind: errors.interval(lambda w, e=errors, k=kind: e.eer(k, w)) for kind in ("skilled", "random")
                }
                for count, errors in by_references.items()
            },
            "at_thresholds": {at: rates_at(by_references[1], logit) for at, logit in logits.items()},
            "reliability": reliability(seen.trials(bundle.head, 1)),
        }
    return figures


def report(model_version: str, figures: dict[str, dict]) -> str:
    """Markdown of the figures."""
    lines = [
        f"# {model_version} as served",
        "",
        "Equal error rates in %, skilled / random, by the head; brackets are 95 % over writers.",
        "",
        "| set | images | refused | "
        + " | ".join(f"{count} reference{'s' * (count > 1)}" for count in REFERENCES)
        + " |",
        "|---" * (3 + len(REFERENCES)) + "|",
    ]
    for name, found in figures.items():
        cells = [
            f"{_interval(found['eer'][str(count)]['skilled'])} / {_interval(found['eer'][str(count)]['random'])}"
            for count in REFERENCES
        ]
        lines.append(f"| {name} | {found['images']} | {found['refused']} | " + " | ".join(cells) + " |")
    lines += ["", "| set, decision | skilled FAR % | random FAR % | FRR % |", "|---|---|---|---|"]
    for name, found in figures.items():
        for at, rates in found["at_thresholds"].items():
            lines.append(f"| {name}, {at} | " + " | ".join(map(_interval, rates.values())) + " |")
    return "\n".join(lines) + "\n"


def write(bundle: Path | None, sets: dict[str, list[Signature]], out: Path) -> dict[str, dict]:
    """Measures and writes `served.json` and `served.md` into `out`."""
    encoder = Encoder.load(bundle)
    figures = measure(encoder, sets)
    out.mkdir(parents=True, exist_ok=True)
    (out / "served.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (out / "served.md").write_text(report(encoder.model_version, figures), "utf-8")
    return figures


def _interval(rate: dict[str, float]) -> str:
    return f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
