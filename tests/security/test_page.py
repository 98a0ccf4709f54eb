"""The page on security names files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_place_and_every_test_of_the_table_exists() -> None:
    page = (ROOT / "docs" / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        places, tests = (re.findall(r"`([^`]+)`", cell) for cell in row[-2:])
        assert tests, row[0]
        for name in tests:
            assert (ROOT / "tests" / name).is_file(), name
        for name in places:
            assert (ROOT / "parfait" / name).exists() or (ROOT / name).exists(), name
