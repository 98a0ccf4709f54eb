"""Weights & Biases without surprises: its mode is decided first, so it never asks or hangs."""

import netrc
import os
import socket
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from parfait.utils.errors import UserError
from parfait.utils.files import write_files
from parfait.utils.run_config import redact_override

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

DEFAULT_SERVER = "https://api.wandb.ai"
MODES = {"online": "online", "offline": "offline", "disabled": "disabled", "dryrun": "offline"}
INIT_TIMEOUT = 12.0  # seconds; the server answered a moment ago, so this is a safety net
CONNECT_TIMEOUT = 2.0  # seconds; of a server that was asked for twice as long
ID_FILE = "wandb_id.txt"


def resolve_mode(explicit: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Decide how W&B runs.

    In this order: ``explicit``; ``WANDB_MODE``; online if a key is set and the server answers;
    offline.

    Args:
        explicit: ``online``, ``offline``, ``disabled`` or ``None``.
        environment: defaults to that of the process.

    Raises:
        UserError: an unknown mode, or ``online`` without a key (W&B would ask for one and wait)
            or without an answer of the server (it would try again and again).
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
        if wanted == "online" and not answers(server, 2 * CONNECT_TIMEOUT):
            raise UserError(
                f"W&B mode online, but {server} does not answer; use logger.wandb.mode=offline and "
                "wandb sync later"
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
    home: str | None = None,
    name: str | None = None,
    part: str = "",
) -> "WandbLogger":
    """A Lightning logger of one W&B run, which is continued where ``folder`` holds its id; see
    ``begin``.

    Args:
        folder: run folder.
        project, group, job_type, tags: as in W&B.
        mode: see ``resolve_mode``.
        home: folder in whose ``wandb`` W&B keeps its files; ``None`` is ``WANDB_DIR``, else the one
            that the run folder lies in.
        name: of the W&B run; ``None`` is that of the folder.
        part: tells processes apart that share ``folder``; each is a W&B run.

    Raises:
        UserError: see ``resolve_mode``.
    """
    import wandb
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.utilities import rank_zero_only

    if not hasattr(wandb, "init"):  # a folder called wandb is importable, too
        raise UserError(
            "a folder named 'wandb' hides the W&B package; rename it or start elsewhere"
        )
    resolved = resolve_mode(mode)
    main = getattr(rank_zero_only, "rank", 0) == 0  # other processes of a distributed run are mute
    home = home or os.environ.get("WANDB_DIR") or str(Path(folder).absolute().parent)
    logger = WandbLogger(
        name=(name or Path(folder).name) + (part and f" {part}"),
        save_dir=home,
        id=_run_id(Path(folder), part) if main else None,
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
    return logger


def begin(logger: "WandbLogger", settings: Mapping[str, Any]) -> None:
    """Starts the W&B run of ``logger``; its settings are known from the first record on.

    Raises:
        UserError: W&B gets no answer from the server.
    """
    from wandb.errors import CommError

    logger._wandb_init["config"] = dict(settings)
    try:
        with _redacted_arguments():
            run = logger.experiment
        metric = settings.get("optimized_metric")
        if metric is not None:  # by name: of patterns any may win, and Lightning has one for all
            run.define_metric(metric, step_metric="trainer/global_step", summary="min")
        if run.resumed is True:  # W&B goes on with the old ones
            logger.log_hyperparams(dict(settings))
    except CommError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"W&B cannot start a run ({reason}); use logger.wandb.mode=offline"
        ) from error


@contextmanager
def _redacted_arguments() -> Iterator[None]:
    """W&B keeps the command line, which may hold a secret."""
    given = sys.argv
    sys.argv = [given[0], *map(redact_override, given[1:])]
    try:
        yield
    finally:
        sys.argv = given


def _run_id(folder: Path, part: str) -> str:
    """The W&B id of the run in ``folder``, kept there so that a continued run is the same run."""
    file = folder / (ID_FILE if not part else f"{part}.{ID_FILE}")
    if not file.is_file():
        write_files(folder, {file.name: f"{uuid.uuid4().hex[:12]}\n".encode()})
    return file.read_text(encoding="utf-8").strip()
