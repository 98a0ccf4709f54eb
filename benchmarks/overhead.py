"""What loggers, callbacks and progress bars cost a training, and how long it waits for data.

    OMP_NUM_THREADS=1 python benchmarks/overhead.py [--rounds 7] [--models unet1d labeler]

Every round trains each variant for so many steps, in turn and in one process; the order changes
from round to round. Figures are ratios of processor time of all threads between the first step and
the last one, checkpoints and validations included, against the bare trainer of the same round:
median, and the quartiles. Other work on the machine blurs them, so that the shares of the run with
everything are told, too: processor time inside hooks of callbacks (checkpoints are written there),
of the progress bar and inside loggers, over that of the run. W&B writes from a process of its own,
which does not count. The share of waiting is the loader's part of an epoch by the profiler of the
preset ``debug=profiler``.
"""

import argparse
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

from _common import Table, run
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import ProgressBar

from parfait.stages.callbacks import FiniteLoss
from parfait.stages.train import train
from parfait.utils.paths import conf_dir

BARE = "bare"
VARIANTS = {
    BARE: ["logger=none", "callbacks=none", "trainer.enable_progress_bar=false"],
    "callbacks": ["logger=none", "trainer.enable_progress_bar=false"],
    "callbacks, CSV": ["trainer.enable_progress_bar=false"],
    "callbacks, CSV, progress bar": [],
    "callbacks, CSV, progress bar, W&B offline": ["logger=wandb", "logger.wandb.mode=offline"],
}
EVERYTHING = list(VARIANTS)[-1]
KINDS = ("callbacks", "progress bar", "loggers")
MODELS = {
    "unet1d": ["data.validation_windows=64"],
    "labeler": ["model.calibration_windows=64", "data.bars=15360"],
}
_DATA, _EPOCH = "[_TrainingEpochLoop].train_dataloader_next", "run_training_epoch"


class Terminal:
    """A stream that says it is a terminal, so that bars are drawn, and shows nothing."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def isatty(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def unseen() -> Any:
    """Standard output and error go nowhere, as to a terminal."""
    errors = sys.stderr
    with open(os.devnull, "w") as file, redirect_stdout(file):  # noqa: PTH123
        sys.stderr = Terminal(file)  # pyright: ignore[reportAttributeAccessIssue]
        try:
            yield
        finally:
            sys.stderr = errors


class Clock:
    """Processor time between the first step and the end of a training, the part of it inside
    callbacks, bar and loggers, and the profiler's.
    """

    def __init__(self) -> None:
        self.start = self.seconds = 0.0
        self.inside: dict[str, float] = dict.fromkeys(KINDS, 0.0)
        self.profiler: Any = None
        clock = self
        FiniteLoss.on_train_start = lambda self, trainer, pl_module: clock.begin(trainer)
        FiniteLoss.on_train_end = lambda self, trainer, pl_module: clock.end(trainer)

    def begin(self, trainer: Any) -> None:
        self.inside = dict.fromkeys(self.inside, 0.0)
        for callback in trainer.callbacks:
            kind = "progress bar" if isinstance(callback, ProgressBar) else "callbacks"
            self._watch(callback, kind, [n for n in dir(callback) if n.startswith("on_")])
        for logger in trainer.loggers:
            self._watch(logger, "loggers", ["log_metrics", "save", "after_save_checkpoint"])
        self.start = time.process_time()

    def _watch(self, one: Any, kind: str, names: list[str]) -> None:
        for name in names:
            setattr(one, name, self._timed(getattr(one, name), kind))

    def _timed(self, call: Any, kind: str) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start, before = time.process_time(), sum(self.inside.values())
            try:
                return call(*args, **kwargs)
            finally:  # what was told of calls within this one is theirs
                within = sum(self.inside.values()) - before
                self.inside[kind] += time.process_time() - start - within

        return timed

    def end(self, trainer: Any) -> None:
        self.seconds = time.process_time() - self.start
        self.profiler = trainer.profiler


def trained(model: str, steps: int, more: list[str], clock: Clock) -> float:
    """Processor seconds of one training."""
    with tempfile.TemporaryDirectory() as folder, unseen():
        told = [f"model={model}", "trainer=cpu", "trainer.max_epochs=1", *MODELS[model], *more]
        told += [f"data.steps_per_epoch={steps}", f"output_dir={folder}/run"]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("train", told)
        with suppress(KeyboardInterrupt):
            train(cfg)
    return clock.seconds


def main() -> None:
    """Two tables on the terminal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    clock, draw = Clock(), random.Random(0)
    table = Table("processor time over that of the bare trainer", ("model", "median", "quartiles"))
    shares = Table("share of the run with everything", ("model", *KINDS))
    waits = Table("waiting for data", ("model", "ms per step", "share of the epoch"))
    for model in arguments.models:
        trained(model, 2, VARIANTS[BARE], clock)  # warm
        found: dict[str, list[float]] = {name: [] for name in VARIANTS}
        inside: list[list[float]] = []
        for _ in range(arguments.rounds):
            names = draw.sample(list(VARIANTS), len(VARIANTS))
            seconds = {}
            for name in names:
                seconds[name] = trained(model, arguments.steps, VARIANTS[name], clock)
                if name == EVERYTHING:
                    inside.append([clock.inside[kind] / clock.seconds for kind in KINDS])
            for name in VARIANTS:
                found[name].append(seconds[name] / seconds[BARE])
        for name in list(VARIANTS)[1:]:
            low, middle, high = statistics.quantiles(found[name], n=4)
            table.add(f"{model}: {name}", middle, f"{low:.3f} to {high:.3f}")
        shares.add(model, *map(statistics.median, zip(*inside, strict=True)))
        trained(model, arguments.steps, [*VARIANTS[BARE], "+trainer.profiler=simple"], clock)
        told = clock.profiler.recorded_durations
        share = sum(told[_DATA]) / sum(told[_EPOCH])
        waits.add(model, 1000 * statistics.median(told[_DATA]), share)
    table.print()
    shares.print()
    waits.print()


if __name__ == "__main__":
    run(main)
