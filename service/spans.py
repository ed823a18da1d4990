"""Lengths of time as an operator writes them."""

import re
from datetime import timedelta

import click

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class Span(click.ParamType[timedelta]):
    name = "span"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        parts = re.fullmatch(r"([0-9]{1,5})([dhm])", value)
        if parts is None:
            self.fail("write it as 90d, 12h or 30m", param, ctx)
        return timedelta(**{_UNITS[parts[2]]: int(parts[1])})
