"""Every reason that an answer can give is put into words: a sentence for clerks, and an example."""

import re
from pathlib import Path

from service.reasons import REASONS

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| `([a-z_]+)` \|", re.MULTILINE)


def test_every_reason_has_a_row_with_an_example_in_the_documentation() -> None:
    documented = {
        code
        for page in ("mandates.md", "policy.md")
        for code in ROW.findall((ROOT / "docs" / page).read_text("utf-8"))
    }

    assert documented == set(REASONS)
