"""``merge``: a trained adapter and its base become one model that needs neither."""

import logging

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from parfait.stages.schema import MergeConfig, validate
from parfait.utils import tracking
from parfait.utils.errors import UserError, require
from parfait.utils.run_guard import run_guard

log = logging.getLogger(__name__)


def merge(cfg: DictConfig) -> float:
    """Writes ``model/`` with the weights W + (alpha / rank) B A into ``output_dir``, on the CPU.

    Returns:
        The largest difference between the answers of both models to a few instructions, in prior
        sd, or in a logit where they answer in JSON; merging rounds once per weight.

    Raises:
        UserError: the run holds no adapter, or the merged model answers otherwise.
    """
    settings = validate(cfg, MergeConfig)
    if not settings.run:
        raise UserError("merge needs run=..., a run of train.py model=qwen2_lora")
    require("tolerance", settings.tolerance, 0.0)
    console = Console()
    with run_guard(cfg, "merge") as folder:
        tracker = tracking.start(cfg, "merge", folder, {"model": settings.run})
        from parfait.semantic.lm.json_merge import merge_speaker
        from parfait.semantic.lm.merge import merge_run
        from parfait.semantic.lm.reader import model_folder
        from parfait.semantic.lm.speaker import is_speaker

        speaks = is_speaker(model_folder(settings.run))
        make, unit = (merge_speaker, "in a logit") if speaks else (merge_run, "prior sd")
        apart = make(settings.run, folder / "model", settings.tolerance)
        log.info("largest difference %.3g %s", apart, unit, extra={"file_only": True})
        tracker.report(
            {"largest_difference": apart}, kind="model", outputs={"model": folder / "model"}
        )
    console.print(f"Both answer alike within {apart:.2g} {unit}.", highlight=False)
    console.print(Text(f"Model: {folder / 'model'}"), soft_wrap=True)
    return apart
