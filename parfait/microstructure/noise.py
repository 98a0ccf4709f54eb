r"""Unit noise of the diffusion: a stream per path, correlated between assets.

With z_j the stream of asset j and C the correlation between the assets' returns, asset a takes

    return, gap       sum_j L_aj z_j,   L L^T = C          (signed moves)
    volume            sum_j S_aj z_j,   S S^T = C o C      (sizes)
    wicks u, l        (u + l) by S, (u - l) by L

C o C, the square of each entry, is the correlation of the squares of Gaussians of correlation C,
and is positive semi-definite by the Schur product theorem: sizes move together whatever the sign of
C. Wicks are sizes with a direction: at C = -1 the upper wick of one asset is the lower wick of the
other, at C = 1 they are the same. In each asset every channel keeps unit variance and stays
independent of the others, so a single asset cannot tell that it is one of several.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from parfait.microstructure.codec import GAP, LOWER, N_CHANNELS, RETURN, UPPER, VOLUME
from parfait.utils.errors import UserError

_ROUNDING = 1e-8  # how far a correlation matrix may miss its three laws
_MIRROR = [RETURN, GAP, LOWER, UPPER, VOLUME]  # channels with the two wicks exchanged


@dataclass(frozen=True, eq=False)
class Mix:
    """Which asset of how many, and how their returns correlate.

    Args:
        correlation: C, symmetric, positive semi-definite, with a unit diagonal.
        asset: row of C, counted from 0. Asset 0 has the noise of a run without a mix.

    Raises:
        UserError: C is no correlation matrix, or has no such row.
    """

    correlation: Float64[Tensor, "assets assets"]
    asset: int

    def __post_init__(self) -> None:
        c = self.correlation
        if c.ndim != 2 or c.shape[0] != c.shape[1] or c.shape[0] == 0 or c.dtype != torch.float64:
            raise UserError(
                f"Mix: correlation is {c.dtype} of shape {tuple(c.shape)}; give a square float64 "
                "table, one row per asset"
            )
        assets = c.shape[0]
        if type(self.asset) is not int or not 0 <= self.asset < assets:
            raise UserError(f"Mix: asset = {self.asset} must be within [0, {assets - 1}]")
        if not bool(torch.isfinite(c).all()):
            raise UserError("Mix: correlation holds a value that is not finite")
        if float((c - c.T).abs().max()) > _ROUNDING:
            raise UserError("Mix: correlation is not symmetric; give C with C = C^T")
        if float((c.diagonal() - 1).abs().max()) > _ROUNDING:
            raise UserError("Mix: the diagonal of correlation must be 1 everywhere")
        least = float(torch.linalg.eigvalsh(c)[0])
        if least < -_ROUNDING * assets:
            raise UserError(
                f"Mix: correlation has the eigenvalue {least:.3g} below 0, so no assets can have "
                "it; move the correlations towards 0"
            )

    @cached_property
    def weights(self) -> tuple[Float64[Tensor, "assets 5"], Float64[Tensor, "assets 5"]]:
        """Weight of each asset's stream per channel, and of the stream with its wicks exchanged."""
        signed = triangular_root(self.correlation)[self.asset]
        size = triangular_root(self.correlation.square())[self.asset]
        none = torch.zeros_like(signed)
        even, odd = (size + signed) / 2, (size - signed) / 2
        return (
            torch.stack([signed, signed, even, even, size], dim=1),
            torch.stack([none, none, odd, odd, none], dim=1),
        )


def triangular_root(
    correlation: Float64[Tensor, "assets assets"],
) -> Float64[Tensor, "assets assets"]:
    """Lower triangular L with L L^T = C and rows of norm 1, for semi-definite C too.

    Cholesky by columns; a pivot of rounding size means that the asset is a mix of those before it,
    and its column is 0. Row 0 is (1, 0, ..., 0) exactly.
    """
    rest = correlation.clone()
    root = torch.zeros_like(rest)
    for j in range(rest.shape[0]):
        pivot = float(rest[j, j])
        if pivot > _ROUNDING:
            root[j:, j] = rest[j:, j] / pivot**0.5
            rest -= root[:, j, None] * root[:, j]
    return root / root.norm(dim=1, keepdim=True)


def unit_noise(
    seed: int, chunk: int, paths: Tensor, bars: int, mix: Mix | None = None
) -> Float[Tensor, "paths 5 bars"]:
    """Unit noise per path from (seed, chunk, path): no path depends on its neighbours.

    Philox (Salmon et al. 2011) is keyed by the pair itself; torch's generator keeps 32 bits of its
    seed, so that among a million paths some would share their noise. The counter holds the chunk
    and the asset.

    Args:
        seed, chunk: the run, and the window of its horizon.
        paths: number of each path.
        bars: length of the window.
        mix: the asset among several; ``None`` is asset 0, alone.
    """
    rows = [
        _stream(seed, path, chunk, 0, bars) if mix is None else _mixed(seed, path, chunk, bars, mix)
        for path in paths.tolist()
    ]
    return torch.from_numpy(np.stack(rows))


def _mixed(seed: int, path: int, chunk: int, bars: int, mix: Mix) -> np.ndarray:
    """Summed in float64 one asset after the other: the bytes depend on nothing else."""
    total = np.zeros((N_CHANNELS, bars))
    own, mirrored = (w.numpy() for w in mix.weights)
    for asset in range(mix.asset + 1):
        z = _stream(seed, path, chunk, asset, bars)
        total += own[asset, :, None] * z + mirrored[asset, :, None] * z[_MIRROR]
    return total.astype(np.float32)


def _stream(seed: int, path: int, chunk: int, asset: int, bars: int) -> np.ndarray:
    stream = np.random.Philox(key=[seed, path], counter=[0, 0, asset, chunk])
    return np.random.Generator(stream).standard_normal((N_CHANNELS, bars), np.float32)
