"""How fast are bars sampled? Against a clean-room stand-in for a plain 1000-step diffusion.

    python benchmarks/sampling.py [--run FOLDER] [--skip-full]

The stand-in has the usual shape of a first design: ancestral DDPM sampling (Ho et al. 2020) with
1000 steps and an attentive 1-D U-Net of widths 128 x (1, 2, 4), random weights (speed does not
depend on them). Both sides make windows of 32 bars from a history, in CPU time of one thread,
interleaved, median of the repeats. A step of the stand-in costs the same at every noise level, so
its time per batch is 1000 x the mean of a few steps; one full run checks that.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from _common import (  # pyright: ignore[reportImplicitRelativeImport]
    Table,
    cpu_seconds,
    load_model,
    run,
    write_results,
)
from torch import Tensor, nn

from parfait.evaluation.windows import HORIZON, load_split
from parfait.microstructure import Microstructure
from parfait.microstructure.generate import DEFAULT_SAMPLER, DEFAULT_STEPS

CHANNELS, CONDITIONS, DDPM_STEPS = 5, 11, 1000
CONTENDERS = (*DEFAULT_STEPS.items(), ("dpmpp_2m", 6))
TARGET = 800


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU and a 3-tap convolution, twice, with the time embedding between."""

    def __init__(self, inputs: int, outputs: int, time_width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(8, inputs), nn.SiLU(), nn.Conv1d(inputs, outputs, 3, padding=1)
        )
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(time_width, outputs))
        self.second = nn.Sequential(
            nn.GroupNorm(8, outputs), nn.SiLU(), nn.Conv1d(outputs, outputs, 3, padding=1)
        )
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.skip(x) + self.second(self.first(x) + self.time(t)[..., None])


