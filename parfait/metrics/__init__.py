"""Does it hold? Validity, stylised facts and two-sample tests of generated bars, and the baselines
that stand beside them."""

from parfait.metrics.realism import StylisedFacts, TwoSample, Validity

__all__ = ["StylisedFacts", "TwoSample", "Validity"]
