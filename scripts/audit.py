"""Known vulnerabilities of the pinned versions: ``python scripts/audit.py CONSTRAINTS``.

Runs pip-audit and believes it only where it looked: it says "no known vulnerabilities" and exits
with 0 after skipping every package. Exit codes: 0 all were looked up and none is known to be
vulnerable; 1 some are; 2 some were not looked up, or none could be.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = ["-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]


def pinned(text: str) -> set[str]:
    """Normalised names of ``name==version`` lines (PEP 503)."""
    names = re.findall(r"^([\w.-]+)==", text, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def verdict(report: str, told: str, wanted: set[str]) -> tuple[int, list[str]]:
    """Exit code and sentences.

    Args:
        report: standard output of pip-audit, JSON.
        told: its standard error.
        wanted: names that must have been looked up.
    """
    try:
        found: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = next(iter(reversed(told.strip().splitlines())), "it said nothing")
        return 2, [f"nothing was audited, the advisory service could not be asked: {last}"]
    sentences = []
    for one in found:
        for flaw in one.get("vulns", ()):
            mended = ", ".join(flaw.get("fix_versions") or ()) or "no version yet"
            place = f"{one['name']} {one['version']}"
            sentences.append(f"{place} is vulnerable: {flaw['id']}, mended in {mended}")
    code = 1 if sentences else 0
    seen = {re.sub(r"[-_.]+", "-", one["name"]).lower() for one in found if "vulns" in one}
    missing = sorted(wanted - seen)
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        code = code or 2
        sentences.append(
            f"{len(missing)} of {len(wanted)} packages were not audited ({shown}): the advisory "
            "service does not know them or could not be reached"
        )
    return code, sentences or [f"{len(seen)} packages audited, none is known to be vulnerable"]


def main() -> None:
    """Audits the file that the command line names."""
    if len(sys.argv) != 2:
        print("usage: python scripts/audit.py CONSTRAINTS", file=sys.stderr)
        sys.exit(2)
    wanted = pinned(Path(sys.argv[1]).read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, *COMMAND, "--progress-spinner", "off", "-r", sys.argv[1]],
        capture_output=True,
        text=True,
    )
    code, sentences = verdict(done.stdout, done.stderr, wanted)
    print("\n".join(sentences), file=sys.stderr if code else sys.stdout)
    sys.exit(code)


if __name__ == "__main__":
    main()
