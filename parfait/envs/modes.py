"""How environments may be shown."""

from parfait.utils.errors import UserError

RENDER_MODES = ["rgb_array"]


def checked(render_mode: str | None) -> bool:
    """Whether there is something to show.

    Raises:
        UserError: an unknown mode.
    """
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise UserError(f"render_mode={render_mode} is unknown; use rgb_array, or none")
    return render_mode is not None
