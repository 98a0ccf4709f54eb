"""Training beside a base that stays as it is: checkpoints leave it out, for it can be had again."""

from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch.strategies import FSDPStrategy

from parfait.utils.errors import UserError


class TrainedOnly(lightning.LightningModule):
    """A module whose state lacks weights of its base, unless the base is trained as a whole."""

    base_prefix: str  # of the base's names in the state

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What is trained, and whatever is not the base."""
        state = super().state_dict(*args, **kwargs)
        below = {
            n.replace("_fsdp_wrapped_module.", ""): p.requires_grad
            for n, p in self.named_parameters()
            if n.startswith(self.base_prefix)
        }
        kept = {name for name, trained in below.items() if trained}
        if len(kept) < len(below):  # a quantized matrix has more entries than its parameter
            state = {
                k: v for k, v in state.items() if not k.startswith(self.base_prefix) or k in kept
            }
        return state

    def require_shardable(self) -> None:
        """Raises ``UserError`` where weights of several types would be sharded."""
        types = {p.dtype for p in self.parameters()}
        if isinstance(self.trainer.strategy, FSDPStrategy) and len(types) > 1:
            raise UserError(
                "trainer=fsdp shards weights of one type: give model.dtype=float32 and "
                "model.quantization=null, or trainer=ddp with the whole base on every card"
            )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Inverse of ``state_dict``.

        Raises:
            RuntimeError: with ``strict``, it names other weights.
        """
        known = self.state_dict().keys()
        if strict and known != state_dict.keys():
            raise RuntimeError(f"other weights: {sorted(known ^ state_dict.keys())[:3]}")
        return super().load_state_dict(state_dict, strict=False, assign=assign)
