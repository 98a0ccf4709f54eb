"""The reading of a streamed run, made once and shared by all who work in its folder."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import parfait.regime
import parfait.semantic
from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic import load_reader
from parfait.utils.code import code_hash
from parfait.utils.files import json_bytes, write_files, write_once
from parfait.utils.lineage import fingerprint

READING = "reading.json"


@dataclass(frozen=True)
class KeptReader:
    """A reader that reads a sentence once: a server, or a sampled answer, might differ next time.

    Args:
        folder: where the reading lies.
        name, options: of ``load_reader``, which is asked only where there is no reading.
    """

    folder: Path
    name: str
    options: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The name of the reader."""
        return self.name

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        """The reading that the folder holds of this sentence, market, reader, code, and content of
        the files that its options name; else a new one. Of several processes that begin together,
        all take that of the first.

        Raises:
            UserError: the reader's, or the folder cannot be written.
        """
        market = None if context is None else asdict(context)
        code = code_hash((parfait.semantic, parfait.regime))
        texts = {name: value for name, value in self.options.items() if isinstance(value, str)}
        files = {name: fingerprint(value)["sha256"] for name, value in texts.items()}
        asked = [instruction, market, self.name, dict(self.options), files, code]
        told = json.dumps(asked, sort_keys=True, default=str)
        key = hashlib.sha256(told.encode()).hexdigest()
        found = self._kept(key)
        if found is None:
            made = load_reader(self.name, **self.options).read(instruction, context)
            data = json_bytes({"key": key, "reading": made.to_dict()})
            write_once(self.folder, READING, data)
            found = self._kept(key)
            if found is None:  # that of another reader or of older code
                write_files(self.folder, {READING: data})
                found = made.from_dict(made.to_dict())
        return found

    def _kept(self, key: str) -> RegimeDistribution | None:
        try:
            told = json.loads((self.folder / READING).read_text("utf-8"))
            return RegimeDistribution.from_dict(told["reading"]) if told["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
