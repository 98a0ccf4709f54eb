"""Frames to regime parameters, relative to the present market (constants and sources in
effects.yaml, exposure.yaml).

    g(x)   = ln(1 + x/x_0) / ln(1 + x_ref/x_0)               dose response, strictly increasing and
    concave
    a_e    = g * surprise * adverb
    mu     = mu_0 + sigma_now c_mu tanh(sum_e b_mu a_e / c_mu)
    ln s   = ln sigma_now + c_sigma tanh(sum_e b_sigma a_e / c_sigma)       lambda, m, s, kappa, H,
    kappa_v alike
    sd_j   = prior_sd_j (w + (1 - w)(1 - specificity * coverage))

tanh of the sum saturates without ever clamping, so a larger dose always means a larger change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from parfait.regime import FIELDS, MarketContext, Outlook, Regime
from parfait.regime.context import VARIANCE_DEFAULTS
from parfait.semantic.ontology.doses import Frame
from parfait.semantic.ontology.lexicon import effects, exposures

KEYS = ("mu", "sigma", "lam", "m", "s", "kappa", "hurst", "rev")
# Weight of the first, second, third ... mention of one event in the same phase.
_REPEATED = (1.0, 0.25, 0.1, 0.0)
_FARTHEST = 0.97  # of the largest drift that events lead to
_BOUNDS = {f.name: (f.low, f.high) for f in FIELDS}


@dataclass(frozen=True)
class Present:
    """Where the market stands before the sentence: its asset class, drift and volatility, where the
    volatility goes when nothing happens, and the drift of its history, which only "the trend
    continues" and "reverses" ask for.
    """

    asset: str
    drift: float
    volatility: float
    outlook: Outlook | None = None
    trend: float | None = None

    @classmethod
    def of(cls, asset: str, context: MarketContext | None) -> "Present":
        prior = effects()["priors"][asset]
        volatility = context.volatility if context is not None else None
        volatility = prior["volatility"] if volatility is None else min(max(volatility, 2e-3), 5.0)
        outlook = context.outlook if context is not None else None
        trend = context.trend if context is not None else None
        return cls(asset, float(prior["drift"]), float(volatility), outlook, trend)

    @property
    def prior(self) -> dict[str, float]:
        return effects()["priors"][self.asset]

    @property
    def unit(self) -> float:
        """Drifts and jumps count in it: an event moves a market by its own size, not by the turmoil
        that happens to be there already.
        """
        return math.sqrt(self.volatility * self.prior["volatility"])

    def along(self, trend: float) -> float:
        """The shift that leads to the drift of the history (``trend`` 1) or its opposite (-1), as
        far as any event leads.
        """
        if self.trend is None:
            return 0.0
        limit = effects()["constants"]["c_mu"]
        share = (trend * self.trend - self.drift) / (self.unit * limit)
        return limit * math.atanh(max(-_FARTHEST, min(_FARTHEST, share)))


@dataclass(frozen=True)
class Shift:
    """Summed effects in the units of effects.yaml, and the spike of today's volatility."""

    mu: float = 0.0
    sigma: float = 0.0
    lam: float = 0.0
    m: float = 0.0
    s: float = 0.0
    kappa: float = 0.0
    hurst: float = 0.0
    rev: float = 0.0
    spike: float = 0.0

    def plus(self, other: "Shift", weight: float = 1.0) -> "Shift":
        total = {k: getattr(self, k) + weight * getattr(other, k) for k in KEYS}
        return Shift(**total, spike=max(self.spike, other.spike if weight > 0 else 0.0))

    def scaled(self, factor: float) -> "Shift":
        """A weaker or stronger version; drift and jumps may turn sign, the others never do."""
        size = abs(factor)
        total = {k: getattr(self, k) * (factor if k in ("mu", "m") else size) for k in KEYS}
        return Shift(**total, spike=self.spike if factor > 0.3 else 0.0)


def dose_response(event: str, dose: float | None) -> float:
    """g(dose): 1 when no dose is stated or the event has no unit."""
    row = effects()["events"][event]
    if dose is None or "ref" not in row:
        return 1.0
    return math.log1p(abs(dose) / row["x0"]) / math.log1p(row["ref"] / row["x0"])


