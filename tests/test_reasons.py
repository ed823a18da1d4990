"""Every reason that an answer can give is put into words: a sentence for clerks, and an example."""

import re
from pathlib import Path

from service.reasons import REASONS

DOCS = Path(__file__).parents[1] / "docs"
SECTION = re.compile(r"^## What (?:the|its) reasons mean$(.*?)(?:^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([a-z_]+)` \|", re.MULTILINE)


def test_every_reason_has_a_row_with_an_example_in_the_documentation() -> None:
    sections = [SECTION.findall((DOCS / page).read_text("utf-8")) for page in ("mandates.md", "policy.md")]
    documented = {code for found in sections for section in found for code in ROW.findall(section)}

    assert documented == set(REASONS)
