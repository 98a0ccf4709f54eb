"""Vocabulary 1: the parameters of a market regime, their units, and distributions over them."""

from parfait.regime.average import mean_volatility, volatility_course
from parfait.regime.component import Component, Condition, Override, Phase, collapse
from parfait.regime.context import ASSET_CLASSES, MarketContext, Outlook
from parfait.regime.distribution import RegimeDistribution, normalise_weights
from parfait.regime.fields import COORDINATES_VERSION, FIELD_NAMES, FIELDS, N_FIELDS
from parfait.regime.regime import Regime

__all__ = [
    "ASSET_CLASSES",
    "COORDINATES_VERSION",
    "FIELDS",
    "FIELD_NAMES",
    "N_FIELDS",
    "Component",
    "Condition",
    "MarketContext",
    "Outlook",
    "Override",
    "Phase",
    "Regime",
    "RegimeDistribution",
    "collapse",
    "mean_volatility",
    "normalise_weights",
    "volatility_course",
]
