"""``python -m parfait STAGE [overrides]``."""

from parfait.cli import main

main()
