"""The documentation says what the table says."""

from __future__ import annotations

import re
from pathlib import Path

from udsrv.config.model import SETTINGS
from udsrv.config.reference import reference_page

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_is_what_the_table_makes():
    assert (DOCS / "configuration.md").read_text() == reference_page(), (
        "run: python -m udsrv.config.reference > docs/configuration.md"
    )


def test_every_default_has_its_reason():
    headings = re.findall(r"^### (\w+)$", (DOCS / "defaults.md").read_text(), re.MULTILINE)
    assert headings == [setting.name for setting in SETTINGS]
