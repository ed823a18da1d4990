"""The command about reviews: where people and the model agree."""

from collections.abc import Iterable
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from service.database import Database
from service.review_figures import BANDS, Figure, Period, read_figures
from service.settings import Settings


def show_figures(settings: Settings, period: Period, model_version: str | None) -> None:
    database = Database(settings.database_url, pool_size=1)
    with database.reading() as session:
        figures = read_figures(session, period, model_version)
    database.close()
    console = Console()
    bands = [(_band(band), figure) for band, figure in figures.bands.items()]
    console.print(_table("score", bands + ([("every", figures.every)] if figures.every else [])))
    console.print(_table("reason", figures.reasons.items()))
    if figures.median_seconds is not None:
        console.print(f"Median from the answer to the decision: {_duration(figures.median_seconds)}.")
    waiting = figures.waiting
    oldest = f", the oldest for {_duration(waiting.oldest_seconds)}" if waiting.oldest_at else ""
    console.print(f"Waiting now: {waiting.open} open and {waiting.claimed} claimed{oldest}.")


def _table(name: str, rows: Iterable[tuple[str, Figure]]) -> Table:
    table = Table(name)
    for column in ("decided", "people accepted", "95 % interval", "mean score"):
        table.add_column(column, justify="right")
    for label, figure in rows:
        share = figure.share_accepted
        mean = "" if figure.mean_score is None else f"{figure.mean_score:.3f}"
        table.add_row(label, str(figure.decided), f"{share.value:.1%}", f"{share.low:.1%} to {share.high:.1%}", mean)
    return table


def _band(band: int | None) -> str:
    return "none" if band is None else f"{band / BANDS:.1f} to {(band + 1) / BANDS:.1f}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
