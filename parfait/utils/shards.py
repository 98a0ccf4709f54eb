"""A share of the work, fixed by names alone."""

import hashlib
import re
from dataclasses import dataclass

from parfait.utils.errors import UserError


@dataclass(frozen=True)
class Shard:
    """Number ``index`` (from 0) of ``count`` shards: disjoint, together everything.

    A name belongs to a shard by its SHA-256, which no process, order or machine changes.
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

    @property
    def whole(self) -> bool:
        """Whether there is nothing but this shard."""
        return self.count == 1

    def holds(self, name: str) -> bool:
        """Whether ``name`` is this shard's."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"
