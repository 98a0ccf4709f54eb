"""Examples of a distilled data set as batches of equal cost."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from parfait.regime import FIELD_NAMES
from parfait.semantic.examples import Example, read_examples
from parfait.semantic.lm.hidden import Hidden
from parfait.semantic.lm.packing import Packed
from parfait.semantic.lm.prompt import context_line, encode
from parfait.semantic.lm.targets import N_SLOTS, SlotTargets, slot_targets
from parfait.semantic.lm.tokens import learn_tokenizer, load_tokenizer
from parfait.utils.epochs import epoch_left
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed
from parfait.utils.threads import one_thread

_POOL = 32  # batches whose examples are sorted by length together


@dataclass(frozen=True)
class Batch:
    """Prompts, what a teacher made of them, and which of them belong together.

    Args:
        ids: padded on the right with 0, or packed.
        lengths: tokens.
        target: of the teacher.
        pairs: rows (high, low) of contrast pairs.
        fields: the coordinate in which high has more than low.
        same: rows (a, b) that say the same.
        features: of the prompts, where a frozen base has read them before.
    """

    ids: Tensor | Packed
    lengths: Tensor
    target: SlotTargets
    pairs: Tensor
    fields: Tensor
    same: Tensor
    features: Tensor | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """On a device."""
        return Batch(
            self.ids.to(device),
            self.lengths.to(device),
            self.target.to(device),
            self.pairs.to(device),
            self.fields.to(device),
            self.same.to(device),
            None if self.features is None else self.features.to(device),
        )


class DistilledDataModule(lightning.LightningDataModule):
    """Batches of about so many tokens; the two halves of a contrast pair always meet in one batch.
    Their order is a function of seed and epoch, what is hidden of seed, epoch and batch, and every
    process of a distributed training has batches of its own.

    Args:
        path: folder of ``parfait distill``.
        base: whose tokenizer is used; ``None`` learns one from the training texts.
        revision: of the base.
        vocabulary: tokens of a tokenizer that is learnt.
        tokens: of a batch, about.
        packing: prompts end to end in one row, in random company; else rows that are padded, of
            prompts that are near each other in length.
        hidden: share of the tokens that training hides; see ``Hidden``.
        validation: examples of the split ``val`` at most.
        limit: training examples at most; ``None`` for all.
        seed: of the order.

    Raises:
        UserError: a number out of bounds; a folder without examples is found in ``setup``.
    """

    target = "mixture"  # what the examples are told as; see ``parfait.semantic.lm.target``
    packs = True  # whether ``packing`` is known to the examples
    verbatim = False  # whether a tokenizer that is learnt gives texts back as they were

    def __init__(
        self,
        path: str | None,
        base: str | None = None,
        revision: str | None = None,
        vocabulary: int = 4096,
        tokens: int = 4096,
        packing: bool = False,
        hidden: float = 0.0,
        validation: int = 1000,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if path is None:
            raise UserError("data.path is empty; give the folder that parfait distill wrote")
        require("data.tokens", tokens, 64)
        require("data.vocabulary", vocabulary, 512)
        require("data.hidden", hidden, 0.0, 0.5)
        require("data.validation", validation, 1)
        self.path, self.base, self.revision = path, base, revision
        self.vocabulary, self.tokens, self.validation = vocabulary, tokens, validation
        self.packing = packing and self.packs
        self.hidden, self.limit, self.seed = hidden, limit, seed
        self.tokenizer: Any = None
        self.ready = False

    def setup(self, stage: str) -> None:
        """Reads, tokenises and sorts the examples."""
        if self.ready:
            return
        with one_thread():  # many small tensors: more threads would wait for each other
            self._prepare()
        self.ready = True

    def _prepare(self) -> None:
        train = read_examples(self.path, "train")[: self.limit]
        held = read_examples(self.path, "val")
        if not train or not held:
            raise UserError(f"{self.path} has no examples to train on and to validate with")
        held = held[:: max(1, -(-len(held) // self.validation))]
        if self.base is None:
            self.tokenizer = learn_tokenizer(self.texts(train), self.vocabulary, self.verbatim)
        else:
            self.tokenizer = load_tokenizer(self.base, self.revision)
        self.examples = self.encoded(train)
        self.held = self.encoded(held)
        self.plan = plan(self.examples, self.tokens, self.seed, self.packing)

    def texts(self, examples: Sequence[Example]) -> Iterator[str]:
        """What a tokenizer is learnt from."""
        return (context_line(e.target.asset_class, e.context) + e.text for e in examples)

    @property
    def classes(self) -> tuple[str, ...]:
        """Asset classes of the training examples."""
        return tuple(sorted({e.target.asset_class for e in self.examples.examples}))

    def encoded(self, examples: Sequence[Example]) -> Any:
        """The examples as ``plan`` and the loaders use them."""
        return Examples(self.tokenizer, examples)

    def train_dataloader(self) -> DataLoader:
        """Every example once an epoch; starts where a resumed epoch stopped."""
        hide = Hidden(self.tokenizer, self.hidden) if self.hidden else None
        known = _Planned(self.examples, self.plan, self.packing, hide, self.seed)
        return DataLoader(known, None, sampler=_Order(self))

    def val_dataloader(self) -> DataLoader:
        """The held-out examples, always in the same batches."""
        batches = plan(self.held, self.tokens, 0, self.packing)
        known: Any = _Planned(self.held, batches, self.packing)
        return DataLoader(known, batch_size=None)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """A batch moves as a whole."""
        return batch.to(device)


def check_data(data: Any, target: str) -> None:
    """``UserError`` unless ``data`` tells examples as a model of that target learns them."""
    if not isinstance(data, DistilledDataModule) or data.target != target:
        raise UserError(
            f"this model learns from examples as {target}, not a {type(data).__name__}; give "
            f"data=distilled data.target={target}"
        )


class Examples:
    """Token ids and targets of examples, and which of them are pairs.

    Args:
        tokenizer: of the model.
        examples: in any order.
        told_of: how a prompt names an asset class; ``ScenarioModel.told_of``.

    Attributes:
        features: what a frozen base made of the prompts, (examples, d), once it has read them.
    """

    def __init__(
        self,
        tokenizer: Any,
        examples: Sequence[Example],
        told_of: Callable[[str], str | None] = str,
    ) -> None:
        self.examples = list(examples)
        self.features: Tensor | None = None
        self.ids = [
            torch.tensor(encode(tokenizer, e.text, told_of(e.target.asset_class), e.context))
            for e in self.examples
        ]
        told = [e.target for e in self.examples]
        self.target = slot_targets(told, [e.context for e in self.examples])
        self.units: list[list[int]] = []
        by_pair: dict[str, int] = {}
        for i, e in enumerate(self.examples):
            if e.pair and e.pair in by_pair:
                self.units[by_pair[e.pair]].append(i)
            else:
                if e.pair:
                    by_pair[e.pair] = len(self.units)
                self.units.append([i])

    def batch(
        self,
        rows: Sequence[int],
        packing: bool = False,
        change: Callable[[list[Tensor]], list[Tensor]] | None = None,
    ) -> Batch:
        """The examples of those numbers, their prompts changed."""
        prompts = [self.ids[i] for i in rows]
        prompts = prompts if change is None else change(prompts)
        lengths = torch.tensor([len(p) for p in prompts])
        ids = Packed.of(prompts, N_SLOTS) if packing else pad_sequence(prompts, batch_first=True)
        groups: dict[str, list[int]] = {}
        for k, i in enumerate(rows):
            if self.examples[i].pair:
                groups.setdefault(self.examples[i].pair, []).append(k)
        pairs, fields, same = [], [], []
        for members in groups.values():
            role = {self.examples[rows[k]].role: k for k in members}
            if "high" in role and "low" in role:
                pairs.append((role["high"], role["low"]))
                tags = self.examples[rows[members[0]]].tags
                fields.append(FIELD_NAMES.index(tags.get("contrast", "drift")))
            elif "same" in role and len(members) > 1:
                same.append((members[0], members[1]))
        return Batch(
            ids,
            lengths,
            self.target[torch.tensor(rows)].to("cpu"),
            torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2),
            torch.tensor(fields, dtype=torch.int64),
            torch.tensor(same, dtype=torch.int64).reshape(-1, 2),
            None if self.features is None else self.features[torch.tensor(rows)],
        )


def plan(examples: Examples, tokens: int, seed: int, packing: bool = False) -> list[list[int]]:
    """Batches of at most ``tokens`` tokens (one unit at least): with their padding, of units that
    are near each other in length; with packing, of units as they come and with their queries.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "plan"))
    order = torch.randperm(len(examples.units), generator=generator).tolist()
    if packing:
        return _packed_plan(examples, order, tokens)
    longest = [max(len(examples.ids[i]) for i in unit) for unit in examples.units]
    mean = sum(longest) / max(len(longest), 1)
    pool = max(1, int(_POOL * tokens / mean))
    found: list[list[int]] = []
    for first in range(0, len(order), pool):
        rows: list[int] = []
        widest = 0
        for u in sorted(order[first : first + pool], key=lambda u: longest[u]):
            unit, wide = examples.units[u], max(widest, longest[u])
            if rows and wide * (len(rows) + len(unit)) > tokens:
                found.append(rows)
                rows, wide = [], longest[u]
            rows, widest = rows + unit, wide
        found.append(rows)
    return found


