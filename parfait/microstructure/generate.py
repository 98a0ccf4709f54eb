"""``Microstructure``: history + guide + regime -> bars that follow the guide exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.microstructure.chunks import plan_chunks
from parfait.microstructure.codec import N_CHANNELS, RETURN, VOLUME
from parfait.microstructure.constraint import Segments, close_path, guide_increments
from parfait.microstructure.features import VOLATILITY, bar_features, window_features
from parfait.microstructure.model import DenoiserModel
from parfait.microstructure.noise import Mix, unit_noise
from parfait.microstructure.pace import guide_pace
from parfait.microstructure.samplers import SAMPLERS
from parfait.microstructure.units import course_of, unit_of
from parfait.microstructure.window import History, no_history, read_history
from parfait.regime import FIELD_NAMES, Regime
from parfait.sde import Guide
from parfait.utils.errors import UserError
from parfait.utils.threads import one_thread

DEFAULT_SAMPLER = "angle_euler"
DEFAULT_STEPS = {"dpmpp_2m": 10, "angle_euler": 6, "heun": 10, "euler": 40}

# Convolutions round differently at different batch sizes, so every forward has this many rows (the
# last batch padded): a path's bytes then do not depend on how many others are generated with it.
MICRO_BATCH = 64


@dataclass(frozen=True)
class Microstructure:
    """The generator of bars; ``load`` one, then ``generate``."""

    model: DenoiserModel

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Microstructure":
        """A trained model folder or run; ``None`` is the embedded default. ``UserError`` if bad."""
        return cls(DenoiserModel.load(path))

    @property
    def fingerprint(self) -> str:
        """sha256 of the model."""
        return self.model.fingerprint()

    @property
    def history_length(self) -> int:
        """Bars of history that are used."""
        return self.model.history_length

    @torch.inference_mode()
    def generate(
        self,
        history: Float64[Tensor, "*each bars 5"] | None,
        guide: Guide | None,
        regime: Regime | None,
        *,
        bars_per_year: float,
        generator: torch.Generator,
        shape: tuple[int, int] | None = None,
        sampler: str = DEFAULT_SAMPLER,
        steps: int | None = None,
        first_path: int = 0,
        spot: float | None = None,
        mix: Mix | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Float64[Tensor, "paths steps 5"]:
        """Bars (open, high, low, close, volume) whose close equals the guide at anchored steps.

        Horizons beyond the trained one roll by chunks under one guide: generated bars become
        history, the unit of returns follows the regime so that errors of scale cannot compound. A
        guided path has an extra anchor where a chunk must be cut and has none.

        Args:
            history: past bars, (bars, 5) shared by all paths or (paths, bars, 5) one for each;
                ``None`` starts from the regime's volatility alone.
            guide: levels and anchors; ``None`` leaves every bar free, for as many as ``shape``.
            regime: one per path, or of shape (steps, paths) where it changes from bar to bar; a
                chunk is told the average over its bars (``Regime.over``). ``None`` for neutral
                generation.
            bars_per_year: of the bars to generate.
            generator: one integer is taken from it; path i then has a stream of its own.
            shape: (paths, steps) where there is no guide.
            sampler, steps: name in ``SAMPLERS`` and number of steps.
            first_path: number of the first path, for runs split over workers.
            spot: last price when there is no history.
            mix: this asset among several that are generated one by one, each with a generator in
                the same state: their noise is correlated, so their bars are between anchors too.
                Give them the same anchors, see ``docs/microstructure.md``.
            progress: called with the number of windows finished.

        Raises:
            UserError: unknown sampler, misshapen regime, neither guide nor shape, no history and no
                volatility.
        """
        level, anchored = _guided(guide, shape)
        n, horizon = level.shape
        solve, steps = _sampler(sampler, steps)
        if regime is not None and regime.shape not in ((n,), (horizon, n)):
            raise UserError(
                f"the regime has shape {regime.shape}, the guide has {n} paths of {horizon} bars"
            )
        seed = int(torch.randint(2**62, (), generator=generator))
        close = self._spot(history, regime, spot)
        if history is not None:  # what is not looked at must not be copied for every path
            history = history[..., -(self.history_length + 1) :, :]
        past = None if history is None else self._read(_batched(history))
        sigmas = self.model.diffusion.grid(steps)
        done: list[Tensor] = []
        for number, (begin, end, cut) in enumerate(plan_chunks(anchored, self.model.max_horizon)):
            if done:
                recent = torch.cat(done, dim=1)
                seen = recent if history is None else _append(history, recent)
                past = self._read(seen)
            unit = unit_of(past, regime, begin, end, bars_per_year, n)
            told = None if regime is None else regime.over(begin, end)
            course = course_of(regime, begin, end, bars_per_year, n)
            if past is None:
                past = no_history(unit, close.expand(n), self.history_length)
            bars = torch.empty(n, end - begin, N_CHANNELS, dtype=torch.float64)
            for low in range(0, n, MICRO_BATCH):
                rows = torch.arange(low, low + MICRO_BATCH).clamp_max(n - 1)
                noise = unit_noise(seed, number, first_path + rows, end - begin, mix)
                with one_thread():
                    x = self._chunk(
                        _pick(past, rows),
                        unit[rows],
                        course[rows],
                        level[rows, begin:end],
                        cut[rows],
                        _pick_regime(told, rows),
                        bars_per_year,
                        noise,
                        lambda denoise, start: solve(denoise, start, sigmas),
                    )
                keep = min(MICRO_BATCH, n - low)
                bars[low : low + keep] = x[:keep]
                if progress is not None:
                    progress(keep)
            if history is not None:
                # A source without volume gets bars without volume, not invented ones.
                bars[..., 4] *= (history[..., 4] > 0).any(-1).reshape(-1, 1)
            done.append(bars)
        return torch.cat(done, dim=1)

    @torch.inference_mode()
    def unfamiliarity(
        self,
        history: Float64[Tensor, "*each bars 5"] | None,
        guide: Guide,
        regime: Regime | None,
        *,
        bars_per_year: float,
        spot: float | None = None,
    ) -> Float64[Tensor, " paths"]:
        """Share of training's guides that lie nearer to their middle than each path's guide.

        Uniform on [0, 1] for guides like those of training; close to 1 the network guesses. Of a
        horizon of several windows the farthest counts, as the maximum of so many uniforms.
        See ``familiarity``; arguments as for ``generate``.
        """
        level, anchored = guide.level.to(torch.float64), guide.anchored
        n = level.shape[0]
        start = self._spot(history, regime, spot).expand(n)
        past = None if history is None else self._read(_batched(history))
        plan = plan_chunks(anchored, self.model.max_horizon)
        farthest = torch.zeros(n, dtype=torch.float64)
        for begin, end, cut in plan:
            unit = unit_of(past, regime, begin, end, bars_per_year, n)
            segments = Segments.from_anchors(cut)
            course = course_of(regime, begin, end, bars_per_year, n)
            scale = unit[:, None] * segments.root_mean_square(course)
            demanded = guide_increments(level[:, begin:end], segments, start)
            moves = demanded / scale * segments.length.sqrt()
            farthest = torch.maximum(farthest, self.model.familiarity.quantile(moves, segments))
            start = level[:, end - 1]
        return farthest ** len(plan)

    def _read(self, bars: Tensor) -> History:
        return read_history(bars, self.history_length, self.model.codec)

    @staticmethod
    def _spot(history: Tensor | None, regime: Regime | None, spot: float | None) -> Tensor:
        if history is not None:
            return history[..., -1, 3]
        if regime is None or spot is None:
            raise UserError("without a history, generation needs a regime and a spot price")
        return torch.tensor([float(spot)], dtype=torch.float64)

    def _chunk(
        self,
        past: History,
        unit: Tensor,
        course: Tensor,
        level: Tensor,
        anchored: Tensor,
        regime: Regime | None,
        bars_per_year: float,
        noise: Tensor,
        solve: Callable[[Callable[[Tensor, float], Tensor], Tensor], Tensor],
    ) -> Tensor:
        """One micro-batch of windows up to the trained horizon."""
        model, n = self.model, level.shape[0]
        segments = Segments.from_anchors(anchored)
        close = past.last_close.expand(n)
        # A regime that changes inside the window is dressed in a scale of its own, and so is each
        # segment as its moves tell: the network sees bars of one volatility. Constant within a
        # segment, the scale leaves sums over it to the guide.
        scale = unit[:, None] * segments.root_mean_square(course)
        demanded = guide_increments(level, segments, close)
        moves = demanded / scale * segments.length.sqrt()
        told = torch.full((n,), regime is not None)
        pace = guide_pace(moves, segments, past.recent.expand(n), told)
        scale = scale * pace
        base = (demanded / (scale * model.codec.return_unit)).to(torch.float32)
        frequency = torch.full((n,), float(bars_per_year), dtype=torch.float64)
        relative = torch.zeros(n, len(FIELD_NAMES), dtype=torch.float64)
        given = torch.zeros_like(relative, dtype=torch.bool)
        if regime is not None:
            z = regime.to_unconstrained()
            z[:, VOLATILITY] = torch.log(unit) + 0.5 * torch.log(frequency)
            relative, given = model.scaling.relative(z, unit, frequency), ~given
        low, high = model.volatility_range
        told = window_features(
            past,
            (unit / past.scale).clamp(low, high) * past.scale,  # told no ratio it never saw
            torch.zeros(n),
            frequency,
            model.scaling.features(relative, given),
            pace,
        )
        features = bar_features(base, segments, pace)
        tokens = model.net.encode_history(past.codes, past.mask)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return model.denoise(x, sigma, segments, features, told, tokens)

        start = segments.project(noise) * (model.diffusion.sigma_max**2 + 1) ** 0.5
        x = solve(denoise, start)
        returns = (base + segments.project(x)[:, RETURN]) * model.codec.return_unit
        closes = close_path(returns, level, segments, close, scale)
        untraded = (past.codes[:, VOLUME] < model.codec.no_volume_below).any(-1)
        events = past.zero_gaps.expand(n), untraded.expand(n)
        return model.codec.decode(x, closes, close, scale, past.log_volume.expand(n), *events)


def _guided(guide: Guide | None, shape: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """Levels and anchors; of free bars no level is ever read."""
    if guide is not None:
        return guide.level.to(torch.float64), guide.anchored
    if shape is None or min(shape) < 1:
        raise UserError(f"without a guide, shape = {shape} must name paths and steps, 1 or more")
    return torch.ones(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.bool)


def _sampler(name: str, steps: int | None) -> tuple[Callable, int]:
    if name not in SAMPLERS:
        raise UserError(f"sampler {name!r} is unknown; use one of {', '.join(SAMPLERS)}")
    steps = DEFAULT_STEPS[name] if steps is None else steps
    if not 1 <= steps <= 1000:
        raise UserError(f"sampler steps = {steps} must be within [1, 1000]")
    return SAMPLERS[name], steps


def _append(history: Tensor, generated: Tensor) -> Tensor:
    past = _batched(history).expand(generated.shape[0], -1, -1)
    return torch.cat([past, generated], dim=1)


def _batched(history: Tensor) -> Tensor:
    return history if history.ndim == 3 else history[None]


def _pick(past: History, rows: Tensor) -> History:
    """The rows of a batch; a single shared history stays single, so its tokens are encoded once."""
    if past.codes.shape[0] == 1:
        return past
    return History(*(getattr(past, name)[rows] for name in History.__dataclass_fields__))


def _pick_regime(regime: Regime | None, rows: Tensor) -> Regime | None:
    return None if regime is None else regime[rows]
