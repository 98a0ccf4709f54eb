"""How people type: case, typos, courtesy, punctuation; and the markets they type about."""

import random
from collections.abc import Sequence

from parfait.regime import MarketContext
from parfait.semantic.ontology.lexicon import effects

NOISES = ("lower", "upper", "typo", "polite", "bare", "loud", "spaces", "wide")
_POLITE = {
    "en": (("Please: ", ""), ("", " Thank you!"), ("Hi, ", ""), ("Could you simulate this: ", "")),
    "zh": (("请模拟：", ""), ("", "谢谢！"), ("麻烦你，", "")),
}
_FREQUENCIES = (252.0, 252.0, 252.0, 365.0, 52.0, 1764.0, 19656.0, 98280.0)


def noisy(text: str, language: str, kind: str, rng: random.Random) -> str:
    """The text as somebody may type it, meaning the same.

    Args:
        text: a clean sentence.
        language: "en" or "zh".
        kind: one of ``NOISES``; what a language does not know leaves the text alone.
        rng: which typo, which courtesy.
    """
    match kind:
        case "lower":
            return text.lower()
        case "upper":
            return text.upper()
        case "typo":
            return _typo(text, rng) if language == "en" else text
        case "polite":
            before, after = rng.choice(_POLITE[language])
            return before + text + after
        case "bare":
            return text.rstrip(".。")
        case "loud":
            return text.rstrip(".。") + "!!"
        case "spaces":
            return "  " + text.replace(" ", "  ", 1) + " "
        case _:
            wide = {ord(c): ord(c) + 0xFEE0 for c in "0123456789%"}
            return text.translate(wide) if language == "zh" else text


def _typo(text: str, rng: random.Random) -> str:
    """One slip inside a word of letters, longer than a negation or a unit."""
    words = text.split(" ")
    long = [
        i for i, word in enumerate(words) if word.isascii() and word.isalpha() and len(word) > 6
    ]
    if not long:
        return text
    i = rng.choice(long)
    word, at = words[i], rng.randrange(1, len(words[i]) - 2)
    slip = rng.randrange(3)
    if slip == 0:
        words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif slip == 1:
        words[i] = word[:at] + word[at + 1 :]
    else:
        words[i] = word[:at] + word[at] + word[at:]
    return " ".join(words)


def some_context(
    asset: str, named: bool, others: Sequence[str], rng: random.Random
) -> MarketContext:
    """A market that a sentence about ``asset`` may be read against.

    Volatility is that of the class times exp(0.5 N(0, 1)), trend N(0.05, volatility), each at times
    unknown. Where the sentence names its asset, the market may be unknown or another one.

    Args:
        asset: asset class of the sentence.
        named: whether the sentence says so.
        others: asset classes of other markets.
        rng: the draws.
    """
    known: str | None = asset
    if named:
        chance = rng.random()
        known = None if chance < 0.2 else rng.choice(others) if chance < 0.25 else asset
    elif asset == "equity" and rng.random() < 0.2:
        known = None
    usual = effects()["priors"][known or asset]["volatility"]
    volatility = float(f"{usual * rng.lognormvariate(0.0, 0.5):.3g}")
    return MarketContext(
        known,
        volatility if rng.random() < 0.85 else None,
        round(rng.gauss(0.05, volatility), 3) if rng.random() < 0.7 else None,
        rng.choice(_FREQUENCIES) if rng.random() < 0.9 else None,
    )
