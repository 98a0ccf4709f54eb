"""A share of the work, fixed by names or numbers alone."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from parfait.utils.errors import UserError


@dataclass(frozen=True)
class Shard:
    """Number ``index`` (from 0) of ``count`` shards: disjoint, together everything.

    A name belongs to a shard by its SHA-256, which no process, order or machine changes; a number
    by its remainder.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From "3/16".

        Raises:
            UserError: another form, or an index that is not below the count.
        """
        found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", str(text))
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if shard.index >= shard.count:
            raise UserError(
                f"shard={text} must be i/n with i from 0 to n - 1, as in shard=0/2 and shard=1/2"
            )
        return shard

    @classmethod
    def of(cls, text: str | None) -> "Shard":
        """From a setting; where there is none, this process's place among those that torchrun or an
        array of SLURM jobs started, else the whole.

        A job of a Hydra sweep is a run of its own, even where a launcher made the sweep an array.

        Raises:
            UserError: another form, or an array whose numbers have gaps.
        """
        return cls.parse(text) if text is not None else cls.parse(_place(os.environ))

    @property
    def whole(self) -> bool:
        """Whether there is nothing but this shard."""
        return self.count == 1

    def holds(self, name: str) -> bool:
        """Whether ``name`` is this shard's."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def holds_number(self, number: int) -> bool:
        """Whether the numbered ``number`` is this shard's; neighbours belong to different ones."""
        return number % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


WHOLE = Shard()


def _place(env: Mapping[str, str]) -> str:
    if env.get("RANK") and env.get("WORLD_SIZE"):
        return f"{env['RANK']}/{env['WORLD_SIZE']}"
    if env.get("SLURM_ARRAY_TASK_ID") and env.get("SLURM_ARRAY_TASK_COUNT") and not _sweeping():
        first, step = env.get("SLURM_ARRAY_TASK_MIN", "0"), env.get("SLURM_ARRAY_TASK_STEP", "1")
        index, rest = divmod(int(env["SLURM_ARRAY_TASK_ID"]) - int(first), max(int(step), 1))
        count = int(env["SLURM_ARRAY_TASK_COUNT"])
        if rest or not 0 <= index < count:
            raise UserError(
                f"task {env['SLURM_ARRAY_TASK_ID']} of an array with gaps tells no shard; "
                "give shard=i/n"
            )
        return f"{index}/{count}"
    return "0/1"


def _sweeping() -> bool:
    """Whether this process runs one job of a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