def _packed_plan(examples: Examples, order: list[int], tokens: int) -> list[list[int]]:
    found: list[list[int]] = []
    room = 0
    for unit in (examples.units[u] for u in order):
        cost = sum(len(examples.ids[i]) + N_SLOTS for i in unit)
        if cost > room or not found:
            found.append([])
            room = tokens
        found[-1] += unit
        room -= cost
    return found


class _Planned(Dataset):
    """Batches by their number in the plan, counted on from epoch to epoch."""

    def __init__(
        self,
        examples: Examples,
        batches: list[list[int]],
        packing: bool,
        hide: Hidden | None = None,
        seed: int = 0,
    ) -> None:
        self.examples, self.batches, self.packing = examples, batches, packing
        self.hide, self.seed = hide, seed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        rows = self.batches[number % len(self.batches)]
        more: dict[str, Any] = {"packing": True} if self.packing else {}
        if self.hide is not None:
            # Of the number alone, so that a resumed run hides what an uninterrupted one hides.
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "hidden", number))
            more["change"] = partial(self.hide, generator=generator)
        return self.examples.batch(rows, **more)


class _Order(Sampler[int]):
    """Numbers of this process's batches of an epoch, counted on from epoch to epoch: every process
    takes its turn in one shuffled order, which begins anew where it does not suffice for all.
    """

    def __init__(self, data: DistilledDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        world = self.data.trainer.world_size if self.data.trainer else 1
        return -(-len(self.data.plan) // world)

    def __iter__(self) -> Iterator[int]:
        trainer, batches = self.data.trainer, len(self.data.plan)
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        epoch, left = epoch_left(trainer, len(self))
        seed = derive_seed(self.data.seed, "order", epoch)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(batches, generator=generator).tolist()
        for k in left:
            yield epoch * batches + order[(k * world + rank) % batches]
