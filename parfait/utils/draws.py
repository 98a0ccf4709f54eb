"""Random numbers of a batch of windows, one a window."""

import torch
from torch import Tensor


class Draw:
    """Random numbers of one batch, (windows,) float64."""

    def __init__(self, windows: int, generator: torch.Generator) -> None:
        self.windows, self.generator = windows, generator

    def uniform(self) -> Tensor:
        return torch.rand(self.windows, generator=self.generator, dtype=torch.float64)

    def normal(self) -> Tensor:
        return torch.randn(self.windows, generator=self.generator, dtype=torch.float64)

    def log_uniform(self, low: float, high: float) -> Tensor:
        return low * (high / low) ** self.uniform()

    def chance(self, share: float) -> Tensor:
        return self.uniform() < share
