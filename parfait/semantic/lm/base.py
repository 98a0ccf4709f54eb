"""The network below the head: a language model of transformers, with adapters where asked for."""

import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from parfait.semantic.lm import attention
from parfait.semantic.lm.design import Design
from parfait.utils.errors import UserError, first_line


def backbone(
    design: Design, pretrained: bool = True, speaks: bool = False, restored: bool = False
) -> Any:
    """The network, with adapters where they are asked for.

    Args:
        design: what it is made of.
        pretrained: load the base's weights; else only its architecture.
        speaks: with its language head.
        restored: matrices of a quantized base become ordinary ones with the same entries.

    Raises:
        UserError: there is no such base, or quantization lacks its library.
    """
    base = _bare(design, pretrained, speaks)
    if not speaks:  # one that speaks has a cache, and masks to match
        attention.use(base)
    if design.quantization is not None and restored:
        base = base.dequantize()
    if design.tuning != "lora" or not pretrained:
        return base
    return adapted(base, replace(design, quantization=None) if restored else design, speaks)


def adapted(base: Any, design: Design, speaks: bool = False) -> Any:
    """A network with adapters, which start without any effect; all else is frozen."""
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    adapters = LoraConfig(
        r=design.rank,
        lora_alpha=design.alpha,
        lora_dropout=design.dropout,
        target_modules=list(design.modules),
        task_type="CAUSAL_LM" if speaks else "FEATURE_EXTRACTION",
    )
    with warnings.catch_warnings():
        # peft asks transformers by a name that transformers will give up.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        if design.quantization is not None:
            # Before the adapters: it freezes every parameter that it finds.
            base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
        # Adapters of a base in half precision are kept in float32, or small steps would be lost.
        return get_peft_model(base, adapters, autocast_adapter_dtype=True)


def _bare(design: Design, pretrained: bool, speaks: bool) -> Any:
    from transformers import AutoModel, AutoModelForCausalLM, Qwen2Config
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    auto: Any = AutoModelForCausalLM if speaks else AutoModel
    if design.base is None:
        s = design.small
        return auto.from_config(
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
        return auto.from_config(base_config(design))
    logging.set_verbosity_error()  # a report of the language head that is left out, on purpose
    dtype = getattr(torch, design.dtype)
    try:
        return auto.from_pretrained(
            design.base,
            config=base_config(design),
            use_safetensors=True,
            dtype=dtype,
            revision=design.revision or "main",
            trust_remote_code=False,
            **_quantized(design, dtype),
        )
    except (OSError, ValueError) as error:
        raise _no_base(design, error) from error


def _quantized(design: Design, dtype: torch.dtype) -> dict[str, Any]:
    if design.quantization is None:
        return {}
    require_quantization(design)
    from transformers import BitsAndBytesConfig

    if design.quantization == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    }


def require_quantization(design: Design) -> None:
    """Raises ``UserError`` where a quantized base is asked for and its library is missing."""
    if design.quantization is not None and find_spec("bitsandbytes") is None:
        raise UserError(
            f"model.quantization={design.quantization} needs bitsandbytes; install it with "
            "pip install 'parfait[qlora]', or train without (model.quantization=null)"
        )


def base_config(design: Design) -> Any:
    """The architecture of the base, as transformers knows it.

    Raises:
        UserError: there is no such base, or it cannot be had without a network.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            str(design.base), revision=design.revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise _no_base(design, error) from error
    kernel = str(config._attn_implementation)
    if "/" in kernel:  # transformers would fetch it and run it
        raise UserError(
            f"model.base={design.base} asks for the attention {kernel}; no downloaded code is ever "
            "run"
        )
    return config


def _no_base(design: Design, error: Exception) -> UserError:
    return UserError(
        f"model.base={design.base} cannot be loaded ({first_line(error)}); give a name or "
        "a folder of a causal language model with safetensors"
    )


def load_adapter(backbone: Any, folder: Path) -> None:
    """Reads the weights of adapters; ``ValueError`` when they are of another model."""
    from peft import set_peft_model_state_dict

    # By hand, for peft would take a pickle where there are no safetensors, or ask the network.
    told = set_peft_model_state_dict(backbone, load_file(folder / "adapter_model.safetensors"))
    if told.unexpected_keys:
        raise ValueError(f"the adapter holds {told.unexpected_keys[0]}, which the model lacks")
