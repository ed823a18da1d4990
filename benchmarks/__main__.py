"""`python -m benchmarks`: every figure that the product claims, on this machine."""

import json
import os
import tempfile
from pathlib import Path

import click
from rich.console import Console

from benchmarks import activation, cheques, enrolment, machine, reference, search, search_http, startup, verification
from benchmarks.bench import FULL, QUICK, Bench
from benchmarks.plots import draw
from benchmarks.report import Report, markdown, show

MODULES = (verification, reference, cheques, enrolment, search, search_http, startup, activation)
BENCHMARKS = {module.NAME: module.run for module in MODULES}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Small sizes: shows that everything runs, not how fast it is.")
@click.option("--only", multiple=True, metavar="NAME", type=click.Choice(list(BENCHMARKS)), help="May be repeated.")
@click.option("--out", type=click.Path(path_type=Path), default="runs/bench", show_default=True)
def main(quick: bool, only: tuple[str, ...], out: Path) -> None:
    """Measure verification, the reference way, whole cheques, enrolment, 1:N search, start-up and activation, beside
    what is asked.

    Real signatures are CEDAR's, below COUNTERSIGN_DATA. Run it on a quiet machine: other work shows in every figure.
    """
    console = Console(width=None if Console().is_terminal else 160)
    with tempfile.TemporaryDirectory(prefix="countersign-bench-") as folder:
        bench = Bench(QUICK if quick else FULL, _signatures(), Path(folder), console)
        facts = machine.facts() | {"sizes": "quick" if quick else "full"}
        console.print_json(data=facts)
        try:
            for name in only or BENCHMARKS:
                # The comparison with the reference way needs the verification's figures, and may have run it already.
                if name not in bench.results:
                    bench.results[name] = BENCHMARKS[name](bench)
                show(bench.results[name], console)
                _write(out, facts, bench.results)
        finally:
            bench.close()
    console.print(f"Written: {out / 'bench.json'}, {out / 'bench.md'} and {out / 'bench.png'}")


def _signatures() -> Path:
    data = os.environ.get("COUNTERSIGN_DATA")
    folder = Path(data) / "cedar" if data else None
    if folder is None or not folder.is_dir():
        raise click.ClickException("COUNTERSIGN_DATA must name the folder that holds cedar/")
    return folder


def _write(out: Path, facts: dict[str, object], reports: dict[str, Report]) -> None:
    """After each benchmark, so that a run that is broken off leaves what it measured."""
    out.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "benchmarks": {name: report.as_json() for name, report in reports.items()}}
    (out / "bench.json").write_text(json.dumps(content, indent=2), "utf-8")
    (out / "bench.md").write_text("\n".join(markdown(report) for report in reports.values()), "utf-8")
    draw(reports, out / "bench.png")


main(prog_name="python -m benchmarks")
