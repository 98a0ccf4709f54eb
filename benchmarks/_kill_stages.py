"""The stages that ``interruptions.py`` kills: a command, what it leaves, what may differ."""

import fnmatch
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from _scale import write_bars

Contents = dict[str, bytes]
_LOGS = ("*.log", "*/.hydra/*")
_TRAIN = ("train", "trainer=cpu", "ckpt_path=auto", "trainer.log_every_n_steps=1")
_TINY_UNET = (
    *("model=unet1d_tiny", "trainer.max_epochs=6", "trainer.accumulate_grad_batches=2"),
    *("data.steps_per_epoch=8", "data.batch_size=8", "data.validation_windows=16"),
    "data.bar_sizes=[1]",
)
_TINY_LABELER = (
    *("model=labeler", "model.width=8", "model.calibration_windows=64", "trainer.max_epochs=6"),
    *("data.steps_per_epoch=8", "data.bars=4096", "data.largest=64"),
)
_SENTENCE = "A flash crash, then a slow recovery"


@dataclass(frozen=True)
class Stage:
    """One command that is killed.

    Args:
        command: arguments of ``python -m parfait``; ``{home}`` holds inputs, ``{work}`` everything
            that the command writes, its ``output_dir`` being ``{work}/run``.
        marks: what a kill came after, and the files that tell, the latest first.
        volatile: files that may differ from those of a run left alone.
        kept: files that are never written again once they are there.
        interim: files that have other contents, whole ones, before those at the end.
        contents: what counts at the end, by name; ``None`` for all files that are not volatile.
        prepare: of the inputs.
        beside: arguments of a second process of the same run, which is left alone.
    """

    command: tuple[str, ...]
    marks: tuple[tuple[str, str], ...]
    volatile: tuple[str, ...] = _LOGS
    kept: tuple[str, ...] = ()
    interim: tuple[str, ...] = ()
    contents: Callable[[Path], Contents] | None = None
    prepare: Callable[[Path], None] = lambda home: None
    beside: tuple[str, ...] | None = None

    def results(self, work: Path) -> Contents:
        """What is compared, by name; files that a killed process left half written among it."""
        files = {str(f.relative_to(work)): f for f in work.rglob("*") if f.is_file()}
        if self.contents is not None:
            half = {n: f.read_bytes() for n, f in files.items() if n.endswith(".tmp")}
            return half | self.contents(work / "run")
        return {
            name: _stable(file)
            for name, file in files.items()
            if name.endswith(".tmp") or not any(fnmatch.fnmatch(name, p) for p in self.volatile)
        }


def _stable(file: Path) -> bytes:
    """The bytes, without how long the parts of a simulation took."""
    if file.name != "summary.json":
        return file.read_bytes()
    told = json.loads(file.read_bytes())
    return json.dumps({k: v for k, v in told.items() if k != "seconds"}).encode()


def trained(run: Path) -> Contents:
    """The exported model, the newest checkpoint (weights, averaged weights, optimiser, schedule,
    best score) and the metrics, of which rows written twice must agree.
    """
    found = {f"model/{f.name}": f.read_bytes() for f in (run / "model").glob("[!.]*")}
    files = sorted(run.glob("checkpoints/0*.ckpt"), key=_steps)
    checkpoint: dict[str, Any] = {}
    for file in files:  # whole, or not there
        checkpoint = torch.load(file, weights_only=True)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step") if files else ():
        found |= {f"checkpoint/{k}": v for k, v in _flat(checkpoint[part], part).items()}
    if files:
        scores = [s.get("best_model_score") for s in checkpoint["callbacks"].values()]
        found["checkpoint/best"] = repr([float(s) for s in scores if s is not None]).encode()
    rows: dict[str, str] = {}
    for file in sorted(run.glob("csv/version_*/metrics.csv"), key=_version):
        table = pl.read_csv(file, infer_schema=False)
        # The last row tells how long the run took, and alone where nothing was left to train.
        table = table.select(pl.exclude("epoch", "^seconds/.*$"))
        seen: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for row in table.iter_rows(named=True):
            told = {k: v for k, v in sorted(row.items()) if v is not None}
            kind = f"metrics/{told['step']} {' '.join(told)}"
            counts[kind] += 1  # accumulated batches share a step
            seen[f"{kind} {counts[kind]}"] = repr(told)
        differ = [k for k in seen.keys() & rows.keys() if rows[k] != seen[k]]
        assert not differ, f"{file} has other {differ[:3]}"
        rows |= seen
    return found | {k: v.encode() for k, v in rows.items()}


