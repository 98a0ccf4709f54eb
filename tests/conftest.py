"""Shapes and dtypes in signatures are checked in the tests, at every call; never at run time.

Only where the maths is: entry points answer a wrong type with a sentence, and tests read it.
"""

from jaxtyping import install_import_hook

MATHS = [f"parfait.sde.{name}" for name in ("qe", "memory", "fractional", "accumulate", "jumps")]
install_import_hook(["parfait.microstructure", *MATHS], "beartype.beartype")
