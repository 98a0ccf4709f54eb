"""Simulated windows for the training of the labels: fresh ones at every step."""

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from parfait.labels.simulator import RegimeSimulator, Simulated
from parfait.utils.epochs import epoch_left
from parfait.utils.errors import require
from parfait.utils.seeding import derive_seed


class SimulatedDataModule(lightning.LightningDataModule):
    """Batches of windows of one length each, lengths log-uniform from batch to batch.

    Batch number j of a run is a function of (seed, j), so that a resumed run sees the batches it
    would have seen. The processes of a distributed training take turns in them.

    Args:
        simulator: of the windows.
        shortest, longest: returns of a window.
        bars: about so many a batch; short windows come in larger batches.
        largest: windows of a batch at most.
        steps_per_epoch: steps between two validations.
        validation_lengths: returns of the validation batches.
        seed: of everything random.
        num_workers: processes that simulate ahead of the training; results do not depend on it.

    Raises:
        UserError: a number out of its bounds.
    """

    def __init__(
        self,
        simulator: RegimeSimulator,
        shortest: int = 10,
        longest: int = 260,
        bars: int = 61_440,
        largest: int = 2048,
        steps_per_epoch: int = 50,
        validation_lengths: tuple[int, ...] = (20, 60, 120, 250),
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        require("data.shortest", shortest, 3)
        require("data.longest", longest, shortest)
        require("data.bars", bars, longest)
        require("data.largest", largest, 1)
        require("data.steps_per_epoch", steps_per_epoch, 1)
        require("data.num_workers", num_workers, 0)
        self.simulator, self.seed = simulator, seed
        self.shortest, self.longest = shortest, longest
        self.bars, self.largest, self.steps_per_epoch = bars, largest, steps_per_epoch
        self.validation_lengths, self.num_workers = tuple(validation_lengths), num_workers

    def sample(
        self,
        purpose: str,
        n: int,
        windows: int | None = None,
        before: int | None = None,
        **changes: float,
    ) -> Simulated:
        """Windows of n returns and their truth, fixed by the seed and the purpose.

        Args:
            before: bars before each; by default none in two batches of five, 20 in two others, 4
                to 40 in the rest.
            changes: of the simulator.
        """
        generator = torch.Generator().manual_seed(derive_seed(self.seed, purpose, n))
        place = torch.rand((), generator=generator)
        if before is None:
            some = int(torch.randint(4, 41, (), generator=generator))
            before = 0 if place < 0.4 else 20 if place < 0.8 else some
        simulator = replace(self.simulator, **changes)
        return simulator(windows or self.windows(n), n, generator, before)

    def windows(self, n: int) -> int:
        """Windows of n returns in a batch."""
        return min(max(self.bars // n, 1), self.largest)

    def batch(self, number: int) -> Simulated:
        """Batch of that number."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "length", number))
        place = float(torch.rand((), generator=generator, dtype=torch.float64))
        ratio = (self.longest + 1) / self.shortest
        n = min(math.floor(self.shortest * ratio**place), self.longest)
        return self.sample(f"batch {number}", n)

    def train_dataloader(self) -> DataLoader:
        """``steps_per_epoch`` batches; starts where a resumed epoch stopped."""
        alone = copy(self)
        alone.trainer = None  # a worker that is not forked could not be sent it
        order, workers = _Numbers(self), self.num_workers
        return DataLoader(_Fresh(alone), batch_size=None, sampler=order, num_workers=workers)

    def val_dataloader(self) -> DataLoader:
        """A quarter of a batch of each validation length, always the same; one batch, in which
        the lengths count alike.
        """
        lengths = self.validation_lengths
        batches: Any = [[self.sample("validation", n, self.windows(n) // 4 + 1) for n in lengths]]
        return DataLoader(batches, batch_size=None)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Bars stay on the CPU in float64; the module moves what it makes of them."""
        return batch


class _Fresh(Dataset):
    """Batches by their number."""

    def __init__(self, data: SimulatedDataModule) -> None:
        self.data = data

    def __getitem__(self, number: int) -> Simulated:
        return self.data.batch(number)


class _Numbers(Sampler[int]):
    """The numbers of this process's batches of an epoch."""

    def __init__(self, data: SimulatedDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.steps_per_epoch

    def __iter__(self) -> Iterator[int]:
        trainer, steps = self.data.trainer, self.data.steps_per_epoch
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        epoch, left = epoch_left(trainer, steps)
        for position in left:
            yield (epoch * steps + position) * world + rank
