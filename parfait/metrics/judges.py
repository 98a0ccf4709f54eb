"""Classifiers of windows. Many judges (seeds, label sets, splits) train as one batched model, which
is what makes them affordable: a leading ``judges`` dimension in every weight, a grouped convolution
or ``baddbmm`` in place of a loop.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Float64
from torch import Tensor, nn

from parfait.metrics.trees import train_trees
from parfait.utils.errors import UserError

JudgeName = Literal["cnn", "gru", "trees"]


def _uniform(shape: tuple[int, ...], fan_in: int, generator: torch.Generator) -> nn.Parameter:
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter((torch.rand(shape, generator=generator) * 2 - 1) * bound)


class ConvJudges(nn.Module):
    """1-D convolutions 32-32-48 of width 3 with ReLU, mean and max over time, dropout, one logit; J
    of them abreast.

    Args:
        judges: J.
        channels: features per step.
        generator: source of the initial weights (uniform, 1/sqrt(fan in)) and of the dropout masks.
        dropout: probability of dropping a pooled feature in training.
    """

    widths = (32, 32, 48)
    lr = 2e-3

    def __init__(
        self, judges: int, channels: int, generator: torch.Generator, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.judges, self.dropout, self.generator = judges, dropout, generator
        sizes = list(zip((channels, *self.widths), self.widths, strict=False))
        self.weights = nn.ParameterList(
            [_uniform((judges * o, c, 3), 3 * c, generator) for c, o in sizes]
        )
        self.biases = nn.ParameterList(
            [_uniform((judges * o,), 3 * c, generator) for c, o in sizes]
        )
        pooled = 2 * self.widths[-1]
        self.head = _uniform((judges, pooled), pooled, generator)
        self.head_bias = _uniform((judges, 1), pooled, generator)

    def forward(
        self, x: Float32[Tensor, "judges batch steps channels"]
    ) -> Float32[Tensor, "judges batch"]:
        judges, batch, steps, channels = x.shape
        y = x.permute(1, 0, 3, 2).reshape(batch, judges * channels, steps)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            y = F.relu(F.conv1d(y, weight, bias, padding=1, groups=judges))
        y = y.reshape(batch, judges, self.widths[-1], steps)
        y = torch.cat([y.mean(-1), y.amax(-1)], dim=-1).transpose(0, 1)
        y = _dropout(y, self.dropout, self.training, self.generator)
        return torch.einsum("jbf,jf->jb", y, self.head) + self.head_bias


class RecurrentJudges(nn.Module):
    """GRU of 32 units (Cho et al. 2014), its last and its mean state, dropout, one logit; J of them
    abreast.

    The mean state lets the gradient reach every step at once; without it 300 steps leave the judge
    half trained.
    """

    width = 32
    lr = 5e-3

    def __init__(
        self, judges: int, channels: int, generator: torch.Generator, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.dropout, self.generator = dropout, generator
        h = self.width
        self.input = _uniform((judges, channels, 3 * h), h, generator)
        self.input_bias = _uniform((judges, 1, 3 * h), h, generator)
        self.state = _uniform((judges, h, 3 * h), h, generator)
        self.state_bias = _uniform((judges, 1, 3 * h), h, generator)
        self.head = _uniform((judges, 2 * h), 2 * h, generator)
        self.head_bias = _uniform((judges, 1), 2 * h, generator)

    def forward(
        self, x: Float32[Tensor, "judges batch steps channels"]
    ) -> Float32[Tensor, "judges batch"]:
        judges, batch, steps, channels = x.shape
        by_step = x.transpose(1, 2).reshape(judges, steps * batch, channels)
        inputs = torch.baddbmm(self.input_bias, by_step, self.input)
        gates = inputs.reshape(judges, steps, batch, 3 * self.width).unbind(1)
        h = x.new_zeros(judges, batch, self.width)
        total = h
        for gate in gates:
            recurrent = torch.baddbmm(self.state_bias, h, self.state)
            zr = torch.sigmoid(gate[..., : -self.width] + recurrent[..., : -self.width])
            update, reset = zr.chunk(2, dim=-1)
            new = torch.tanh(gate[..., -self.width :] + reset * recurrent[..., -self.width :])
            h = torch.lerp(new, h, update)
            total = total + h
        y = torch.cat([h, total / steps], dim=-1)
        y = _dropout(y, self.dropout, self.training, self.generator)
        return torch.einsum("jbf,jf->jb", y, self.head) + self.head_bias


def _dropout(x: Tensor, p: float, training: bool, generator: torch.Generator) -> Tensor:
    """Inverted dropout from an explicit generator (``F.dropout`` reads the global one)."""
    if not training or p == 0:
        return x
    return x * (torch.rand(x.shape, generator=generator) >= p) / (1 - p)


JUDGES: dict[str, type[ConvJudges] | type[RecurrentJudges]] = {
    "cnn": ConvJudges,
    "gru": RecurrentJudges,
}


def train_judges(
    windows: Float32[Tensor, "windows steps channels"],
    generated: Bool[Tensor, "judges windows"],
    train: Bool[Tensor, "judges windows"],
    *,
    judge: JudgeName = "cnn",
    seed: int = 0,
    steps: int = 300,
    batch: int = 128,
    weight_decay: float = 1e-4,
) -> Float64[Tensor, "judges windows"]:
    """Trains one judge per row and returns its logits (high = "generated") for all windows.

    Args:
        windows: the pool; judges differ in what they take from it.
        generated: each judge's truth: which windows count as generated.
        train: which windows each judge may learn from. Batches hold both classes in equal parts
            whatever their sizes.
        judge: ``cnn``, ``gru`` or ``trees`` (``trees.train_trees``).
        seed: of weights, batches and dropout; the global generator is left alone.
        steps, batch, weight_decay: Adam, the rate falling linearly to 0 from the judge's own; trees
            have no use for them.

    Raises:
        UserError: an unknown judge, one that is not installed, or a judge with fewer than two
            training windows of a class.
    """
    if judge not in JUDGES and judge != "trees":
        raise UserError(f"judge {judge!r} is unknown; use one of {', '.join(JUDGES)}, trees")
    judges, half = generated.shape[0], batch // 2
    classes = [_members(train & ~generated), _members(train & generated)]
    if judge == "trees":
        return train_trees(windows, generated, train, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    model = JUDGES[judge](judges, windows.shape[-1], generator)
    optimiser = torch.optim.Adam(model.parameters(), lr=model.lr, weight_decay=weight_decay)
    target = torch.cat([torch.zeros(judges, half), torch.ones(judges, half)], dim=1)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = model.lr * (1 - step / steps)
        picked = [_draw(members, count, half, generator) for members, count in classes]
        logits = model(windows[torch.cat(picked, dim=1)])
        # Sum over judges of each one's mean: their gradients never meet, so each trains as if
        # alone.
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / batch
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        pieces = [model(piece.expand(judges, *piece.shape)) for piece in windows.split(256)]
    return torch.cat(pieces, dim=1).to(torch.float64)


def _members(mask: Bool[Tensor, "judges windows"]) -> tuple[Tensor, Tensor]:
    """Per judge the indices where ``mask`` holds, left-aligned in one table, and how many there
    are."""
    count = mask.sum(1)
    if int(count.min()) < 2:
        raise UserError(
            f"a judge has {int(count.min())} training windows of a class; give more windows or a "
            "smaller purge"
        )
    order = torch.argsort(mask.to(torch.int8), dim=1, descending=True, stable=True)
    return order[:, : int(count.max())], count


def _draw(members: Tensor, count: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n members per judge, with replacement."""
    uniform = torch.rand((members.shape[0], n), generator=generator, dtype=torch.float64)
    return members.gather(1, (uniform * count[:, None]).to(torch.int64))
