"""How many examples a property test tries: few by default, PARFAIT_EXAMPLES where that is set."""

import os


def examples(quick: int) -> int:
    """``quick``, or as many as the environment asks for; never fewer."""
    return max(quick, int(os.environ.get("PARFAIT_EXAMPLES", "0")))
