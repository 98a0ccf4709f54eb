"""Ratios of what was earned to what was risked."""

import numpy as np
from numpy import ndarray

_STILL = 1e-12  # what rounding leaves of an account that does not move is no risk


def ratio(reward: ndarray, risk: ndarray) -> ndarray:
    """reward / risk, 0 where there was no risk."""
    still = risk < _STILL
    return np.where(still, 0.0, reward / np.where(still, 1.0, risk))
