import numpy as np
import pytest
from numpy import ndarray


def random_bars(paths: int = 6, bars: int = 60, seed: int = 0, volatility: float = 0.02) -> ndarray:
    """(paths, bars, 5) valid bars whose opens differ from the closes before."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, volatility, (paths, bars)).cumsum(axis=1))
    before = np.concatenate([np.full((paths, 1), 100.0), close[:, :-1]], axis=1)
    open_ = before * np.exp(rng.normal(0, volatility / 4, (paths, bars)))
    high = np.maximum(open_, close) * np.exp(rng.exponential(volatility / 4, (paths, bars)))
    low = np.minimum(open_, close) * np.exp(-rng.exponential(volatility / 4, (paths, bars)))
    volume = rng.lognormal(10, 0.5, (paths, bars))
    return np.stack([open_, high, low, close, volume], axis=-1)


@pytest.fixture
def bars() -> ndarray:
    return random_bars()
