"""Cheques: draw them, learn to find signatures on them, and measure it.

python -m training.cheques sheet --out sheet.png
python -m training.cheques train --data DATA --cache runs/cache --out runs/cheques
python -m training.cheques export --run runs/cheques --version 1.0.0
python -m training.cheques evaluate --data DATA --out runs/cheques/evaluation
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.cheques", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for add in (_sheet, _train, _export, _evaluate):
        add(commands)
    chosen = parser.parse_args(arguments)
    chosen.run_command(chosen)


def _command(commands, name: str, run, about: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about)
    parser.set_defaults(run_command=run)
    parser.add_argument("--data", type=Path, help="folder with cedar, cross-media-chinese and, to measure, cheques")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="what is drawn once is kept here")
    return parser


def _sheet(commands) -> None:
    def run(chosen: argparse.Namespace) -> None:
        from training.cheques.pictures import contact_sheet

        contact_sheet(chosen.out, chosen.cache, chosen.data, range(chosen.first, chosen.first + chosen.count))

    parser = _command(commands, "sheet", run, "a picture of drawn cheques, to look at")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("cheques.png"))


def _train(commands) -> None:
    def run(chosen: argparse.Namespace) -> None:
        from training.cheques.train import Recipe, fit

        c = chosen
        fit(
            Recipe(c.seed, c.scenes, c.first, c.epochs, c.batch, c.rate, c.far),
            chosen.cache,
            chosen.data,
            chosen.out,
            chosen.start,
        )

    parser = _command(commands, "train", run, "draw scenes and learn from them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="cheque.keras to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=9000)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--far", type=float, default=0.4, help="share of far scenes that are learned from")


def _export(commands) -> None:
    def run(chosen: argparse.Namespace) -> None:
        from training.cheques.export import write

        write(chosen.run, chosen.version, chosen.out, chosen.cache, chosen.data)

    parser = _command(commands, "export", run, "write the model that ships")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", type=Path, default=Path("embeddings/cheques"))


def _evaluate(commands) -> None:
    def run(chosen: argparse.Namespace) -> None:
        from training.cheques.evaluate import evaluate

        evaluate(chosen.data, chosen.out, quick=chosen.quick, publish=chosen.publish)

    parser = _command(commands, "evaluate", run, "measure the model that ships on real cheques")
    parser.add_argument("--out", type=Path, help="pictures of failures go here")
    parser.add_argument("--publish", action="store_true", help="write the card of the model that ships")
    parser.add_argument("--quick", action="store_true", help="without the conditions")


if __name__ == "__main__":
    main()
