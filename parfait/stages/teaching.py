"""The teachers of ``distill``: from settings to examples and what there is to tell of them."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from parfait.data.embedded import embedded_bars, fingerprint
from parfait.distill.answers import AnswerStore, Patience, Rejected, teach
from parfait.distill.catalogue import CATALOGUE, Event, read_catalogue
from parfait.distill.estimate import Estimate, estimate
from parfait.distill.ontology import Shares, ontology_jobs
from parfait.distill.paraphrase import paraphrased, prompts_hash
from parfait.distill.parts import make_parts
from parfait.distill.windows import WindowJob, WindowSettings
from parfait.labelling import read_series
from parfait.regime.context import check_asset_class
from parfait.semantic import Reader, load_reader
from parfait.semantic.examples import Example, examples_frame
from parfait.stages.data_settings import data_path, load_options
from parfait.stages.schema import DistillConfig, plain
from parfait.utils.errors import UserError, require
from parfait.utils.shards import WHOLE, Shard

Progress = Callable[[str, int, int], None]
_API = ("concurrency", "retries", "wait")


@dataclass
class Taught:
    """Examples and their account; see ``write_data_set``."""

    frame: pl.DataFrame
    settings: dict[str, Any]
    sources: dict[str, Any]
    lost: Counter[str]
    rejected: list[Rejected] = field(default_factory=list)
    effects: list[dict[str, Any]] = field(default_factory=list)


class Teacher:
    """One of the teachers, its settings checked.

    Raises:
        UserError: an unknown teacher, or an option that it does not know or cannot use.
    """

    def __init__(self, settings: DistillConfig, workers: int, shard: Shard = WHOLE) -> None:
        self.shard = shard
        self.n, self.seed, self.workers = settings.n, settings.seed, workers
        self.cache = Path(settings.cache)
        self._settings = settings
        self._options: dict[str, Any] = plain(settings.teacher)
        self.name = self._options.pop("name", None)
        makers = {"ontology": self._ontology, "windows": self._windows, "openai": self._openai}
        if self.name not in makers:
            raise UserError(f"teacher.name={self.name} is unknown; use one of {', '.join(makers)}")
        self._told = {"teacher": self.name, "n": self.n, "seed": self.seed, **self._options}
        self._make = makers[self.name]
        if self.name == "ontology":
            self._shares = made(Shares, self._options)
        elif self.name == "windows":
            options = dict(self._options)
            self._catalogue = options.pop("catalogue", None)
            self._window = made(WindowSettings, options)
        else:
            self._check_api()
            if not shard.whole:
                raise UserError(
                    f"shard {shard}: teacher=openai asks one server, from one process with "
                    "teacher.concurrency requests at a time; give shard=0/1"
                )

    def teach(self, progress: Progress) -> Taught | None:
        """The examples, or ``None`` while parts of other shards are missing.

        Raises:
            UserError: there are none.
        """
        taught = self._make(progress)
        if taught is not None and not taught.frame.height:
            raise UserError("the teacher left no example; see what was thrown away in the log")
        return taught

    def cost(self, progress: Progress) -> Estimate:
        """What teaching would cost: nothing, but for a server's answers that are not kept yet."""
        if self.name != "openai":
            return Estimate(0, 0, 0, 0.0)
        examples, _ = self._sentences(progress)
        try:
            described = _described(self._reader())
        except UserError:  # whoever only asks for the price need not name a model
            described = {}
        store = AnswerStore(self.cache, self._asked() | described)
        asked = [e for e in examples if e.kind != "nonsense"]
        texts = [e.text for e in asked if store.get(store.key("read", e.text, e.context)) is None]
        texts += [e.text for e in asked if self._paraphrases]
        return estimate(texts, *self._tokens, *self._prices)

    def _ontology(self, progress: Progress) -> Taught | None:
        jobs = ontology_jobs(self.n, self.seed, self._shares)
        parts = make_parts(jobs, self.cache, self.workers, progress, self.shard)
        if parts is None:
            return None
        sources = {"texts": "the grammar of this package", "targets": "the rule-based reader"}
        lost: Counter[str] = Counter()
        for _, _, more in parts:
            lost.update(more)
        return Taught(pl.concat([rows for rows, _, _ in parts]), self._told, sources, lost)

    def _windows(self, progress: Progress) -> Taught | None:
        job, sources = self._window_job(self._window, self._catalogue)
        parts = make_parts([job], self.cache, 1, progress, self.shard)
        if parts is None:
            return None
        ((frame, told, lost),) = parts
        return Taught(frame, self._told, sources, Counter(lost), effects=told)

    def _window_job(
        self, settings: WindowSettings, catalogue: Any
    ) -> tuple[WindowJob, dict[str, Any]]:
        data = self._settings.data
        path = data_path(data.path)
        if path is None:
            frames, failed = embedded_bars(), []
        else:
            frames, failed = read_series(path, load_options(data.options), data.pattern)
        file = CATALOGUE if catalogue is None else Path(str(catalogue))
        events = tuple(read_catalogue(file))
        others: list[Event] = []
        if catalogue is None:  # the one that ships names its own symbols, which these are not
            others = [e for e in events if e.asset and e.asset not in frames]
            events = tuple(e for e in events if e not in others)
        key = fingerprint(frames)
        asset = data.asset if data.asset is None else check_asset_class(data.asset)
        job = WindowJob(frames, key, events, settings, data.bars_per_year, asset, self.n)
        sources = {
            "texts": "the catalogue that ships with Parfait" if catalogue is None else file.name,
            "SHA-256 of the catalogue": hashlib.sha256(file.read_bytes()).hexdigest(),
            "targets": f"label posteriors of {', '.join(sorted(frames))}",
            "SHA-256 of the bars": key,
        }
        if path is None:
            sources["licence of the bars"] = "see parfait/data/embedded/NOTICE"
        if others:
            symbols = ", ".join(sorted({e.asset for e in others}))
            sources["events left out"] = f"{len(others)} that speak of {symbols} alone"
        if failed:
            sources["files left out"] = " ".join(failed)
        return job, sources

    def _check_api(self) -> None:
        options = dict(self._options)
        reader = options.pop("reader", None)
        if not isinstance(reader, dict) or "name" not in reader:
            raise UserError("teacher.reader must name a reader: teacher.reader.name=openai")
        self._reader_options: dict[str, Any] = {k: v for k, v in reader.items() if v is not None}
        self._texts = options.pop("texts", "grammar")
        if self._texts not in ("grammar", "catalogue"):
            raise UserError(f"teacher.texts={self._texts} must be grammar or catalogue")
        self._catalogue = options.pop("catalogue", None)
        self._paraphrases = options.pop("paraphrases", 0)
        require("teacher.paraphrases", self._paraphrases, 0, 20)
        self._patience = made(Patience, {k: options.pop(k) for k in _API if k in options})
        tokens, price = options.pop("tokens", {}), options.pop("price", {})
        self._tokens = (tokens.get("prompt", 0), tokens.get("answer", 0))
        self._prices = (price.get("prompt"), price.get("answer"))
        if options:
            raise UserError(f"the teacher 'openai' has no option {sorted(options)[0]!r}")
        self._prompts: dict[str, Any] = plain(self._settings.prompt)

    def _sentences(self, progress: Progress) -> tuple[list[Example], dict[str, Any]]:
        """What a server is asked: sentences with markets and splits, their targets unused."""
        if self._texts == "catalogue":
            job, sources = self._window_job(WindowSettings(phrasings=1), self._catalogue)
            sources.pop("targets")
            jobs: list[Any] = [job]
        else:
            jobs, sources = ontology_jobs(self.n, self.seed, Shares()), {"texts": "the grammar"}
        parts = make_parts(jobs, self.cache, self.workers, progress)
        assert parts is not None  # they are nobody else's
        frame = pl.concat([rows for rows, _, _ in parts])
        return [Example.from_row(row) for row in frame.iter_rows(named=True)], sources

    def _reader(self) -> Reader:
        options = dict(self._reader_options)
        try:
            return load_reader(options.pop("name"), **options)
        except UserError as error:
            raise UserError(str(error).replace("semantic.", "teacher.reader.")) from error

    def _asked(self) -> dict[str, Any]:
        """Who answers: other options or prompts are other answers."""
        return {"reader": self._reader_options, "prompts": prompts_hash(self._prompts)}

    def _openai(self, progress: Progress) -> Taught:
        reader = self._reader()
        examples, sources = self._sentences(progress)
        store = AnswerStore(self.cache, self._asked() | _described(reader))
        found, rejected = teach(reader, examples, store, self._patience, progress)
        if all(e.kind == "nonsense" for e in found):
            why = rejected[0].reason if rejected else "nothing was asked"
            raise UserError(f"the teacher gave no answer that can be learnt from: {why}")
        if self._paraphrases:
            speaker: Any = reader
            if not hasattr(speaker, "complete"):
                name = self._reader_options["name"]
                raise UserError(f"the reader {name!r} writes no text; set teacher.paraphrases=0")
            more, refused = paraphrased(
                speaker,
                found,
                self._prompts["paraphrase"],
                self._paraphrases,
                store,
                self._patience,
                progress,
            )
            found, rejected = found + more, rejected + refused
        lost = Counter(rejected=len(rejected)) if rejected else Counter()
        sources |= {"targets": f"the reader {self._reader_options['name']!r}", **_described(reader)}
        sources["SHA-256 of prompts"] = prompts_hash(self._prompts)
        return Taught(examples_frame(found), self._told, sources, lost, rejected)


def made(kind: Callable[..., Any], options: dict[str, Any]) -> Any:
    """``kind(**options)``; ``UserError`` for an option that it does not have."""
    known = set(kind.__dataclass_fields__)  # pyright: ignore[reportFunctionMemberAccess]
    unknown = sorted(set(options) - known)
    if unknown:
        raise UserError(
            f"teacher.{unknown[0]} is no option; this teacher has {', '.join(sorted(known))}"
        )
    return kind(**options)


def _described(reader: Any) -> dict[str, Any]:
    """What a reader tells of itself (model, server, hash of its prompts), if it does."""
    return dict(reader.describe()) if hasattr(reader, "describe") else {}
