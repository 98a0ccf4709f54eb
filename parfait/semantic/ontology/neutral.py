"""The market of a history when nothing happens: Parfait's own forecast.

    ln sqrt(v_0) = ln present + a + b (-rho) falls,    ln sigma = ln level + a'

less the share of variance that jumps bring. Present volatility and level are those of the filter;
jumps, reversion and leverage those of the asset class. Constants are in effects.yaml.
"""

import math

from parfait.regime import FIELDS, Outlook, Regime
from parfait.regime.context import VARIANCE_DEFAULTS
from parfait.semantic.ontology.compose import Present
from parfait.semantic.ontology.lexicon import effects

_BOUNDS = {f.name: (f.low, f.high) for f in FIELDS}


def neutral(now: Present, outlook: Outlook) -> tuple[Regime, dict[str, float]]:
    """The regime at the centre, and widths of its unconstrained coordinates by field."""
    constants, prior = effects()["neutral"], now.prior
    kappa_v, xi, rho = VARIANCE_DEFAULTS[now.asset]
    total = outlook.level * math.exp(constants["level"])
    m, s = prior["m"] * total, prior["s"] * total
    share = 1 / (1 + prior["lam"] * (prior["m"] ** 2 + prior["s"] ** 2))
    sigma = total * math.sqrt(share)
    raised = constants["present"] - constants["falls"] * rho * outlook.falls
    present = outlook.present * math.exp(raised) * math.sqrt(share)
    values = {
        "drift": now.drift,
        "volatility": sigma,
        "jump_intensity": prior["lam"],
        "jump_mean": m,
        "jump_std": s,
        "mean_reversion": 0.0,
        "hurst": 0.5,
        "variance_reversion": kappa_v,
        "vol_of_vol": constants["xi"] * xi * sigma,
        "leverage": rho,
        "initial_volatility": present,
    }
    sd, doubt = constants["sd"], outlook.doubt
    widths = {
        "drift": math.asinh(sd["drift"] * total / 0.2),
        "volatility": math.hypot(sd["level"], doubt),
        "jump_intensity": sd["lam"],
        "jump_std": sd["s"],
        "variance_reversion": sd["rev"],
        "vol_of_vol": sd["xi"],
        "leverage": sd["rho"],
        "initial_volatility": math.hypot(sd["present"], doubt),
    }
    return Regime(
        **{k: min(max(v, _BOUNDS[k][0]), _BOUNDS[k][1]) for k, v in values.items()}
    ), widths
