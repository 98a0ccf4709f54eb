"""What a frozen base makes of prompts, computed once and kept under hashes of all it is made of."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from parfait.semantic.lm.design import Design
from parfait.semantic.lm.model import ScenarioModel
from parfait.utils.errors import UserError, first_line
from parfait.utils.files import write_files

log = logging.getLogger(__name__)

FORMAT = 1
PART = 2048  # prompts of a file: what a killed pass loses at most


def base_digest(design: Design) -> str:
    """SHA-256 of the weights and settings of a base, and of how they are kept.

    Raises:
        UserError: there is no such base.
    """
    total = hashlib.sha256(f"{FORMAT} {design.dtype} {design.quantization}".encode())
    files = [p for p in _folder(design).iterdir() if p.suffix in (".safetensors", ".json")]
    if not any(p.suffix == ".safetensors" for p in files):
        raise UserError(f"model.base={design.base} holds no safetensors; give another base")
    for file in sorted(files):
        with file.open("rb") as data:
            total.update(file.name.encode() + hashlib.file_digest(data, "sha256").digest())
    return total.hexdigest()


def _folder(design: Design) -> Path:
    """Where the files of a base lie; those of a name are fetched, unless they are there."""
    if Path(str(design.base)).is_dir():
        return Path(str(design.base))
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            str(design.base),
            revision=design.revision or "main",
            allow_patterns=["*.safetensors", "*.json"],
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.base={design.base} cannot be loaded ({first_line(error)}); give a "
            "name or a folder of a causal language model with safetensors"
        ) from error
    return Path(found)


def features_of(
    design: Design,
    prompts: Sequence[Tensor],
    cache: str | Path,
    tokens: int,
    device: torch.device | str = "cpu",
    turn: tuple[int, int] = (0, 1),
    wait: Callable[[], object] = lambda: None,
) -> Float[Tensor, "prompts d"]:
    """``ScenarioModel.pooled`` of every prompt, read from ``cache`` or computed into it.

    Files of ``PART`` prompts are named by the hash of base, precision and token ids; the base is
    loaded only where one is missing. Several processes take turns and read each other's.

    Args:
        design: the base, in its precision.
        prompts: token ids.
        cache: folder.
        tokens: that are read at once, padding included.
        device: where the base runs.
        turn: number of this process, and of all.
        wait: returns when all processes have called it.

    Raises:
        UserError: there is no such base; a file of the cache is broken.
    """
    digest, folder = base_digest(design), Path(cache)
    parts = [list(prompts[i : i + PART]) for i in range(0, len(prompts), PART)]
    files = [folder / f"{_key(digest, part)}.safetensors" for part in parts]
    wait()  # until every process has looked at the same state of the cache
    missing = [k for k, file in enumerate(files) if not file.is_file()]
    mine = missing[turn[0] :: turn[1]]
    if mine:
        log.info("The base reads %d prompts, once; kept in %s.", len(prompts), folder)
        model = ScenarioModel(design).to(device).eval()
        for k in mine:
            found = _read(model, parts[k], tokens, device)
            write_files(folder, {files[k].name: save({"features": found})})
    wait()
    try:
        return torch.cat([load_file(file)["features"] for file in files])
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(
            f"a file of {folder} cannot be read ({type(error).__name__}); delete the folder, it is "
            "computed again"
        ) from error


def _key(digest: str, prompts: Sequence[Tensor]) -> str:
    total = hashlib.sha256(digest.encode())
    for ids in prompts:
        total.update(len(ids).to_bytes(8) + ids.to(torch.int64).numpy().tobytes())
    return total.hexdigest()


@torch.no_grad()
def _read(
    model: ScenarioModel, prompts: Sequence[Tensor], tokens: int, device: torch.device | str
) -> Float[Tensor, "prompts d"]:
    """Features in float32, the prompts read in batches of like length."""
    found = torch.empty(len(prompts), model.features)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    while order:
        # The longest come last, so that the length of the last one bounds the whole batch.
        most = max(1, tokens // len(prompts[order[-1]]))
        rows, order = order[-most:], order[:-most]
        ids = pad_sequence([prompts[i] for i in rows], batch_first=True).to(device)
        lengths = torch.tensor([len(prompts[i]) for i in rows], device=device)
        found[torch.tensor(rows)] = model.pooled(ids, lengths).cpu()
    return found
