"""The network of the amortised posterior, with every constant it needs, as two files."""

import itertools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32, Float64
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from parfait.labels.features import Summary
from parfait.regime import FIELD_NAMES
from parfait.utils.errors import MISFITS, UserError, first_line
from parfait.utils.files import write_files
from parfait.utils.strict_json import read_object

FORMAT = 2
BLOCK = 128  # windows of one product
WEIGHTS, CONFIG = "model.safetensors", "model.json"
EMBEDDED = Path(__file__).parent.parent / "pretrained" / "labeler"
# The drift is left to its normal posterior: its prior depends on how many bars make a year.
TOTAL = "total_volatility"  # beside the fields: its logarithm
GROWTH_ERROR = "growth_error"  # of the mean return, in ``Summary.error``: from it the drift follows
TARGETS = (*(name for name in FIELD_NAMES if name != "drift"), TOTAL, GROWTH_ERROR)
RELATIVE = ("volatility", "vol_of_vol", "initial_volatility", TOTAL)  # to ``log_volatility``
_LOW, _HIGH = -4.0, 1.5  # of ln sd, standardised targets
_KNEE = 10.0  # standard deviations of a feature: beyond, it is only known to be far


class PosteriorNet(nn.Module):
    """Location and log standard deviation of every target: an MLP of SiLUs.

    Args:
        features: numbers read.
        width, layers: of the MLP.
    """

    def __init__(self, features: int, width: int = 192, layers: int = 3) -> None:
        super().__init__()
        self.config = {"features": features, "width": width, "layers": layers}
        sizes = [features, *[width] * layers]
        hidden = [
            part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())
        ]
        self.body = nn.Sequential(*hidden, nn.Linear(width, 2 * len(TARGETS)))

    def forward(
        self, x: Float32[Tensor, "windows features"]
    ) -> tuple[Float32[Tensor, "windows 12"], Float32[Tensor, "windows 12"]]:
        """Location and ln sd, the latter bent smoothly into [-4, 1.5]."""
        loc, log_sd = self.body(x).chunk(2, dim=1)
        middle, half = (_LOW + _HIGH) / 2, (_HIGH - _LOW) / 2
        return loc, middle + half * torch.tanh((log_sd - middle) / half)


def gaussian_loss(loc: Tensor, log_sd: Tensor, target: Tensor) -> Tensor:
    """Mean over windows of -ln N(target; loc, sd), summed over targets; NaN is no target."""
    known = ~torch.isnan(target)
    z = (torch.where(known, target, 0.0) - loc) * torch.exp(-log_sd)
    loss = (0.5 * z.square() + log_sd) * known
    return loss.sum(dim=1).mean()


