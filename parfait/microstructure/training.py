"""From windows of real bars to what one training step needs: anchors, codes, conditions.

Everything random comes from one generator, so a step is a function of (windows, seed).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from parfait.labels import Labels, label_windows
from parfait.microstructure.codec import MIN_SCALE, RETURN, BarCodec
from parfait.microstructure.constraint import Segments
from parfait.microstructure.features import (
    VOLATILITY,
    RegimeScaling,
    bar_features,
    jitter,
    window_features,
)
from parfait.microstructure.pace import guide_pace
from parfait.microstructure.window import History, read_history
from parfait.regime import N_FIELDS


@dataclass(frozen=True)
class Augmentation:
    """What is varied so that one small network serves every use and does not memorise.

    Sixty bars of five exact numbers identify a training window, and a network that recognises the
    past recalls its future; history noise, blanked patches and dropped histories prevent that.

    Args:
        history_noise: sd of the noise on history codes, applied to a share ``noisy`` of windows.
        noisy: share of windows whose history is noised.
        blank_patch: probability that a history patch is blanked.
        drop_history: probability that the whole history is dropped.
        drop_regime: probability that the regime is withheld; the unit s' of the future is then that
            of the history. Otherwise it is the regime's volatility per bar.
        drop_field: probability that a field other than the volatility is withheld.
        unit_jitter: sd of the noise on ln s'.
        max_delta: largest jitter of the guide features, see ``features.jitter``.
    """

    history_noise: float = 0.3
    noisy: float = 0.8
    blank_patch: float = 0.3
    drop_history: float = 0.2
    drop_regime: float = 0.5
    drop_field: float = 0.5
    unit_jitter: float = 0.2
    max_delta: float = 0.2


NO_AUGMENTATION = Augmentation(0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)

# Share of training windows by anchor spacing: dressing, every 2, 4, 8, 16 bars, terminal, none.
_SPACINGS = (1, 2, 4, 8, 16, 0, -1)
_SPACING_SHARES = (0.1, 0.1, 0.4, 0.15, 0.1, 0.1, 0.05)


@dataclass(frozen=True)
class Batch:
    """One training step: clean codes in the null space, and everything the network is told.

    ``moves`` are those of the guide in units of s', for ``familiarity``.
    """

    clean: Float[Tensor, "windows 5 bars"]
    segments: Segments
    bar_features: Float[Tensor, "windows features bars"]
    window_features: Float[Tensor, "windows globals"]
    history: History
    moves: Float64[Tensor, "windows bars"]

    def to(self, device: torch.device) -> "Batch":
        """What the network and the loss read, on another device; batches are made on the CPU."""
        if self.clean.device == device:
            return self
        move = {name: getattr(self.segments, name).to(device) for name in vars(self.segments)}
        past = replace(
            self.history,
            codes=self.history.codes.to(device),
            mask=self.history.mask.to(device),
        )
        return Batch(
            self.clean.to(device),
            Segments(**move),
            self.bar_features.to(device),
            self.window_features.to(device),
            past,
            self.moves,
        )


def make_batch(
    bars: Float64[Tensor, "windows bars 5"],
    bars_per_year: Float64[Tensor, " windows"],
    history_length: int,
    codec: BarCodec,
    scaling: RegimeScaling,
    generator: torch.Generator,
    augmentation: Augmentation = NO_AUGMENTATION,
    patch: int = 5,
    anchored: Bool[Tensor, "windows horizon"] | None = None,
) -> Batch:
    """Splits windows of 1 + history + horizon bars into past and future and encodes both.

    Args:
        bars: valid bars, oldest first.
        bars_per_year: per window.
        history_length: H; what follows is the horizon.
        patch: bars per history token, the unit in which histories are blanked.
        anchored: anchor sets; ``None`` draws them at random (``draw_anchors``).
    """
    past, future = bars[:, : history_length + 1], bars[:, history_length + 1 :]
    n = future.shape[0]
    history = read_history(past, history_length, codec, generator)
    labels = label_windows(bars[:, history_length:], bars_per_year)
    z = draw_labels(labels, generator)
    given = _keep(n, augmentation, generator)
    returns = close_returns(history.last_close, future)
    if anchored is None:
        size = returns.square().mean(1).sqrt().clamp_min(MIN_SCALE)
        ordinary = torch.where(given[:, VOLATILITY], size, history.scale)
        anchored = draw_anchors((returns / ordinary[:, None]).to(torch.float32), generator)
    segments = Segments.from_anchors(anchored)
    # With a regime its volatility *is* the unit, so that the network answers in multiples of it and
    # a wilder regime scales the bars; without one the unit is the past's.
    told = told_unit(returns, segments)
    # What the ranges know as well. At inference both are the regime's, so wicks and gaps are those
    # of windows in which they agree, and no past is needed to tell them apart.
    z[:, VOLATILITY] = torch.log(labels.total_volatility)
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    jittered = history.scale * torch.exp(augmentation.unit_jitter * noise)
    # A window that stands still has no volatility to be the unit.
    unit = torch.where(given[:, VOLATILITY], told, jittered).clamp_min(MIN_SCALE)
    returns = returns / unit[:, None]
    moves = segments.spread(returns) * segments.length.sqrt()
    pace = guide_pace(moves, segments, history.recent, given[:, VOLATILITY])
    scale = unit[:, None] * pace
    codes = codec.encode(future, history.last_close, scale, history.log_volume, generator)
    history = _augment_history(history, augmentation, patch, generator)
    increments = segments.spread(codes[:, RETURN])
    delta = augmentation.max_delta * torch.rand(n, generator=generator)
    features = bar_features(jitter(increments, segments, delta, generator), segments, pace)
    regime = scaling.features(scaling.relative(z, unit, bars_per_year), given)
    return Batch(
        clean=segments.project(codes),
        segments=segments,
        bar_features=features,
        window_features=window_features(history, unit, delta, bars_per_year, regime, pace),
        history=history,
        moves=moves,
    )


def draw_labels(labels: Labels, generator: torch.Generator) -> Float64[Tensor, "windows 11"]:
    """One draw of each window's label posterior, unconstrained coordinates.

    A draw, not the mean, so that the network does not trust a regime more than a label deserves. A
    label is what a window *realised*, at inference it is what a process *expects*: the difference
    between the two comes from the guide.

    The volatility is the total one: it is the unit of all returns of the window.
    """
    noise = torch.randn(labels.loc.shape, generator=generator, dtype=torch.float64)
    z = labels.loc + labels.scale * noise
    z[:, VOLATILITY] = labels.total_volatility.log() + labels.total_spread * noise[:, VOLATILITY]
    return z


def told_unit(
    returns: Float64[Tensor, "windows horizon"], segments: Segments
) -> Float64[Tensor, " windows"]:
    """u, the volatility per bar that a window's regime is said to have: its null-space returns in
    units of u w have mean square 1.

    A draw of the label posterior would be off at random, so that a network that knows the past
    would rightly move every answer towards it; the window's total deviation would make the bars
    calm where the guide is lively. With u, bars between anchors have the volatility that is asked
    for, whatever the past, and more of it where the guide moves more. Four steps to the fixed
    point, from the root mean square of all returns, where it stays if no return is free.
    """
    null = returns - segments.spread(returns)
    moves = segments.spread(returns) * segments.length.sqrt()
    freedom = segments.degrees_of_freedom.double()
    unit = returns.square().mean(1).sqrt().clamp_min(MIN_SCALE)
    known = torch.ones_like(unit), torch.ones_like(unit, dtype=torch.bool)
    for _ in range(4):
        pace = guide_pace(moves / unit[:, None], segments, *known)
        square = (null / pace).square().sum(1) + unit.square()
        unit = (square / (freedom + 1)).sqrt().clamp_min(MIN_SCALE)
    return unit


def _keep(
    n: int, augmentation: Augmentation, generator: torch.Generator
) -> Bool[Tensor, "windows 11"]:
    """Which fields each window is told."""
    regime = torch.rand(n, 1, generator=generator) >= augmentation.drop_regime
    field = torch.rand(n, N_FIELDS, generator=generator) >= augmentation.drop_field
    field[:, VOLATILITY] = True
    return regime & field


def _augment_history(
    history: History, augmentation: Augmentation, patch: int, generator: torch.Generator
) -> History:
    n, _, length = history.codes.shape
    noisy = torch.rand(n, 1, 1, generator=generator) < augmentation.noisy
    noise = torch.randn(history.codes.shape, generator=generator) * augmentation.history_noise
    dropped = torch.rand(n, 1, generator=generator) < augmentation.drop_history
    patches = torch.rand(n, -(-length // patch), generator=generator) < augmentation.blank_patch
    blank = patches.repeat_interleave(patch, dim=1)[:, :length] | dropped
    return replace(
        history,
        codes=history.codes + torch.where(noisy, noise, 0.0),
        mask=history.mask * (~blank),
        summary=history.summary * (~dropped),
    )


def close_returns(
    previous_close: Float64[Tensor, " windows"], bars: Float64[Tensor, "windows horizon 5"]
) -> Float64[Tensor, "windows horizon"]:
    """ln C_t / C_{t-1}."""
    return torch.log(torch.cat([previous_close[:, None], bars[..., 3]], dim=1)).diff(dim=1)


def regular_anchors(windows: int, horizon: int, every: int) -> Bool[Tensor, "windows horizon"]:
    """Every ``every``-th bar and always the last; 0 anchors the last alone, -1 none."""
    step = torch.arange(1, horizon + 1)
    if every < 0:
        row = torch.zeros(horizon, dtype=torch.bool)
    else:
        row = (step % every == 0) if every > 0 else torch.zeros(horizon, dtype=torch.bool)
        row = row | (step == horizon)
    return row.expand(windows, horizon).clone()


def draw_anchors(
    returns: Float[Tensor, "windows horizon"], generator: torch.Generator
) -> Bool[Tensor, "windows horizon"]:
    """Random anchor sets: half regular, half irregular with geometric lengths.

    In half of the windows large moves (beyond 2.5 units) are cut out as segments of one bar, as the
    jumps of a guide are at inference.
    """
    n, horizon = returns.shape
    rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    choices = torch.stack([regular_anchors(1, horizon, k)[0] for k in _SPACINGS])
    shares = torch.tensor(_SPACING_SHARES)
    picked = torch.multinomial(shares, n, replacement=True, generator=generator)
    regular = choices[picked]
    mean_length = 2.0 + 14.0 * rand(n, 1)
    irregular = rand(n, horizon) < 1 / mean_length
    irregular[:, -1] |= rand(n) < 0.9
    is_regular = rand(n, 1) < 0.5
    anchored = torch.where(is_regular, regular, irregular)
    unguided = is_regular[:, 0] & (picked == _SPACINGS.index(-1))
    jump = (returns.abs() > 2.5) & (rand(n, 1) < 0.5) & ~unguided[:, None]
    before = torch.nn.functional.pad(jump[:, 1:], (0, 1))
    return anchored | jump | before
