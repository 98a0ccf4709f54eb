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
from parfait.semantic.lm.prompt import context_line, encode
from parfait.semantic.lm.targets import SlotTargets, slot_targets
from parfait.semantic.lm.tokens import learn_tokenizer, load_tokenizer
from parfait.utils.errors import UserError, require
from parfait.utils.seeding import derive_seed
from parfait.utils.threads import one_thread

_POOL = 32  # batches whose examples are sorted by length together


@dataclass(frozen=True)
class Batch:
    """Prompts, what a teacher made of them, and which of them belong together.

    Args:
        ids: padded on the right with 0.
        lengths: tokens.
        target: of the teacher.
        pairs: rows (high, low) of contrast pairs.
        fields: the coordinate in which high has more than low.
        same: rows (a, b) that say the same.
    """

    ids: Tensor
    lengths: Tensor
    target: SlotTargets
    pairs: Tensor
    fields: Tensor
    same: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        """On a device."""
        moved = (self.ids.to(device), self.lengths.to(device), self.target.to(device))
        return Batch(*moved, *(x.to(device) for x in (self.pairs, self.fields, self.same)))


class DistilledDataModule(lightning.LightningDataModule):
    """Batches of about so many tokens, sorted by length so that little is padding; the two halves
    of a contrast pair always meet in one batch. Their order is a function of seed and epoch,
    what is hidden of seed, epoch and batch.

    Args:
        path: folder of ``parfait distill``.
        base: whose tokenizer is used; ``None`` learns one from the training texts.
        revision: of the base.
        vocabulary: tokens of a tokenizer that is learnt.
        tokens: of a batch, about.
        hidden: share of the tokens that training hides; see ``Hidden``.
        validation: examples of the split ``val`` at most.
        limit: training examples at most; ``None`` for all.
        seed: of the order.

    Raises:
        UserError: a number out of bounds; a folder without examples is found in ``setup``.
    """

    def __init__(
        self,
        path: str | None,
        base: str | None = None,
        revision: str | None = None,
        vocabulary: int = 4096,
        tokens: int = 4096,
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
            texts = (context_line(e.target.asset_class, e.context) + e.text for e in train)
            self.tokenizer = learn_tokenizer(texts, self.vocabulary)
        else:
            self.tokenizer = load_tokenizer(self.base, self.revision)
        self.examples = Examples(self.tokenizer, train)
        self.held = Examples(self.tokenizer, held)
        self.plan = plan(self.examples, self.tokens, self.seed)

    def train_dataloader(self) -> DataLoader:
        """Every example once an epoch; starts where a resumed epoch stopped."""
        hide = Hidden(self.tokenizer, self.hidden) if self.hidden else None
        known = _Planned(self.examples, self.plan, hide, self.seed)
        return DataLoader(known, None, sampler=_Order(self))

    def val_dataloader(self) -> DataLoader:
        """The held-out examples, always in the same batches."""
        batches: Any = _Planned(self.held, plan(self.held, self.tokens, 0))
        return DataLoader(batches, batch_size=None)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """A batch moves as a whole."""
        return batch.to(device)


class Examples:
    """Token ids and targets of examples, and which of them are pairs."""

    def __init__(self, tokenizer: Any, examples: Sequence[Example]) -> None:
        self.examples = list(examples)
        self.ids = [
            torch.tensor(encode(tokenizer, e.text, e.target.asset_class, e.context))
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
        change: Callable[[list[Tensor]], list[Tensor]] | None = None,
    ) -> Batch:
        """The examples of those numbers, their prompts changed."""
        prompts = [self.ids[i] for i in rows]
        prompts = prompts if change is None else change(prompts)
        lengths = torch.tensor([len(p) for p in prompts])
        ids = pad_sequence(prompts, batch_first=True)
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
        )


def plan(examples: Examples, tokens: int, seed: int) -> list[list[int]]:
    """Batches of at most ``tokens`` tokens with their padding (one unit at least), of units that
    are near each other in length.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "plan"))
    order = torch.randperm(len(examples.units), generator=generator).tolist()
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


class _Planned(Dataset):
    """Batches by their number in the plan, counted on from epoch to epoch."""

    def __init__(
        self,
        examples: Examples,
        batches: list[list[int]],
        hide: Hidden | None = None,
        seed: int = 0,
    ) -> None:
        self.examples, self.batches, self.hide, self.seed = examples, batches, hide, seed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        rows = self.batches[number % len(self.batches)]
        if self.hide is None:
            return self.examples.batch(rows)
        # Of the number alone, so that a resumed run hides what an uninterrupted one hides.
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "hidden", number))
        return self.examples.batch(rows, partial(self.hide, generator=generator))


class _Order(Sampler[int]):
    """Numbers of an epoch's batches, counted on from epoch to epoch."""

    def __init__(self, data: DistilledDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.plan)

    def __iter__(self) -> Iterator[int]:
        trainer = self.data.trainer
        done = trainer.global_step * trainer.accumulate_grad_batches if trainer else 0
        epoch, first = divmod(done, len(self))
        seed = derive_seed(self.data.seed, "order", epoch)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=generator).tolist()
        yield from (epoch * len(self) + number for number in order[first:])
