"""A trained denoiser with every constant it needs, as two files: safetensors and JSON."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from parfait.microstructure.codec import BarCodec
from parfait.microstructure.constraint import Segments
from parfait.microstructure.diffusion import EDM
from parfait.microstructure.familiarity import Familiarity
from parfait.microstructure.features import RegimeScaling
from parfait.microstructure.unet1d import UNet1D
from parfait.utils.errors import MISFITS, UserError, first_line
from parfait.utils.files import write_files
from parfait.utils.strict_json import read_object

FORMAT = 3
WEIGHTS, CONFIG = "model.safetensors", "model.json"
EMBEDDED = Path(__file__).parent.parent / "pretrained" / "unet1d"


@dataclass(frozen=True)
class DenoiserModel:
    """Network, codec, diffusion and label constants: enough to sample, no optimiser, no Lightning.

    Attributes:
        net: F, in evaluation mode when loaded.
        codec, diffusion, scaling: constants fixed at training.
        volatility_range: 1 and 99 % quantiles of sigma sqrt(dt)/s in training; the network is told
            no ratio outside it.
        max_horizon: longest window trained on, bars.
        familiarity: which guides it was trained on.
        provenance: data fingerprint, training configuration and recorded losses, for the reader.
    """

    net: UNet1D
    codec: BarCodec = field(default_factory=BarCodec)
    diffusion: EDM = field(default_factory=EDM)
    scaling: RegimeScaling = field(default_factory=RegimeScaling)
    volatility_range: tuple[float, float] = (0.3, 3.0)
    max_horizon: int = 64
    familiarity: Familiarity = field(default_factory=Familiarity)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def history_length(self) -> int:
        """Bars the network looks back."""
        return self.net.history.bars

    def denoise(
        self,
        x: Tensor,
        sigma: float,
        segments: Segments,
        bar_features: Tensor,
        window_features: Tensor,
        tokens: Tensor,
    ) -> Tensor:
        """D(x; sigma) = P(c_skip x + c_out F), one noise level for the whole batch."""
        root = (1 + sigma**2) ** 0.5
        c_noise = x.new_full((x.shape[0],), sigma).log() / 4
        f = self.net(x / root, c_noise, bar_features, window_features, tokens)
        return segments.project(x / root**2 + f * (sigma / root))

    def to_config(self) -> dict[str, Any]:
        """What ``model.json`` holds."""
        return {
            "format": FORMAT,
            "net": self.net.config,
            "codec": self.codec.to_dict(),
            "diffusion": asdict(self.diffusion),
            "scaling": {k: list(v) for k, v in asdict(self.scaling).items()},
            "volatility_range": list(self.volatility_range),
            "max_horizon": self.max_horizon,
            "familiarity": {k: list(v) for k, v in asdict(self.familiarity).items()},
            "provenance": self.provenance,
        }

    def save(self, folder: str | Path) -> None:
        """Writes ``model.safetensors`` and ``model.json``, each atomically."""
        state = {name: t.detach().cpu().contiguous() for name, t in self.net.state_dict().items()}
        config = json.dumps(self.to_config(), indent=1, allow_nan=False)
        write_files(folder, {WEIGHTS: save(state), CONFIG: config.encode()})

    @classmethod
    def load(cls, path: str | Path | None = None) -> "DenoiserModel":
        """Reads a model folder, or a training run that holds one; ``None`` is the embedded default.

        Raises:
            UserError: the folder or a file is missing, or the files do not fit each other.
        """
        folder = EMBEDDED if path is None else _model_folder(Path(path))
        try:
            config = read_object(folder / CONFIG)
            state = load_file(folder / WEIGHTS)
        except (OSError, UserError, SafetensorError) as error:
            raise UserError(f"the model in {folder} cannot be read: {error}") from error
        if config.get("format") != FORMAT:
            raise UserError(f"{folder / CONFIG} is not a format {FORMAT} model; train it again")
        try:
            net = UNet1D(**config["net"])
            net.load_state_dict(state)
            scaling = RegimeScaling(**{k: tuple(v) for k, v in config["scaling"].items()})
            low, high = config["volatility_range"]
            model = cls(
                net.eval().requires_grad_(False),
                BarCodec.from_dict(config["codec"]),
                EDM(**config["diffusion"]),
                scaling,
                (float(low), float(high)),
                int(config["max_horizon"]),
                Familiarity(**{k: tuple(v) for k, v in config["familiarity"].items()}),
                config.get("provenance", {}),
            )
        except MISFITS as error:
            reason = first_line(error)
            raise UserError(
                f"{folder / WEIGHTS} holds another architecture than {CONFIG} beside it: {reason}"
            ) from error
        return model

    def fingerprint(self) -> str:
        """sha256 over the weights and the configuration: names this very model."""
        digest = hashlib.sha256(json.dumps(self.to_config(), sort_keys=True).encode())
        for name, tensor in sorted(self.net.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().to(torch.float32).numpy().tobytes())
        return digest.hexdigest()


def _model_folder(path: Path) -> Path:
    for folder in (path, path / "model"):
        if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
            return folder
    raise UserError(
        f"{path} holds no trained model ({CONFIG} and {WEIGHTS}); name the folder of a finished "
        "training run"
    )
