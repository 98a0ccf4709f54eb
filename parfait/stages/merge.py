"""``merge``: a trained adapter and its base become one model that needs neither."""

import logging

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from parfait.stages.schema import MergeConfig, validate
from parfait.utils.errors import UserError, require
from parfait.utils.run_guard import run_guard

log = logging.getLogger(__name__)


def merge(cfg: DictConfig) -> float:
    """Writes ``model/`` with the weights W + (alpha / rank) B A into ``output_dir``, on the CPU.

    Returns:
        The largest difference between the answers of both models to a few instructions, in prior
        sd; merging rounds once per weight.

    Raises:
        UserError: the run holds no adapter, or the merged model answers otherwise.
    """
    settings = validate(cfg, MergeConfig)
    if not settings.run:
        raise UserError("merge needs run=..., a run of train.py model=qwen2_lora")
    require("tolerance", settings.tolerance, 0.0)
    console = Console()
    with run_guard(cfg, "merge") as folder:
        from parfait.semantic.lm.merge import merge_run

        apart = merge_run(settings.run, folder / "model", settings.tolerance)
        log.info("largest difference %.3g prior sd", apart, extra={"file_only": True})
    console.print(f"Both answer alike within {apart:.2g} prior sd.", highlight=False)
    console.print(Text(f"Model: {folder / 'model'}"), soft_wrap=True)
    return apart
