"""``play``: a page in the browser for sentences and their scenarios."""

import errno
import ipaddress
import os
import socket
import sys
import webbrowser
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from parfait.stages.schema import PlayConfig, plain, validate
from parfait.stages.simulate import layers
from parfait.utils.errors import UserError, require
from parfait.utils.run_guard import run_guard

if TYPE_CHECKING:
    from uvicorn import Server

EVERYWHERE = ("0.0.0.0", "::", "")


def play(cfg: DictConfig) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UserError: a setting that cannot be used, a taken port, or the extra is not installed.
    """
    settings = validate(cfg, PlayConfig)
    _check(settings)
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError('the page needs FastAPI and uvicorn: pip install "parfait[app]"') from error
    console = Console()
    with listening(settings.host, settings.port) as listener, run_guard(cfg, "play") as folder:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{'127.0.0.1' if host in EVERYWHERE else shown}:{port}/"
        console.print("Starting the page, a few seconds ...", style="dim")
        from parfait.histories import load_histories
        from parfait.pipeline import Pipeline
        from parfait.play.app import create_app
        from parfait.play.form import Ask, Caps
        from parfait.play.studio import Studio

        histories = load_histories(None)
        if settings.history is not None:
            options = plain(settings.history_options)
            histories = [*load_histories(plain(settings.history, text=True), options), *histories]
        studio = Studio(
            load=lambda: Pipeline.load(**layers(cfg, settings)),
            histories=histories,
            folder=folder,
            options={
                "bars_per_year": settings.bars_per_year,
                "guide_every": settings.sde["guide"]["every"],
                "jump_sigmas": settings.sde["guide"]["jump_sigmas"],
            },
            waiting=settings.waiting,
            kept=settings.kept,
        )
        usual = ("", 0, settings.asset, settings.horizon, settings.n_paths, settings.seed)
        caps = Caps(settings.max_paths, settings.max_horizon, settings.max_bars)
        app = create_app(studio, caps, Ask(*usual), known_names(settings.host, settings.names))
        server: Server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                limit_concurrency=64,
                timeout_graceful_shutdown=2,
            )
        )
        studio.start(lambda: setattr(server, "should_exit", True))
        if not is_loopback(host):
            console.print(
                Text(f"! {host} lets others in: whoever reaches this port uses the page."),
                style="yellow",
            )
        console.print(Text(f"Playground: {url}  (Ctrl-C ends it)"), style="bold", soft_wrap=True)
        if settings.open_browser and _has_screen():
            webbrowser.open(url)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass
        finally:
            studio.close()
        if studio.error is not None:
            raise studio.error
        runs = f"{studio.made} run{'' if studio.made == 1 else 's'}"
        console.print(f"Closed after {runs}.", highlight=False)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UserError: the port is taken (names the next free one), or no such address is ours.
    """
    try:
        return _bound(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = next((p for p in range(port + 1, min(port + 100, 65_536)) if _free(host, p)), 0)
            raise UserError(f"port {port} is taken; port={free} is free") from error
        reason = error.strerror or error
        raise UserError(f"host={host} port={port} cannot be listened on: {reason}") from error


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except BaseException:
        listener.close()
        raise
    return listener


def _free(host: str, port: int) -> bool:
    try:
        _bound(host, port).close()
    except OSError:
        return False
    return True


def known_names(host: str, names: list[str]) -> set[str]:
    """Names under which the page may be asked for."""
    own = {"127.0.0.1", "localhost", "::1", *names}
    return own if host in EVERYWHERE else own | {host}


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    return ipaddress.ip_address(host).is_loopback


def _has_screen() -> bool:
    """Whether a browser opens a window, and does not take over the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _check(settings: PlayConfig) -> None:
    """``UserError`` for a setting out of its bounds, and for a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from parfait.regime.context import check_asset_class

    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError("play serves one page; leave out -m")
    require("port", settings.port, 0, 65_535)
    for name in ("max_paths", "max_horizon", "max_bars", "kept"):
        require(name, getattr(settings, name), 1)
    if settings.asset is not None:
        check_asset_class(settings.asset)
    require("waiting", settings.waiting, 0)
    require("seed", settings.seed, 0)
    require("n_paths", settings.n_paths, 1, settings.max_paths)
    require("horizon", settings.horizon, 1, settings.max_horizon)
