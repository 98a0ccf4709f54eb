"""Causal language models that answer in words: a base, or one trained on scenario JSON."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from parfait.semantic.lm.model import (
    ADAPTER,
    CONFIG,
    TOKENIZER,
    Design,
    Small,
    backbone,
    base_config,
    load_adapter,
)
from parfait.semantic.lm.tokens import load_tokenizer
from parfait.semantic.spoken.prompt import TRAINED
from parfait.utils.errors import MISFITS, UserError, first_line
from parfait.utils.files import json_bytes, write_files
from parfait.utils.strict_json import read_object

FORMAT = 1
MARKER = "json_lm.json"  # what makes a folder one of a model trained on scenario JSON


@dataclass(frozen=True)
class Speaker:
    """A model with its tokenizer.

    Args:
        model: a causal language model of transformers, or of peft.
        tokenizer: of it.
        design: what it was made of.
        task: the system text that it was trained with; ``None`` if it was not.
    """

    model: Any
    tokenizer: Any
    design: Design
    task: str | None = None


def save_speaker(
    folder: str | Path, model: Any, tokenizer: Any, design: Design, provenance: dict[str, Any]
) -> None:
    """Writes a trained model: its adapter, or all of it as transformers reads it, with its
    tokenizer and ``MARKER``, the last file.

    The tokenizer lies apart: beside a configuration transformers takes it for that of the
    architecture, which cuts a text otherwise than one that was learnt. That of a base lies beside
    it too, for other programs.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder / ADAPTER if design.tuning == "lora" else folder)
    tokenizer.save_pretrained(folder / TOKENIZER)
    if design.base is not None and design.tuning == "full":
        tokenizer.save_pretrained(folder)
    told = {
        "format": FORMAT,
        "task": TRAINED,
        "design": asdict(design),
        "provenance": provenance,
    }
    write_files(folder, {MARKER: json_bytes(told)})


def load_speaker(
    where: str | Path, revision: str | None = None, dtype: str | None = None, trained: bool = False
) -> Speaker:
    """A model in evaluation mode, on the CPU.

    Args:
        where: name or folder of a causal language model, or a folder of ``save_speaker``.
        revision: of a name.
        dtype: of the weights; ``None`` for float32, or what a trained model was trained in.
        trained: nothing but a folder of ``save_speaker`` will do.

    Raises:
        UserError: there is no such model, or its files do not fit each other.
    """
    folder = Path(where)
    told = _marker(folder)
    if told is None:
        if (folder / CONFIG).is_file():
            raise UserError(
                f"{where} was trained with model.target=mixture; read with semantic=qwen2 "
                "semantic.run=..., or train it with model.target=json"
            )
        if trained:
            raise UserError(
                f"{where} holds no model that answers in JSON; train one with train.py "
                "model=qwen2_lora model.target=json, or give semantic.base"
            )
        design = Design(str(where), revision, dtype=dtype or "float32")
        try:
            model = backbone(design, pretrained=True, speaks=True)
        except UserError as error:  # the setting of the reader has another name than the model's
            raise UserError(str(error).replace("model.base=", "semantic.base=")) from error
        return Speaker(_still(model), load_tokenizer(where, revision), design)
    try:
        parts = dict(told["design"])
        parts["small"] = Small(**parts["small"])
        parts["modules"] = tuple(parts["modules"])
        parts["dtype"] = dtype or parts["dtype"]
        design = Design(**parts)
        if design.tuning == "lora":
            model = backbone(design, pretrained=True, speaks=True)
            load_adapter(model, folder / ADAPTER)
        else:
            model = backbone(Design(str(folder), dtype=design.dtype), True, speaks=True)
        return Speaker(_still(model), load_tokenizer(folder / TOKENIZER), design, str(told["task"]))
    except UserError as error:
        raise UserError(f"{where} needs what it was trained on: {error}") from error
    except (SafetensorError, *MISFITS) as error:
        reason = first_line(error)
        raise UserError(f"the files of the model in {folder} do not fit: {reason}") from error


def is_speaker(folder: str | Path) -> bool:
    """Whether a folder holds a model trained on scenario JSON."""
    return (Path(folder) / MARKER).is_file()


def fingerprint(where: str | Path, revision: str | None = None) -> str:
    """SHA-256 of all files of a folder; name and revision of a model elsewhere."""
    folder = Path(where)
    if not folder.is_dir():
        return f"{where}@{revision or 'main'}"
    total = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        with file.open("rb") as data:
            total.update(str(file.relative_to(folder)).encode())
            total.update(hashlib.file_digest(data, "sha256").digest())
    return total.hexdigest()


def rows(model: Any) -> int:
    """Logits of a model: tokens it may say."""
    return int(model.get_output_embeddings().weight.shape[0])


def positions(design: Design) -> int | None:
    """Tokens that prompt and answer may have together, if the architecture says."""
    if design.base is None:
        return design.small.positions
    return getattr(base_config(design), "max_position_embeddings", None)


def _marker(folder: Path) -> dict[str, Any] | None:
    if not is_speaker(folder):
        return None
    told = read_object(folder / MARKER)
    if told.get("format") != FORMAT:
        raise UserError(f"{folder / MARKER} is not of format {FORMAT}; train the model again")
    return told


def _still(model: Any) -> Any:
    return model.eval().requires_grad_(False)
