"""Scores of the TimeGAN protocol (Yoon, Jarrett & van der Schaar 2019) and of PaD-TS (Li, Jain &
Wang 2025), for comparison with published tables alone.

They see levels and marginals; they do not see time order, its direction, nor impossible bars, and
they reward a copy of the training set. Never read them without the rows of a null and of a copy.
Data are windows scaled to [0, 1] by the extremes of the whole history, feature by feature.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64
from torch import Tensor, nn

from parfait.utils.errors import UserError

BATCH = 128
RATE = 1e-3
BANDWIDTHS = (0.01, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 1.5, 2.0)  # of PaD-TS, in squared units
_FAR = 5.0  # beyond the real range every kernel is small


class _Recurrent(nn.Module):
    """J GRUs (Cho et al. 2014) abreast, each with a linear read-out of every state."""

    def __init__(self, judges: int, features: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * bound)

        self.width = width
        self.input, self.input_bias = (
            drawn(judges, features, 3 * width),
            drawn(judges, 1, 3 * width),
        )
        self.state, self.state_bias = drawn(judges, width, 3 * width), drawn(judges, 1, 3 * width)
        self.head, self.head_bias = drawn(judges, width, 1), drawn(judges, 1, 1)

    def forward(
        self, x: Float32[Tensor, "judges batch steps features"], *, last: bool
    ) -> Float32[Tensor, "judges batch read"]:
        """Read-outs of every step, or of the ``last`` alone."""
        judges, batch, steps, features = x.shape
        by_step = x.transpose(1, 2).reshape(judges, steps * batch, features)
        gates = torch.baddbmm(self.input_bias, by_step, self.input).reshape(
            judges, steps, batch, -1
        )
        h = x.new_zeros(judges, batch, self.width)
        states = []
        for gate in gates.unbind(1):
            recurrent = torch.baddbmm(self.state_bias, h, self.state)
            zr = torch.sigmoid(gate[..., : -self.width] + recurrent[..., : -self.width])
            update, reset = zr.chunk(2, dim=-1)
            new = torch.tanh(gate[..., -self.width :] + reset * recurrent[..., -self.width :])
            h = torch.lerp(new, h, update)
            states.append(h)
        if last:
            return torch.baddbmm(self.head_bias, h, self.head)
        seen = torch.stack(states, dim=2).reshape(judges, batch * steps, self.width)
        return torch.baddbmm(self.head_bias, seen, self.head).reshape(judges, batch, steps)


def discriminative_scores(
    real: Float64[Tensor, "real steps features"],
    generated: Float64[Tensor, "generated steps features"],
    *,
    judges: int = 5,
    steps: int = 2000,
    seed: int = 0,
) -> Float64[Tensor, " judges"]:
    """|accuracy - 1/2| of every judge on its test windows.

    A GRU of features/2 units reads a window, its last state tells real from generated; batches of
    128 of each class, a random fifth of both for the test. Windows overlap, so test and training
    share bars. Of a perfect generator E = sqrt(2/pi) / (2 sqrt(test windows)), not 0.

    Raises:
        UserError: shapes that differ, or fewer than 10 windows.
    """
    _check(real, generated)
    generator = torch.Generator().manual_seed(seed)
    sets = [x.to(torch.float32) for x in (real, generated)]
    cut = [int(0.8 * len(x)) for x in sets]
    order = [torch.rand((judges, len(x)), generator=generator).argsort(1) for x in sets]
    model = _Recurrent(judges, real.shape[2], max(real.shape[2] // 2, 1), generator)
    target = torch.cat([torch.ones(judges, BATCH), torch.zeros(judges, BATCH)], dim=1)[..., None]
    for _ in _training(model, steps):
        picked = [
            x[o.gather(1, torch.randint(c, (judges, BATCH), generator=generator))]
            for x, o, c in zip(sets, order, cut, strict=True)
        ]
        logits = model(torch.cat(picked, dim=1), last=True)
        F.binary_cross_entropy_with_logits(logits, target).mul(judges).backward()
    with torch.no_grad():
        said = [
            model(x[o[:, c:]], last=True)[..., 0] > 0
            for x, o, c in zip(sets, order, cut, strict=True)
        ]
    right = said[0].sum(1) + (~said[1]).sum(1)
    return (right.to(torch.float64) / (said[0].shape[1] + said[1].shape[1]) - 0.5).abs()


def predictive_scores(
    real: Float64[Tensor, "real steps features"],
    generated: Float64[Tensor, "generated steps features"],
    *,
    judges: int = 5,
    steps: int = 5000,
    seed: int = 0,
) -> Float64[Tensor, " judges"]:
    """Mean absolute error on real windows of GRUs trained on generated ones to predict the next
    value of the last feature (volume) from the others.

    Raises:
        UserError: as ``discriminative_scores``.
    """
    _check(real, generated)
    generator = torch.Generator().manual_seed(seed)
    learn, test = generated.to(torch.float32), real.to(torch.float32)
    model = _Recurrent(judges, real.shape[2] - 1, max(real.shape[2] // 2, 1), generator)
    for _ in _training(model, steps):
        x = learn[torch.randint(len(learn), (judges, BATCH), generator=generator)]
        made = torch.sigmoid(model(x[:, :, :-1, :-1], last=False))
        (made - x[:, :, 1:, -1]).abs().mean().mul(judges).backward()
    with torch.no_grad():
        shown = test.expand(judges, *test.shape)
        made = torch.sigmoid(model(shown[:, :, :-1, :-1], last=False))
    return (made - shown[:, :, 1:, -1]).abs().mean((1, 2)).to(torch.float64)


def correlational_score(
    real: Float64[Tensor, "real steps features"],
    generated: Float64[Tensor, "generated steps features"],
) -> float:
    """sum over i >= j of |corr_ij(real) - corr_ij(generated)| / 10, correlations pooled over all
    values (Diffusion-TS, Yuan & Qiao 2024)."""
    _check(real, generated)
    pairs = torch.tril_indices(real.shape[2], real.shape[2])
    values = []
    for x in (real, generated):
        flat = x.reshape(-1, x.shape[2])
        z = (flat - flat.mean(0)) / flat.std(0).clamp_min(1e-12)
        values.append((z.T @ z / len(z))[pairs[0], pairs[1]])
    return float((values[0] - values[1]).abs().sum() / 10)


def value_shift(
    real: Float64[Tensor, "real steps features"],
    generated: Float64[Tensor, "generated steps features"],
) -> float:
    """VDS: squared MMD of the pooled values of each feature, mean over features; of all values,
    where PaD-TS draws 10,000."""
    _check(real, generated)
    return _mean_mmd(*(x.reshape(-1, x.shape[2]) for x in (real, generated)))


def dependency_shift(
    real: Float64[Tensor, "real steps features"],
    generated: Float64[Tensor, "generated steps features"],
) -> float:
    """FDDS: squared MMD of the windows' correlations of each pair of features, mean over pairs;
    a correlation that a window does not define counts as 0."""
    _check(real, generated)
    return _mean_mmd(*(_correlations(x) for x in (real, generated)))


def _correlations(windows: Float64[Tensor, "windows steps features"]) -> Tensor:
    """(windows, pairs): Pearson correlations below the diagonal."""
    centred = windows - windows.mean(1, keepdim=True)
    product = torch.einsum("wti,wtj->wij", centred, centred)
    size = product.diagonal(dim1=1, dim2=2).sqrt()
    correlation = product / (size[:, :, None] * size[:, None, :])
    i, j = torch.tril_indices(windows.shape[2], windows.shape[2], offset=-1)
    return torch.nan_to_num(correlation[:, i, j], nan=0.0, posinf=0.0, neginf=0.0)


def _mean_mmd(x: Float64[Tensor, "n columns"], y: Float64[Tensor, "m columns"]) -> float:
    """Mean over columns of the biased squared MMD with a sum of Gaussian kernels.

    MMD^2 = (p - q)' K (p - q) of histograms with cells of a fiftieth of the smallest bandwidth's
    deviation: exact to about (cell/deviation)^2 = 4e-4 of it, at the cost of cells instead of
    pairs of values. Values far outside the real range are drawn near it, where no kernel reaches.
    """
    cell = BANDWIDTHS[0] ** 0.5 / 50
    total = 0.0
    for a, b in zip(x.T, y.T, strict=True):
        low, high = float(a.min()) - _FAR, float(a.max()) + _FAR
        index = [((v.clamp(low, high) - low) / cell).round().long() for v in (a, b)]
        cells = torch.cat(index).unique()
        shares = [
            torch.bincount(torch.searchsorted(cells, i), minlength=len(cells)) / len(i)
            for i in index
        ]
        surplus = (shares[0] - shares[1]).to(torch.float64)
        square = (cells[:, None] - cells[None, :]).to(torch.float64).mul(cell).square()
        kernel = sum(torch.exp(-square / (2 * h)) for h in BANDWIDTHS)
        total += float(surplus @ kernel @ surplus)
    return total / x.shape[1]


def _training(model: nn.Module, steps: int) -> Iterator[int]:
    """Steps of Adam; whoever loops adds the gradients."""
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    for step in range(steps):
        optimiser.zero_grad(set_to_none=True)
        yield step
        optimiser.step()


def _check(real: Tensor, generated: Tensor) -> None:
    if real.shape[1:] != generated.shape[1:]:
        raise UserError(
            f"windows of shape {tuple(real.shape[1:])} cannot be compared with those of "
            f"{tuple(generated.shape[1:])}; cut both to one length"
        )
    if min(len(real), len(generated)) < 10:
        raise UserError(
            f"{len(real)} real and {len(generated)} generated windows are too few; give 10 or more"
        )
