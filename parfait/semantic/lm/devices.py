"""Where a model runs."""

from typing import Any

from parfait.utils.errors import UserError


def moved(model: Any, device: str) -> Any:
    """The model on that device.

    Raises:
        UserError: there is no such device, or the model does not fit it.
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by device and build
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"semantic.device={device} cannot be used ({reason}); give cpu, or cuda where there is "
            "a GPU with room for the model"
        ) from error
