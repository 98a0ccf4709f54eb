"""``ScenarioModel``: a causal language model whose query tokens are read out as a mixture."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from parfait.semantic.lm.head import Mixture, MixtureHead
from parfait.semantic.lm.targets import N_SLOTS
from parfait.utils.errors import UserError
from parfait.utils.files import json_bytes, write_files

FORMAT = 1
CONFIG, HEAD, BACKBONE, ADAPTER = (
    "model.json",
    "head.safetensors",
    "backbone.safetensors",
    "adapter",
)
TOKENIZER, BASE = "tokenizer", "base"
TUNINGS = ("lora", "full", "frozen")


@dataclass(frozen=True)
class Small:
    """A Qwen2 architecture that starts from random weights, for a student without a base.

    Args:
        vocabulary, hidden, layers, heads, key_value_heads, intermediate: of the network.
        positions: tokens at most.
    """

    vocabulary: int = 4096
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 384
    positions: int = 512


@dataclass(frozen=True)
class Design:
    """What a ``ScenarioModel`` is made of.

    Args:
        base: name or folder of a causal language model; ``None`` for a small one.
        revision: of the base.
        small: the architecture without a base.
        tuning: ``lora`` trains adapters and queries, ``full`` everything, ``frozen`` the head.
        rank, alpha, dropout: of LoRA (Hu et al. 2022).
        modules: names of the layers that get adapters.
        hidden, ensemble: units and number of the heads.
        dtype: of the base's weights.

    Raises:
        UserError: an unknown tuning or type, or LoRA without a base.
    """

    base: str | None = None
    revision: str | None = None
    small: Small = Small()
    tuning: str = "full"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    hidden: int = 128
    ensemble: int = 3
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.tuning not in TUNINGS:
            raise UserError(f"model.tuning={self.tuning} must be one of {', '.join(TUNINGS)}")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise UserError(f"model.dtype={self.dtype} must be float32, bfloat16 or float16")
        if self.base is None and self.tuning != "full":
            raise UserError(
                f"model.tuning={self.tuning} needs model.base, a causal language model; "
                "random weights are trained in full"
            )


class ScenarioModel(nn.Module):
    """Prompt -> hidden states of eight query tokens, one per slot -> mixtures of several heads.

    The queries follow the prompt at the end of every row, whatever its length, so padding is never
    read out. With ``frozen`` tuning there are none: mean and last hidden state of the prompt are
    the feature of every slot, which can be kept and never computed again.

    Args:
        design: what it is made of.
        pretrained: load the base's weights; else only its architecture (weights follow).
    """

    def __init__(self, design: Design, pretrained: bool = True) -> None:
        super().__init__()
        self.design = design
        self.backbone = _backbone(design, pretrained)
        width = int(self.backbone.config.hidden_size)
        self.queries = nn.Parameter(torch.empty(N_SLOTS, width))
        nn.init.normal_(self.queries, std=0.02)
        self.head = MixtureHead(self.features, design.hidden, design.ensemble)
        if design.tuning == "frozen":
            self.backbone.requires_grad_(False)
            self.queries.requires_grad_(False)

    @property
    def features(self) -> int:
        """Numbers that the head reads of a slot."""
        width = int(self.backbone.config.hidden_size)
        return 2 * width if self.design.tuning == "frozen" else width

    def forward(
        self, ids: Int64[Tensor, "batch tokens"], lengths: Int64[Tensor, " batch"]
    ) -> list[Mixture]:
        """Mixtures of every head.

        Args:
            ids: prompts, padded on the right with anything.
            lengths: tokens of each.
        """
        return self.head(self.read(ids, lengths))

    def read(
        self, ids: Int64[Tensor, "batch tokens"], lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch slots d"]:
        """The feature of every slot."""
        if self.design.tuning == "frozen":
            with torch.no_grad():
                return self._pooled(ids, lengths)
        embed = self.backbone.get_input_embeddings()
        rows = torch.arange(len(ids), device=ids.device)[:, None]
        places = lengths[:, None] + torch.arange(N_SLOTS, device=ids.device)
        whole = embed(torch.cat([ids, ids.new_zeros(len(ids), N_SLOTS)], dim=1)).clone()
        whole[rows, places] = self.queries.to(whole.dtype)
        seen = torch.arange(whole.shape[1], device=ids.device) < (lengths + N_SLOTS)[:, None]
        state = self.backbone(inputs_embeds=whole, attention_mask=seen.long(), use_cache=False)
        return state.last_hidden_state[rows, places].float()

    def _pooled(self, ids: Tensor, lengths: Tensor) -> Tensor:
        seen = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        state = self.backbone(input_ids=ids, attention_mask=seen.long(), use_cache=False)
        hidden = state.last_hidden_state.float() * seen[..., None]
        last = hidden[torch.arange(len(ids), device=ids.device), lengths - 1]
        both = torch.cat([hidden.sum(1) / lengths[:, None], last], dim=-1)
        return both[:, None].expand(-1, N_SLOTS, -1)

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
            "provenance": provenance,
            "whole": whole,
        }
        tokenizer.save_pretrained(folder / TOKENIZER)
        if self.design.tuning == "lora":
            self.backbone.save_pretrained(folder / ADAPTER, safe_serialization=True)
        write_files(folder, files)
        write_files(folder, {CONFIG: json_bytes(told)})  # last: with it the model is whole

    @classmethod
    def load(cls, folder: str | Path) -> "ScenarioModel":
        """Reads what ``save`` wrote, in evaluation mode.

        Raises:
            UserError: a file is missing, or the files do not fit each other.
        """
        folder = Path(folder)
        try:
            told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder} holds no language model of Parfait ({type(error).__name__}); train one "
                "with train.py model=student or model=qwen2_lora"
            ) from error
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise UserError(f"{folder / CONFIG} is not a format {FORMAT} model; train it again")
        try:
            parts = dict(told["design"])
            parts["small"] = Small(**parts["small"])
            parts["modules"] = tuple(parts["modules"])
            whole = bool(told.get("whole"))
            if whole:
                parts["base"] = str(folder / BASE)
            design = Design(**parts)
            model = cls(design, pretrained=whole or design.tuning != "full")
            state = load_file(folder / HEAD)
            model.queries.data.copy_(state.pop("queries"))
            model.head.load_state_dict({k.removeprefix("head."): v for k, v in state.items()})
            if design.tuning == "full" and not whole:
                model.backbone.load_state_dict(load_file(folder / BACKBONE))
            if design.tuning == "lora":
                _load_adapter(model.backbone, folder / ADAPTER)
        except UserError:
            raise
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the files of the model in {folder} do not fit: {reason}") from error
        return model.eval().requires_grad_(False)


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def _backbone(design: Design, pretrained: bool) -> Any:
    """The network without its language head, with adapters where they are asked for."""
    from transformers import AutoModel, Qwen2Config, Qwen2Model
    from transformers.utils import logging

    dtype = getattr(torch, design.dtype)
    if design.base is None:
        s = design.small
        return Qwen2Model(
            Qwen2Config(
                vocab_size=s.vocabulary,
                hidden_size=s.hidden,
                num_hidden_layers=s.layers,
                num_attention_heads=s.heads,
                num_key_value_heads=s.key_value_heads,
                intermediate_size=s.intermediate,
                max_position_embeddings=s.positions,
                tie_word_embeddings=True,
                # Narrow layers of the usual sd, .02, barely pass anything on: training starts late.
                initializer_range=s.hidden**-0.5,
            )
        )
    if not pretrained:
        return AutoModel.from_config(base_config(design))
    logging.set_verbosity_error()  # a report of the language head that is left out, on purpose
    common = {"revision": design.revision or "main", "trust_remote_code": False}
    try:
        base = AutoModel.from_pretrained(design.base, use_safetensors=True, dtype=dtype, **common)
    except (OSError, ValueError) as error:
        raise _no_base(design, error) from error
    if design.tuning != "lora":
        return base
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(
        r=design.rank,
        lora_alpha=design.alpha,
        lora_dropout=design.dropout,
        target_modules=list(design.modules),
        task_type="FEATURE_EXTRACTION",
    )
    return get_peft_model(base, adapters)


def base_config(design: Design) -> Any:
    """The architecture of the base, as transformers knows it.

    Raises:
        UserError: there is no such base, or it cannot be had without a network.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(
            str(design.base), revision=design.revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise _no_base(design, error) from error


def _no_base(design: Design, error: Exception) -> UserError:
    return UserError(
        f"model.base={design.base} cannot be loaded ({str(error).splitlines()[0]}); give a name or "
        "a folder of a causal language model with safetensors"
    )


def _load_adapter(backbone: Any, folder: Path) -> None:
    from peft import load_peft_weights, set_peft_model_state_dict

    told = set_peft_model_state_dict(backbone, load_peft_weights(str(folder), device="cpu"))
    if told.unexpected_keys:
        raise ValueError(f"the adapter holds {told.unexpected_keys[0]}, which the model lacks")
