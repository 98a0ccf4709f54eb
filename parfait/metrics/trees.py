"""A third judge: boosted trees on summary numbers of each window, where scikit-learn is installed.

It needs no patience of training and sees moments, extremes, clustering and couplings directly; it
is blind to anything that no summary holds.
"""

from importlib import import_module
from importlib.util import find_spec

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from parfait.utils.errors import UserError

MISSING = "needs the package scikit-learn: pip install 'parfait[evaluate]'"
ITERATIONS = 100
LAGS = (1, 2, 3, 5)


def window_features(
    windows: Float32[Tensor, "windows steps channels"],
) -> Float64[Tensor, "windows features"]:
    """Per channel mean, deviation, skewness, least and largest; of the first two, returns and their
    size, autocorrelations and leverage at lags 1, 2, 3, 5; correlation of size and last channel: 23
    numbers of two channels, 43 of six.

    A window that does not move has 0 for what is not defined.
    """
    x = windows.to(torch.float64)
    mean = x.mean(1, keepdim=True)
    centred = x - mean
    deviation = centred.square().mean(1).sqrt()
    z = torch.where(deviation[:, None] > 1e-6, centred / deviation.clamp_min(1e-6)[:, None], 0.0)

    def product(a: Tensor, b: Tensor, lag: int) -> Tensor:
        return (a[:, : a.shape[1] - lag] * b[:, lag:]).mean(1)

    parts = [mean[:, 0], deviation, (z**3).mean(1), x.amin(1), x.amax(1)]
    r, size = z[..., 0], z[..., 1]
    lags = [k for k in LAGS if k < x.shape[1]]
    parts += [torch.stack([product(y, y, k) for k in lags], dim=1) for y in (r, size)]
    parts += [torch.stack([product(r, size, k) for k in lags], dim=1)]
    parts.append((size * z[..., -1]).mean(1, keepdim=True))
    return torch.cat(parts, dim=1)


def train_trees(
    windows: Float32[Tensor, "windows steps channels"],
    generated: Bool[Tensor, "judges windows"],
    train: Bool[Tensor, "judges windows"],
    *,
    seed: int = 0,
) -> Float64[Tensor, "judges windows"]:
    """Histogram gradient boosting (Ke et al. 2017), one model per row; logits as ``train_judges``.

    The log odds of the training classes are taken off, so that they count the same whatever their
    sizes (weights would do so at ten times the cost). From 500 training windows on a tenth of them
    stops the boosting.

    Raises:
        UserError: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise UserError(f"judge trees {MISSING}")
    ensemble = import_module("sklearn.ensemble")
    features = window_features(windows).numpy()
    logits = []
    for j, (truth, learnt) in enumerate(zip(generated, train, strict=True)):
        model = ensemble.HistGradientBoostingClassifier(
            max_iter=ITERATIONS,
            max_leaf_nodes=8,
            l2_regularization=1.0,
            early_stopping=int(learnt.sum()) >= 500,
            n_iter_no_change=10,
            random_state=seed + j,
        )
        model.fit(features[learnt.numpy()], truth[learnt].numpy())
        share = truth[learnt].double().mean()
        raw = torch.from_numpy(model.decision_function(features)).to(torch.float64)
        logits.append(raw - share.logit())
    return torch.stack(logits)