@dataclass(frozen=True, eq=False)
class LabelerModel:
    """Network and constants: enough to label, no optimiser, no Lightning.

    Attributes:
        net: in evaluation mode when loaded.
        mean, sd: of the features in training, (features,).
        whitening: (features, features), takes standardised features to uncorrelated ones.
        centre, width: of the targets, (12,); those in ``RELATIVE`` less ``log_volatility``.
        lengths: n at which ``calibration`` holds; the ends bound what was trained on.
        calibration: factors on the standard deviations, (lengths, 12): of the fields, the drift
            first, and the total volatility.
        farthest: distances of a feature vector that 99.9 % of training windows keep, by length.
        provenance: how it was made, for the reader.
    """

    net: PosteriorNet
    mean: Tensor
    sd: Tensor
    whitening: Tensor
    centre: Tensor
    width: Tensor
    lengths: tuple[int, ...]
    calibration: Float64[Tensor, "lengths 12"]
    farthest: Float64[Tensor, " lengths"]
    provenance: dict[str, Any] = field(default_factory=dict)

    def standardised(self, features: Tensor) -> Tensor:
        """Features of mean 0 and sd 1 in training, tails cut at 10 sd."""
        z = (features - self.mean) / self.sd
        return z.clamp(-_KNEE, _KNEE)

    def targets(self, truth: Tensor, growth: Tensor, summary: Summary) -> Tensor:
        """What the network learns of coordinates at 252 bars a year, (windows, 12) float32.

        Args:
            truth, growth: as ``Simulated`` has them.
        """
        missed = (summary.growth - growth) / summary.error
        shift = summary.log_volatility[:, None] * _relative()
        columns = torch.cat([truth[:, 1:], missed[:, None]], dim=1)
        return ((columns - shift - self.centre) / self.width).float()

    def posterior(
        self, summary: Summary
    ) -> tuple[Float64[Tensor, "windows 12"], Float64[Tensor, "windows 12"]]:
        """Centres and uncalibrated spreads of the targets at 252 bars a year."""
        # In blocks of one width: a product's last digits depend on how many rows it has.
        found = [self.net(x) for x in self.standardised(summary.features).split(BLOCK)]
        loc, log_sd = (torch.cat(part) for part in zip(*found, strict=True))
        shift = summary.log_volatility[:, None] * _relative()
        return loc.double() * self.width + self.centre + shift, log_sd.double().exp() * self.width

    def distance(self, features: Tensor) -> Float64[Tensor, " windows"]:
        """Root mean square of the whitened features: 1 in training."""
        z = self.standardised(features)
        white = torch.cat([x @ self.whitening for x in z.split(BLOCK)])
        return white.square().mean(dim=1).sqrt().double()

    def at(self, n: int) -> tuple[Float64[Tensor, "12"], float]:
        """Calibration and farthest distance for windows of n returns, linear in ln n."""
        lengths = [math.log(length) for length in self.lengths]
        x = min(max(math.log(n), lengths[0]), lengths[-1])
        j = max(sum(length < x for length in lengths), 1)
        share = (x - lengths[j - 1]) / (lengths[j] - lengths[j - 1])
        rows = (1 - share) * self.calibration[j - 1] + share * self.calibration[j]
        far = (1 - share) * self.farthest[j - 1] + share * self.farthest[j]
        return rows, float(far)

    def save(self, folder: str | Path) -> None:
        """Writes ``model.safetensors`` and ``model.json``, each atomically."""
        state = {
            f"net.{k}": t.detach().cpu().contiguous() for k, t in self.net.state_dict().items()
        }
        state |= {name: getattr(self, name).float().contiguous() for name in _FEATURE_CONSTANTS}
        config = {
            "format": FORMAT,
            "net": self.net.config,
            "targets": list(TARGETS),
            "lengths": list(self.lengths),
            **{name: getattr(self, name).tolist() for name in _SMALL_CONSTANTS},
            "provenance": self.provenance,
        }
        text = json.dumps(config, indent=1, allow_nan=False)
        write_files(folder, {WEIGHTS: save(state), CONFIG: text.encode()})

    @classmethod
    def load(cls, path: str | Path | None = None) -> "LabelerModel":
        """Reads a model folder; ``None`` is the embedded default.

        Raises:
            UserError: a file is missing, or the files do not fit each other.
        """
        folder = EMBEDDED if path is None else Path(path)
        try:
            config = read_object(folder / CONFIG)
            state = load_file(folder / WEIGHTS)
        except (OSError, UserError, SafetensorError) as error:
            raise UserError(f"the labeler in {folder} cannot be read: {error}") from error
        if config.get("format") != FORMAT:
            raise UserError(f"{folder / CONFIG} is not a format {FORMAT} labeler; train it again")
        try:
            if tuple(config["targets"]) != TARGETS:
                raise ValueError(f"its targets are {config['targets']}")
            net = PosteriorNet(**config["net"])
            weights = {k.removeprefix("net."): t for k, t in state.items() if k.startswith("net.")}
            net.load_state_dict(weights)
            small = {
                name: torch.tensor(config[name], dtype=torch.float64) for name in _SMALL_CONSTANTS
            }
            constants = {name: state[name] for name in _FEATURE_CONSTANTS}
            return cls(
                net=net.eval().requires_grad_(False),
                lengths=tuple(config["lengths"]),
                provenance=config.get("provenance", {}),
                **constants,
                **small,
            )
        except MISFITS as error:
            reason = first_line(error)
            raise UserError(f"the files of the labeler in {folder} do not fit: {reason}") from error


_FEATURE_CONSTANTS = ("mean", "sd", "whitening")
_SMALL_CONSTANTS = ("centre", "width", "calibration", "farthest")


def _relative() -> Tensor:
    return torch.tensor([float(name in RELATIVE) for name in TARGETS], dtype=torch.float64)