class Attention(nn.Module):
    """Self-attention over the bars, four heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.inputs, self.output = nn.Conv1d(width, 3 * width, 1), nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.inputs(self.norm(x)).unflatten(1, (3, 4, -1)).transpose(-1, -2).unbind(1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.output(mixed.transpose(-1, -2).flatten(1, 2))


class PlainUNet(nn.Module):
    """Widths 128 x (1, 2, 4), two residual blocks and attention on each level, down and up."""

    def __init__(self, width: int = 128, multiples: tuple[int, ...] = (1, 2, 4)) -> None:
        super().__init__()
        widths, time_width = [width * m for m in multiples], 3 * width
        self.width = width
        self.time = nn.Sequential(
            nn.Linear(width, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        )
        self.stem = nn.Conv1d(CHANNELS + CONDITIONS, width, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        before = width
        for i, w in enumerate(widths):
            last = i == len(widths) - 1
            self.down.append(_level(before, w, time_width))
            self.shrink.append(nn.Identity() if last else nn.Conv1d(w, w, 3, 2, 1))
            before = w
        self.middle = ResidualBlock(before, before, time_width)
        for i, w in reversed(list(enumerate(widths))):
            after = widths[i - 1] if i else w
            self.up.append(_level(2 * w, w, time_width))
            self.grow.append(nn.ConvTranspose1d(w, after, 4, 2, 1) if i else nn.Identity())
        self.head = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv1d(width, CHANNELS, 3, padding=1)
        )

    def forward(self, x: Tensor, condition: Tensor, step: Tensor) -> Tensor:
        rates = torch.exp(-9.2 * torch.arange(self.width // 2) / (self.width // 2))
        angles = step[:, None] * rates
        t = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        x = self.stem(torch.cat([x, condition], dim=1))
        kept = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            x = _run(blocks, x, t)
            kept.append(x)
            x = shrink(x)
        x = self.middle(x, t)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            x = grow(_run(blocks, torch.cat([x, kept.pop()], dim=1), t))
        return self.head(x)


def _level(inputs: int, width: int, time_width: int) -> nn.ModuleList:
    first, second = (ResidualBlock(c, width, time_width) for c in (inputs, width))
    return nn.ModuleList([first, second, Attention(width)])


def _run(level: nn.Module, x: Tensor, t: Tensor) -> Tensor:
    first, second, attention = level.children()
    return attention(second(first(x, t), t))


@torch.inference_mode()
def ancestral(net: PlainUNet, batch: int, steps: int) -> Tensor:
    """The first ``steps`` of 1000 ancestral DDPM steps (Ho et al. 2020, algorithm 2)."""
    generator = torch.Generator().manual_seed(0)
    beta = torch.linspace(1e-4, 0.02, DDPM_STEPS)
    kept = (1 - beta).cumprod(0)
    x = torch.randn(batch, CHANNELS, HORIZON, generator=generator)
    condition = torch.randn(batch, CONDITIONS, HORIZON, generator=generator)
    for t in range(DDPM_STEPS - 1, DDPM_STEPS - 1 - steps, -1):
        noise = net(x, condition, torch.full((batch,), float(t)))
        x = (x - beta[t] / (1 - kept[t]).sqrt() * noise) / (1 - beta[t]).sqrt()
        if t > 0:
            x = x + beta[t].sqrt() * torch.randn(x.shape, generator=generator)
    return x


def measure(
    model: Microstructure, net: PlainUNet, windows: int, batches: tuple[int, ...], repeats: int
) -> dict[str, list[float]]:
    """Windows per CPU second by name, one number per interleaved repeat."""
    held = load_split(stride=1).held
    held = held.rows(torch.linspace(0, len(held) - 1, windows).round().long())
    guide = held.guide()

    def ours(sampler: str, steps: int) -> float:
        given = {"bars_per_year": held.bars_per_year, "sampler": sampler, "steps": steps}
        generator = torch.Generator().manual_seed(0)
        work = lambda: model.generate(held.history, guide, None, generator=generator, **given)  # noqa: E731
        return windows / cpu_seconds(work)

    def theirs(batch: int) -> float:
        counted = max(4, 320 // batch)
        return batch / (cpu_seconds(lambda: ancestral(net, batch, counted)) / counted * DDPM_STEPS)

    jobs: dict[str, Callable[[], float]] = {
        f"stand-in, batch {b}": lambda b=b: theirs(b) for b in batches
    } | {f"{s} {n}": lambda s=s, n=n: ours(s, n) for s, n in CONTENDERS}
    speeds: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(repeats + 1):
        for name, job in jobs.items():
            speed = job()
            if repeat:  # the first round warms up
                speeds[name].append(speed)
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", default="embedded", help="a training run, or 'embedded'")
    parser.add_argument("--windows", type=int, default=256, help="windows per measurement of ours")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip-full", action="store_true", help="without the full 1000-step run")
    parser.add_argument("--output", default="outputs/benchmarks", help="folder of the files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.run)
    net = PlainUNet().eval()
    theirs, ours = (sum(p.numel() for p in m.parameters()) for m in (net, model.model.net))
    print(f"stand-in: {theirs / 1e6:.2f} M parameters; ours: {ours / 1e6:.2f} M")
    speeds = measure(model, net, arguments.windows, (16, 64), arguments.repeats)
    median = {name: statistics.median(values) for name, values in speeds.items()}
    base = max(speed for name, speed in median.items() if name.startswith("stand-in"))
    table = Table(
        f"Windows of {HORIZON} bars per CPU-second, one thread, median of {arguments.repeats}",
        ("", "windows/CPU-s", "min", "max", "ratio to the stand-in's best"),
    )
    for name, speed in median.items():
        low, high = min(speeds[name]), max(speeds[name])
        digits = 3 if name.startswith("stand-in") else 0
        cells = (f"{x:.{digits}f}" for x in (speed, low, high))
        table.add(name, *cells, f"{speed / base:.0f} x")
    full = None
    if not arguments.skip_full:
        start = time.process_time()
        ancestral(net, 16, DDPM_STEPS)
        full = 16 / (time.process_time() - start)
        table.add("stand-in, one full run of 16", f"{full:.3f}", "", "", f"{full / base:.2f} x")
    table.print()
    default = f"{DEFAULT_SAMPLER} {DEFAULT_STEPS[DEFAULT_SAMPLER]}"
    print(
        f"The stand-in's medians extrapolate from counted steps of {DDPM_STEPS}; ours are whole "
        f"calls of generate. The default, {default}: {median[default] / base:.0f} x "
        f"(target {TARGET} x)."
    )
    data = {
        "parameters": {"stand-in": theirs, "ours": ours},
        "windows": arguments.windows,
        "windows_per_cpu_second": speeds,
        "full_run": full,
        "model": model.fingerprint,
    }
    write_results(arguments.output, "sampling", [table], data)


if __name__ == "__main__":
    run(main)
