"""The card of a data set: what is in it, what made it, what was thrown away."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

import parfait.semantic.ontology
from parfait.distill.grammar import GRAMMARS
from parfait.distill.held_out import rules
from parfait.distill.parts import code_key
from parfait.semantic.examples import FILE, SPLITS
from parfait.utils.files import json_bytes, parquet_bytes, write_files

CARD, README = "dataset.json", "README.md"
_SHOWN = ("kind", "language", "split", "role")
_LISTED = ("event", "magnitude", "asset", "composition", "style")


def write_data_set(
    folder: Path,
    frame: pl.DataFrame,
    settings: Mapping[str, Any],
    sources: Mapping[str, Any],
    lost: Mapping[str, int],
    effects: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Writes ``examples.parquet``, ``dataset.json`` and ``README.md``; returns what the card says.

    Equal examples and settings give equal bytes.

    Args:
        folder: of the run.
        frame: rows of ``examples_frame``.
        settings: of the teacher, as plain data.
        sources: name -> where the texts or answers are from, or a hash of it.
        lost: reason -> how many were thrown away.
        effects: what followed events, by type and asset, where windows teach.
    """
    data = parquet_bytes(frame)
    card = {
        "teacher": frame["teacher"].unique().sort().to_list(),
        "examples": frame.height,
        "distinct_texts": frame["text"].n_unique(),
        "pairs": frame.filter(pl.col("pair") != "")["pair"].n_unique(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "settings": dict(settings),
        "sources": dict(sources),
        "hashes": hashes(),
        "counts": _counts(frame),
        "thrown_away": dict(sorted(lost.items())),
        "held_out": rules(),
        "licence": "MIT",
    }
    if effects:
        card["effects"] = [dict(row) for row in effects]
    files = {FILE: data, CARD: json_bytes(card), README: _readme(card).encode()}
    write_files(folder, files)
    return card


def hashes() -> dict[str, str]:
    """SHA-256 of the grammars, of the lexicons and effects, and of all code that makes examples."""
    ontology = Path(parfait.semantic.ontology.__path__[0])
    return {
        "grammar": _hash(sorted(GRAMMARS.glob("*.yaml"))),
        "lexicon": _hash(sorted(ontology.rglob("*.yaml"))),
        "code": code_key(),
    }


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _counts(frame: pl.DataFrame) -> dict[str, dict[str, int]]:
    found = {name: _sorted(Counter(frame[name].to_list())) for name in _SHOWN}
    tags = [json.loads(told) for told in frame["tags"]]
    for name in _LISTED:
        values = [v for told in tags for v in (told.get(name) or "none").split(",")]
        kept = [v.split(":")[0] for v in values]  # what nonsense is about counts as one
        found[name] = _sorted(Counter(kept))
    both = zip(frame["language"], frame["split"], strict=True)
    found["language x split"] = _sorted(Counter(f"{a} {b}" for a, b in both))
    return found


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _readme(card: Mapping[str, Any]) -> str:
    counts, held = card["counts"], card["held_out"]
    lines = [
        "# Examples for the semantic layer of Parfait",
        "",
        f"{card['examples']} sentences ({card['distinct_texts']} different texts, {card['pairs']} "
        f"pairs), each with a market and the mixture over regimes that the teacher "
        f"({', '.join(card['teacher'])}) gave it. Read them with "
        "`parfait.semantic.examples.read_examples(folder, split)`.",
        "",
        "| split | examples | rule |",
        "|---|---|---|",
    ]
    told = {
        "train": "breaks no rule below",
        "val": f"one of {held['validation']} pairs of template and events, by hash",
        "test_template": f"{len(held['templates'])} templates",
        "test_event": "events " + ", ".join(held["events"]),
        "test_magnitude": f"doses of {held['band']} times the event's reference dose",
        "test_asset": "assets " + ", ".join(held["assets"]),
        "test_language": "; ".join(f"{k}: {', '.join(v)}" for k, v in held["language"].items()),
        "test_composition": "negation of " + ", ".join(held["negated"]),
    }
    lines += [f"| {s} | {counts['split'].get(s, 0)} | {told[s]} |" for s in SPLITS]
    for name in ("kind", "language", "role", "composition", "style", "asset", "magnitude", "event"):
        shown = ", ".join(f"{value or 'none'} {count}" for value, count in counts[name].items())
        lines += ["", f"**{name}**: {shown}"]
    lost = ", ".join(f"{reason} {count}" for reason, count in card["thrown_away"].items())
    lines += ["", "## Thrown away", "", lost or "Nothing."]
    if "effects" in card:
        lines += ["", "## What followed", "", *_effects(card["effects"])]
    lines += ["", "## Made of", ""]
    lines += [f"- {name}: {value}" for name, value in card["sources"].items()]
    lines += [f"- SHA-256 of {name}: `{value}`" for name, value in card["hashes"].items()]
    lines += [f"- SHA-256 of {FILE}: `{card['sha256']}`"]
    lines += ["", "## Settings", "", "```json", json.dumps(card["settings"], indent=2), "```"]
    lines += ["", f"Licence: {card['licence']}.", ""]
    return "\n".join(lines)


def _effects(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = "| type and asset | events | drift | volatility |"
    lines = [
        "Shifts of coordinates (drift: asinh(mu / 0.2); volatility: ln of the ratio to what "
        "follows on average at the volatility before), shrunk to none; +- is one posterior sd. "
        "Where all are 0.00 +- 0.01 the bars show no difference between types.",
        "",
        head,
        "|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{row[f]:+.2f} +- {row[f + '_sd']:.2f}" for f in ("drift", "volatility")]
        lines.append(f"| {row['group']} | {row['events']} | {' | '.join(cells)} |")
    return lines
