"""What of a path is forecast: its return, volatility, range and largest fall."""

import torch
from jaxtyping import Float64
from torch import Tensor

TARGETS = ("return", "volatility", "range", "fall")


def path_targets(returns: Float64[Tensor, "*batch steps"]) -> dict[str, Float64[Tensor, "*batch"]]:
    """Numbers of every path of log returns r_1 ... r_h, with x_0 = 0 and x_k = r_1 + ... + r_k.

    ``return`` x_h; ``volatility`` sqrt(mean r^2) per bar; ``range`` max x - min x; ``fall``
    max_k (max_{j<=k} x_j - x_k), the largest fall in logs; the start counts in both.
    """
    x = torch.cat([torch.zeros_like(returns[..., :1]), returns.cumsum(-1)], dim=-1)
    return {
        "return": x[..., -1],
        "volatility": returns.square().mean(-1).sqrt(),
        "range": x.amax(-1) - x.amin(-1),
        "fall": (x.cummax(-1).values - x).amax(-1),
    }