def exposure(event: str, asset: str) -> tuple[float, float]:
    """[drift, volatility] multipliers of an event for an asset class."""
    table = exposures()
    row = table["events"].get(event, {})
    channel = table["channels"][effects()["events"][event]["channel"]]
    multipliers = row.get(asset) or channel.get(asset) or (1.0, 1.0)
    return float(multipliers[0]), float(multipliers[1])


def realised(event: str) -> tuple[float, float]:
    """Shares of a row's drift and turbulence that dated events of unstated size were followed by.

    A row with a dose is as large as its dose says, what the market itself does is no news about
    it, and what lies beyond anything that was measured has no such windows: these count in full.
    """
    row, shares = effects()["events"][event], effects()["constants"]["realised"]
    if "ref" in row or row.get("market") or row.get("extreme"):
        return 1.0, 1.0
    return float(shares["drift"]), float(shares["turbulence"])


def amplitude(frame: Frame, asset: str = "equity") -> float:
    """a_e = dose response * surprise * intensity.

    A stated move counts in units of the asset's own volatility: 10 % is a crash for bonds and a
    week for crypto.
    """
    row, constants = effects()["events"][frame.event], effects()["constants"]
    surprise = constants["surprise"][frame.surprise]
    if frame.surprise == "unstated" and (
        row.get("shock") or row["channel"] in ("rescue", "vol", "market")
    ):
        surprise = 1.0
    intensity = frame.intensity
    if frame.dose is not None and row.get("market") and "ref" in row:
        intensity = min(
            max(intensity, 0.8), 1.25
        )  # "plunges 10 %" and "falls 10 %" are the same number
    dose = frame.dose
    if dose is not None and row.get("market") and row["channel"] == "market":
        mover = frame.asset if frame.asset in effects()["priors"] else asset
        dose *= (
            effects()["priors"]["equity"]["volatility"] / effects()["priors"][mover]["volatility"]
        )
    return dose_response(frame.event, dose) * surprise * intensity * (0.3 if frame.despite else 1.0)


def shift_of(frame: Frame, now: Present) -> Shift:
    """What one frame does to the asset class; the move of another asset is a symptom."""
    if frame.negated:
        return Shift()
    asset = now.asset
    row, a = effects()["events"][frame.event], amplitude(frame, asset)
    e_mu, e_vol = exposure(frame.event, asset)
    if frame.asset is not None and frame.asset != asset and row.get("market"):
        outcome = row.get("outcome") or (-1 if row["mu"] < 0 else 1)
        table = exposures()["spillover"]["up" if outcome > 0 else "down"]
        e_mu, e_vol = table.get(frame.asset, {}).get(asset, (0.1, 0.1))
    local = frame.asset is None or frame.asset == asset
    share_mu, share_vol = realised(frame.event)
    e_mu, e_vol = share_mu * e_mu, share_vol * e_vol
    jump = max(-1.5, min(1.5, e_mu))
    persistence = {"brief": (0.6, 0.75, 1.4), "lasting": (1.25, 1.15, 0.8)}.get(
        frame.persistence, (1.0, 1.0, 1.0)
    )
    along = now.along(row["trend"]) if local and "trend" in row else 0.0
    return Shift(
        mu=(row["mu"] * e_mu + along) * a * persistence[0],
        sigma=row["sigma"] * e_vol * a * persistence[1],
        lam=row.get("lam", 0.0) * e_vol * a * persistence[2],
        m=row.get("m", 0.0) * jump * a,
        s=row.get("s", 0.0) * abs(e_vol) * a,
        kappa=row.get("kappa", 0.0) * min(a, 2.0) if local else 0.0,
        hurst=row.get("hurst", 0.0) * min(a, 2.0) if local else 0.0,
        rev=row.get("rev", 0.0) * a + (0.5 if frame.persistence == "brief" else 0.0),
        spike=row.get("spike", 0.0) if e_vol > 0 else 0.0,
    )


def total(frames: Sequence[Frame], now: Present) -> Shift:
    """Sum over simultaneous frames; the same event told again ("steps in with a bailout") adds
    little.
    """
    result, told = Shift(), {}
    for frame in sorted(frames, key=amplitude, reverse=True):
        key = frame.event, None if frame.asset == now.asset else frame.asset
        again = told.get(key, 0)
        told[key] = again + 1
        result = result.plus(shift_of(frame, now), _REPEATED[min(again, 3)])
    return result


