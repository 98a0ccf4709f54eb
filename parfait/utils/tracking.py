"""Weights & Biases without surprises: its mode is decided first, so it never asks or hangs."""

import netrc
import os
import socket
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from parfait.utils.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

DEFAULT_SERVER = "https://api.wandb.ai"
MODES = {"online": "online", "offline": "offline", "disabled": "disabled", "dryrun": "offline"}
INIT_TIMEOUT = 20.0  # seconds; the server answered a moment ago, so this is a safety net
CONNECT_TIMEOUT = 2.0  # seconds


def resolve_mode(explicit: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Decide how W&B runs.

    In this order: ``explicit``; ``WANDB_MODE``; online if a key is set and the server answers;
    offline.

    Args:
        explicit: ``online``, ``offline``, ``disabled`` or ``None``.
        environment: defaults to that of the process.

    Raises:
        UserError: an unknown mode, or ``online`` without a key (W&B would ask for one and wait).
    """
    env = os.environ if environment is None else environment
    server = env.get("WANDB_BASE_URL") or DEFAULT_SERVER
    wanted = explicit or env.get("WANDB_MODE")
    if wanted:
        if wanted not in MODES:
            raise UserError(f"the W&B mode {wanted!r} is none of online, offline, disabled")
        if wanted == "online" and not has_key(server, env):
            raise UserError(
                "W&B mode online needs a key: set WANDB_API_KEY, or use logger.wandb.mode=offline"
            )
        return MODES[wanted]
    return "online" if has_key(server, env) and answers(server) else "offline"


def has_key(server: str, environment: Mapping[str, str]) -> bool:
    """Whether a key is in the environment or in the netrc file for ``server``."""
    if environment.get("WANDB_API_KEY"):
        return True
    home = Path(environment.get("HOME") or Path.home())
    file = Path(environment.get("NETRC") or home / ".netrc")
    try:
        return netrc.netrc(str(file)).authenticators(urlsplit(server).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def answers(server: str, timeout: float = CONNECT_TIMEOUT) -> bool:
    """Whether ``server`` accepts a connection within ``timeout`` seconds, name lookup included."""
    parts = urlsplit(server)
    address = (parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443))
    connected = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection(address, timeout=timeout).close()
            connected.set()
        except OSError:
            pass

    # A thread, because the resolver of the system ignores socket timeouts.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    return connected.is_set()


def wandb_logger(
    folder: str,
    project: str = "parfait",
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] = (),
    mode: str | None = None,
) -> "WandbLogger":
    """A Lightning logger that writes below ``folder`` and continues the run it already holds.

    Args:
        folder: run folder; its name becomes the name of the W&B run.
        project, group, job_type, tags: as in W&B.
        mode: see ``resolve_mode``.
    """
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    if not hasattr(wandb, "init"):  # a folder called wandb is importable, too
        raise UserError(
            "a folder named 'wandb' hides the W&B package; rename it or start elsewhere"
        )
    resolved = resolve_mode(mode)
    logger = WandbLogger(
        name=Path(folder).name,
        save_dir=folder,
        id=_run_id(Path(folder)),
        project=project,
        group=group,
        job_type=job_type,
        tags=list(tags),
        mode=resolved,
        resume="allow" if resolved == "online" else None,
        settings=wandb.Settings(init_timeout=INIT_TIMEOUT, save_code=False, silent=True),
    )
    # Lightning always passes this retired setting on, and W&B answers with a warning.
    logger._wandb_init.pop("anonymous", None)
    logger.experiment.define_metric("val/*", summary="min")
    return logger


def finish(exit_code: int) -> None:
    """Close the W&B run of this process, if any; two jobs of a sweep would share it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=exit_code)


def _run_id(folder: Path) -> str:
    """The W&B id of the run in ``folder``, kept there so that a continued run is the same run."""
    file = folder / "wandb_id.txt"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(uuid.uuid4().hex[:12] + "\n", encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()