def _steps(file: Path) -> tuple[str, float]:
    return file.stem.partition("-")[0], file.stat().st_mtime


def _version(file: Path) -> int:
    return int(file.parent.name.rpartition("_")[2])


def _flat(value: Any, name: str) -> Contents:
    if isinstance(value, Mapping):
        return {k: v for key, one in value.items() for k, v in _flat(one, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return _flat(dict(enumerate(value)), name)
    if isinstance(value, torch.Tensor):
        return {name: value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()}
    return {name: repr(value).encode()}


def mixed_bars(home: Path) -> None:
    """Some symbols in one file of several, one as text, one in two files, one that is broken."""
    write_bars(home / "in", 24)
    files = sorted((home / "in").glob("*.parquet"))
    long = [pl.read_parquet(f).with_columns(symbol=pl.lit(f.stem)) for f in files[:3]]
    pl.concat(long).write_parquet(home / "in" / "long.parquet")
    for file in files[1:3]:
        file.unlink()  # the first is in a file of its own, too
    pl.read_parquet(files[3]).write_csv(home / "in" / f"{files[3].stem}.csv")
    files[3].unlink()
    (home / "in" / "broken.csv").write_text("a,b\n1,2\n")


_LABEL = ("label", "data.path={home}/in", "figures=2", "data.bars_per_year=252")
_LABELLED = Stage(
    _LABEL,
    (("labels", "run/labels/*.json"), ("bars", "run/bars/*.json")),
    (*_LOGS, "run/bars/.parts*.json", "run/bars/summary.txt"),
    ("run/labels/*.parquet",),
    ("run/bars/S00000.*",),  # of its own file, then of the one of several too
    prepare=mixed_bars,
)
_MADE = (("a checkpoint", "run/checkpoints/0*.ckpt"), ("a best one", "run/checkpoints/best*.ckpt"))

_DISTILL = ("distill", "n=1500", "cache={work}/cache")
_DISTILLED = (("the examples", "run/examples.parquet"), ("a part", "cache/*.json"))

STAGES = {
    "label": _LABELLED,
    "label in two shards": Stage(
        (*_LABEL, "shard=0/2"),
        _LABELLED.marks,
        _LABELLED.volatile,
        _LABELLED.kept,
        (*_LABELLED.interim, "run/summary.json", "run/quality.txt"),  # of what both have so far
        prepare=mixed_bars,
        beside=(*_LABEL, "shard=1/2"),
    ),
    "distill": Stage(
        (*_DISTILL, "workers=1"),
        _DISTILLED,
        kept=("cache/*.parquet",),
    ),
    "distill in two workers": Stage(
        (*_DISTILL, "workers=2"),
        _DISTILLED,
        kept=("cache/*.parquet",),
    ),
    "train": Stage(
        (*_TRAIN, *_TINY_UNET),
        (("the export", "run/model/*.json"), *_MADE),
        contents=trained,
    ),
    "train labeler": Stage(
        (*_TRAIN, *_TINY_LABELER),
        (("the export", "run/model/*.json"), *_MADE),
        contents=trained,
    ),
    "simulate": Stage(
        ("simulate", _SENTENCE, "n_paths=40"),
        (("the folder", "run/summary.json"), ("files aside", ".run.*.partial/*.parquet")),
        (*_LOGS, "run/report.html"),  # which tells how long it took
    ),
    "simulate in parts": Stage(
        ("simulate", _SENTENCE, "n_paths=160", "stream=true", "part_paths=8", "workers=1"),
        (("the manifest", "run/manifest.json"), ("a part", "run/parts/*.json")),
        kept=("run/paths.parquet/*.parquet", "run/guides.parquet/*.parquet"),
    ),
}
