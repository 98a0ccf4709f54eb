"""Correlation matrices: checks, repair, and their Cholesky factors path by path."""

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from parfait.utils.errors import UserError

_SINGULAR = 1e-12  # a pivot below this is 0: that asset moves with the ones before it
_INDEFINITE = 1e-9  # how far below 0 rounding may push a pivot
_LEFT_OVER = 1e-5  # what may remain to be explained of a column whose pivot is 0


def nearest_correlation(
    matrix: Float[Tensor, "*batch assets assets"],
) -> tuple[Float64[Tensor, "*batch assets assets"], float]:
    """A correlation matrix near ``matrix``, and the largest change of an entry.

    Entries are averaged with their mirror images, the diagonal becomes 1, and where that is not
    positive semidefinite negative eigenvalues become 0 and the diagonal is scaled back to 1. A
    valid matrix comes back as it is. The nearest one in norm would cost an iteration (Higham 2002);
    for the small defects of estimated or quoted matrices the difference does not matter.

    Raises:
        UserError: not square, or an entry that is not a number or outside [-1, 1].
    """
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
        raise UserError(f"correlation has shape {tuple(matrix.shape)}; give a square matrix")
    given = matrix.detach().double()
    bad = ~((given >= -1) & (given <= 1))
    if bool(bad.any()):
        place = bad.nonzero()[0].tolist()
        value = float(given[tuple(place)])
        raise UserError(f"correlation{place} = {value:g} is outside [-1, 1]")
    repaired = 0.5 * (given + given.mT)
    repaired.diagonal(dim1=-2, dim2=-1).fill_(1.0)
    flat = repaired.view(-1, *repaired.shape[-2:])
    fixed = repaired_where(flat, ~cholesky(flat)[1]).view(given.shape)
    return fixed, float((fixed - given).abs().max()) if given.numel() else 0.0


def repaired_where(
    matrices: Float64[Tensor, "paths assets assets"], indefinite: Bool[Tensor, " paths"]
) -> Float64[Tensor, "paths assets assets"]:
    """The matrices with those that are indefinite clipped at eigenvalue 0 and rescaled."""
    if not bool(indefinite.any()):
        return matrices
    values, vectors = torch.linalg.eigh(matrices[indefinite])
    root = vectors * values.clamp(min=0).sqrt()[:, None, :]
    # Entry by entry: products of matrices round differently when there are more of them.
    clipped = (root[:, :, None, :] * root[:, None, :, :]).sum(dim=-1)
    scale = clipped.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).rsqrt()
    clipped = (clipped * (scale[:, :, None] * scale[:, None, :])).clamp(-1, 1)
    clipped.diagonal(dim1=-2, dim2=-1).fill_(1.0)
    out = matrices.clone()
    out[indefinite] = clipped
    return out


def cholesky(
    matrices: Float64[Tensor, "paths assets assets"],
) -> tuple[Float64[Tensor, "assets assets paths"], Bool[Tensor, " paths"]]:
    """L with L L^T = C, path last, and whether C is positive semidefinite; singular C are fine.

    Element by element over all paths, which for a few assets costs less than a factorisation per
    path, and no path depends on the others.
    """
    size = matrices.shape[-1]
    c = matrices.permute(1, 2, 0)
    lower = torch.zeros_like(c, memory_format=torch.contiguous_format)
    valid = torch.ones(c.shape[-1], dtype=torch.bool, device=c.device)
    for j in range(size):
        pivot = c[j, j].clone()
        for k in range(j):
            pivot -= lower[j, k] ** 2
        valid &= pivot > -_INDEFINITE
        free = pivot > _SINGULAR
        lower[j, j] = torch.where(free, pivot, 0.0).sqrt()
        inverse = torch.where(free, lower[j, j], 1.0).reciprocal()
        for i in range(j + 1, size):
            rest = c[i, j].clone()
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            valid &= free | (rest.abs() < _LEFT_OVER)
            lower[i, j] = torch.where(free, rest * inverse, 0.0)
    return lower, valid