def regime_of(shift: Shift, now: Present) -> Regime:
    """The regime a shift of the present market leads to, inside the bounds of every field."""
    c, sigma_now, prior = effects()["constants"], now.volatility, now.prior

    def bend(value: float, limit: float) -> float:
        return limit * math.tanh(value / limit)

    unit = now.unit  # volatility has the less room above it the higher it stands
    room = c["c_sigma"] + math.log(prior["volatility"] / sigma_now)
    drift = now.drift + unit * bend(shift.mu, c["c_mu"])
    d_sigma = bend(shift.sigma, max(room, 0.4) if shift.sigma > 0 else c["c_sigma"])
    sigma = sigma_now * math.exp(d_sigma)
    lam = math.exp(math.log(prior["lam"] + 0.05) + bend(shift.lam, c["c_lam"])) - 0.05
    m = unit * (prior["m"] + bend(shift.m, c["c_m"]))
    s = math.exp(math.log(prior["s"] * unit + 0.01) + bend(shift.s, c["c_s"])) - 0.01
    kappa = bend(max(shift.kappa, 0.0), c["c_kappa"])
    hurst = 0.5 + bend(shift.hurst, c["c_hurst"])
    kappa_v, xi, rho = VARIANCE_DEFAULTS[now.asset]
    values = {
        "drift": drift,
        "volatility": sigma,
        "jump_intensity": max(lam, 0.0),
        "jump_mean": m,
        "jump_std": max(s, 0.0),
        "mean_reversion": kappa,
        "hurst": hurst,
        "variance_reversion": kappa_v * math.exp(bend(shift.rev, c["c_rev"])),
        "vol_of_vol": xi * sigma,
        "leverage": rho,
    }
    if shift.spike > 0 and d_sigma > 0.2:
        values["initial_volatility"] = sigma_now * math.exp(d_sigma * shift.spike)
        values["variance_reversion"] *= 1.4
    return Regime(**{k: min(max(v, _BOUNDS[k][0]), _BOUNDS[k][1]) for k, v in values.items()})


def prior_sd(now: Present) -> dict[str, float]:
    """Widths of the prior in unconstrained coordinates, by field."""
    sd, sigma = effects()["prior_sd"], now.volatility
    return {
        "drift": math.asinh(sd["drift"] * sigma / 0.2),
        "volatility": sd["volatility"],
        "jump_intensity": sd["lam"],
        "jump_mean": sd["m"] * sigma,
        "jump_std": sd["s"],
        "mean_reversion": sd["kappa"],
        "hurst": sd["hurst"],
        "variance_reversion": sd["rev"],
        "vol_of_vol": sd["xi"],
        "leverage": sd["rho"],
    }


def widths(
    now: Present, specificity: float, coverage: float, shift: Shift, extreme: bool, drift: float
) -> dict[str, float]:
    """sd_j of a scenario: narrow where the text is specific, wider the further it leaves what was
    ever measured.
    """
    floor = effects()["constants"]["width_floor"]
    factor = floor + (1 - floor) * (1 - specificity * coverage)
    factor *= 1 + (0.9 if extreme else 0.25) * math.tanh(abs(shift.sigma) + 0.1 * abs(shift.mu))
    sd = {name: sd * factor for name, sd in prior_sd(now).items()}
    # In asinh coordinates a width that suits 5 % a year turns -110 % into anything down to -750 %.
    # So it is bounded in natural units too, where d mu = sqrt(mu^2 + 0.2^2) dz.
    share = effects()["constants"]["drift_sd_share"]
    natural = effects()["prior_sd"]["drift"] * now.volatility + share * abs(drift)
    sd["drift"] = min(sd["drift"], natural / math.hypot(drift, 0.2))
    return sd


def specificity(frames: Sequence[Frame]) -> float:
    """How much the frames pin down: a number 0.9, an event with a stated degree 0.7, an event 0.6,
    nothing 0.4, a mere tone 0.3.
    """
    if not frames:
        return 0.4
    scores = [
        0.3
        if f.vague
        else 0.9
        if f.dose is not None or f.move is not None
        else 0.7
        if f.adverbs
        else 0.6
        for f in frames
    ]
    return sum(scores) / len(scores)


def extreme(frames: Sequence[Frame]) -> bool:
    return any(effects()["events"][f.event].get("extreme") and not f.negated for f in frames)
