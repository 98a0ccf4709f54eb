"""What holds for every test: no network, and shapes and dtypes in signatures are checked at every
call (never at run time).

Only where the maths is: entry points answer a wrong type with a sentence, and tests read it.
"""

from jaxtyping import install_import_hook

from tests.network import leave_the_network

SDE = ("qe", "memory", "fractional", "accumulate", "jumps")
MICROSTRUCTURE = (
    *("codec", "constraint", "diffusion", "features", "generate", "history", "samplers"),
    *("training", "unet1d", "window"),
)
MATHS = [f"parfait.sde.{m}" for m in SDE] + [f"parfait.microstructure.{m}" for m in MICROSTRUCTURE]
install_import_hook(MATHS, "beartype.beartype")
leave_the_network()
