"""``ScenarioModel``: a causal language model whose query tokens are read out as a mixture."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from parfait.semantic.lm import attention
from parfait.semantic.lm.base import backbone, base_config, load_adapter
from parfait.semantic.lm.design import Design, Small
from parfait.semantic.lm.head import Mixture, MixtureHead
from parfait.semantic.lm.packing import Packed
from parfait.semantic.lm.targets import N_SLOTS
from parfait.utils.errors import MISFITS, UserError, first_line
from parfait.utils.files import json_bytes, write_files
from parfait.utils.strict_json import read_object

FORMAT = 1
CONFIG, HEAD, BACKBONE, ADAPTER = (
    "model.json",
    "head.safetensors",
    "backbone.safetensors",
    "adapter",
)
TOKENIZER, BASE = "tokenizer", "base"


class ScenarioModel(nn.Module):
    """Prompt -> hidden states of eight query tokens, one per slot -> mixtures of several heads.

    The queries follow every prompt, whatever its length, so padding is never read out. With
    ``frozen`` tuning there are none: mean and last hidden state of the prompt are the feature of
    every slot, which can be kept and never computed again.

    Args:
        design: what it is made of.
        pretrained: load the base's weights; ``False`` for its architecture alone (weights follow),
            ``None`` for no base at all: features are given to ``answer``.
        restored: matrices of a quantized base become ordinary ones with the same entries.

    Attributes:
        classes: asset classes that prompts name to it; ``None`` for all.
    """

    def __init__(
        self, design: Design, pretrained: bool | None = True, restored: bool = False
    ) -> None:
        super().__init__()
        self.design = design
        self.classes: tuple[str, ...] | None = None
        self.backbone: Any = None
        if pretrained is not None:
            self.backbone = backbone(design, pretrained, restored=restored)
        config = base_config(design) if self.backbone is None else self.backbone.config
        self.width, self.vocabulary = int(config.hidden_size), int(config.vocab_size)
        self.queries = nn.Parameter(torch.empty(N_SLOTS, self.width))
        nn.init.normal_(self.queries, std=0.02)
        self.head = MixtureHead(self.features, design.hidden, design.ensemble)
        if design.tuning == "frozen":
            self.queries.requires_grad_(False)
            if self.backbone is not None:
                self.backbone.requires_grad_(False)

    def told_of(self, asset: str) -> str | None:
        """The asset class as prompts name it. A model whose words are all learnt from examples can
        make nothing of a class that none of them had: it is told none.
        """
        return asset if self.classes is None or asset in self.classes else None

    @property
    def features(self) -> int:
        """Numbers that the head reads of a slot."""
        return 2 * self.width if self.design.tuning == "frozen" else self.width

    @property
    def extra(self) -> int:
        """Places for queries behind every prompt."""
        return 0 if self.design.tuning == "frozen" else N_SLOTS

    def forward(
        self, ids: Int64[Tensor, "batch tokens"] | Packed, lengths: Int64[Tensor, " batch"]
    ) -> list[Mixture]:
        """Mixtures of every head.

        Args:
            ids: prompts, padded on the right with anything, or packed.
            lengths: tokens of each.

        Raises:
            UserError: the prompts are packed and the base's attention is of a kind of its own.
        """
        return self.answer(self.read(ids, lengths))

    def answer(self, features: Float[Tensor, "batch slots d"]) -> list[Mixture]:
        """Mixtures of every head from features, in float32 whatever the backbone computes in."""
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.float())

    def read(
        self, ids: Int64[Tensor, "batch tokens"] | Packed, lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch slots d"]:
        """The feature of every slot."""
        if self.design.tuning == "frozen":
            with torch.no_grad():
                return self.pooled(ids, lengths)[:, None].expand(-1, N_SLOTS, -1)
        states, places = self.states(ids, lengths)
        return states[places].float()

    def states(
        self, ids: Int64[Tensor, "batch tokens"] | Packed, lengths: Int64[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "*places d"], tuple[Tensor, ...]]:
        """Last hidden states of prompts with their queries, and where the queries are."""
        embed = self.backbone.get_input_embeddings()
        if isinstance(ids, Packed):
            places: tuple[Tensor, ...] = (ids.query_places(),)
            row = embed(ids.ids).clone()
            row[places] = self.queries.to(row.dtype)
            return self._states(ids, inputs_embeds=row[None]), places
        rows = torch.arange(len(ids), device=ids.device)[:, None]
        places = (rows, lengths[:, None] + torch.arange(N_SLOTS, device=ids.device))
        whole = embed(torch.cat([ids, ids.new_zeros(len(ids), N_SLOTS)], dim=1)).clone()
        whole[places] = self.queries.to(whole.dtype)
        return self._states(None, lengths + N_SLOTS, inputs_embeds=whole), places

    def pooled(
        self, ids: Int64[Tensor, "batch tokens"] | Packed, lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch two_d"]:
        """Mean and last hidden state of every prompt."""
        if isinstance(ids, Packed):
            return ids.pooled(self._states(ids, input_ids=ids.ids[None]).float())
        seen = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        hidden = self._states(None, lengths, input_ids=ids).float() * seen[..., None]
        last = hidden[torch.arange(len(ids), device=ids.device), lengths - 1]
        return torch.cat([hidden.sum(1) / lengths[:, None], last], dim=-1)

    def _states(
        self, packed: Packed | None, lengths: Tensor | None = None, **inputs: Tensor
    ) -> Tensor:
        """Last hidden states: (tokens, d) of a packed row, else (batch, tokens, d)."""
        told: dict[str, Any] = {"use_cache": False}
        if packed is not None:
            self.require_packing()
            told |= {"packed": packed, "position_ids": packed.positions[None]}
        elif not attention.used(self.backbone):
            (given,) = inputs.values()
            places = torch.arange(given.shape[1], device=given.device)
            told["attention_mask"] = (places < lengths[:, None]).long()  # pyright: ignore[reportOptionalSubscript]
        state = self.backbone(**inputs, **told).last_hidden_state
        return state if packed is None else state[0]

    def require_packing(self) -> None:
        """Raises ``UserError`` where the base's attention cannot take packed prompts."""
        if not attention.used(self.backbone):
            raise UserError(
                f"the attention of {self.design.base} ({self.backbone.config.model_type}) cannot "
                "take packed prompts; give data.packing=false"
            )

    def trained(self) -> dict[str, Tensor]:
        """The weights that training changed, but those of adapters and of the whole backbone."""
        state = {f"head.{k}": v for k, v in self.head.state_dict().items()}
        return state | {"queries": self.queries.detach()}

    def save(
        self,
        folder: str | Path,
        tokenizer: Any,
        provenance: dict[str, Any],
        whole: bool = False,
    ) -> None:
        """Writes configuration, head, tokenizer, and adapter or backbone below ``folder``; with
        ``whole`` the backbone goes with its architecture, so that no base is needed.
        """
        folder = Path(folder)
        files = {HEAD: save(_plain(self.trained()))}
        design = self.design
        if whole:
            self.backbone.save_pretrained(folder / BASE, safe_serialization=True)
            design = replace(design, base=BASE, revision=None)
        elif self.design.tuning == "full":
            files[BACKBONE] = save(_plain(self.backbone.state_dict()))
        told = {
            "format": FORMAT,
            "design": asdict(design),
            "classes": self.classes,
            "provenance": provenance,
            "whole": whole,
        }
        tokenizer.save_pretrained(folder / TOKENIZER)
        if self.design.tuning == "lora":
            self.backbone.save_pretrained(folder / ADAPTER, safe_serialization=True)
        write_files(folder, files)
        write_files(folder, {CONFIG: json_bytes(told)})  # last: with it the model is whole

    @classmethod
    def load(cls, folder: str | Path, restored: bool = False) -> "ScenarioModel":
        """Reads what ``save`` wrote, in evaluation mode; ``restored`` as in the constructor.

        Raises:
            UserError: a file is missing, or the files do not fit each other.
        """
        folder = Path(folder)
        try:
            told = read_object(folder / CONFIG)
        except UserError as error:
            raise UserError(
                f"{folder} holds no language model of Parfait ({error}); train one "
                "with train.py model=student or model=qwen2_lora"
            ) from error
        if told.get("format") != FORMAT:
            raise UserError(f"{folder / CONFIG} is not a format {FORMAT} model; train it again")
        try:
            parts = dict(told["design"])
            parts["small"] = Small(**parts["small"])
            parts["modules"] = tuple(parts["modules"])
            whole = bool(told.get("whole"))
            if whole:
                parts["base"] = str(folder / BASE)
            design = Design(**parts)
            model = cls(design, whole or design.tuning != "full", restored)
            if told["classes"] is not None:
                model.classes = tuple(map(str, told["classes"]))
            state = load_file(folder / HEAD)
            model.queries.data.copy_(state.pop("queries"))
            model.head.load_state_dict({k.removeprefix("head."): v for k, v in state.items()})
            if design.tuning == "full" and not whole:
                model.backbone.load_state_dict(load_file(folder / BACKBONE))
            if design.tuning == "lora":
                load_adapter(model.backbone, folder / ADAPTER)
        except UserError:
            raise
        except (SafetensorError, *MISFITS) as error:
            reason = first_line(error)
            raise UserError(f"the files of the model in {folder} do not fit: {reason}") from error
        return model.eval().requires_grad_(False)


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
