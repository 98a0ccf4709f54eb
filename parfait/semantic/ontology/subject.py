"""Which market the text is about: the asset that its main clause names, else the context, else a
broad index. And which asset class a symbol's own name tells of.
"""

import re

from parfait.regime import MarketContext
from parfait.semantic.ontology.clauses import segment
from parfait.semantic.ontology.lexicon import Lexicon, effects, lexicon
from parfait.semantic.ontology.words import raw_tokens

_SUBORDINATE = frozenset({"after", "because", "if", "despite", "and", "unless"})
_QUOTED_IN = re.compile(r"(.{3,})(?:usdt|usdc|usd|eur|gbp|jpy)")  # BTCUSD is bitcoin, in dollars
_PAIR = re.compile(r"(?:usd|eur|gbp|jpy|chf|aud|nzd|cad|cny|cnh){2}")


def subject_asset(clean: str, context: MarketContext | None, lexicon: Lexicon) -> tuple[str, str]:
    """(asset class, where it comes from: "text", "context" or "default").

    The context's own asset decides where it has one: of other markets the text then tells the
    moves. Without one the grammatical subject does: an asset named in the first main clause, not
    one in its consequences ("... and gold surges").
    """
    if context is not None and context.asset_class is not None:
        return context.asset_class, "context"
    clauses = segment(clean, [], lexicon).clauses
    main = None
    events = effects()["events"]
    for clause in clauses:
        links = {*clause.lead, clause.link}
        content = clause.of("asset", "event", "object")
        if not content:
            continue
        subordinate = bool(links & _SUBORDINATE) and clause is clauses[0]
        assets = [m.entry.id for m in clause.of("asset") if m.entry.id != "market"]
        assets = ["equity" if a == "shares" else a for a in assets]
        if main is None:
            main = next((a for a in assets), "") if not subordinate else None
            if not main and any(
                m.entry.id == "etf"
                or (m.entry.kind == "event" and events[m.entry.id]["channel"] == "crypto")
                for m in content
            ):
                main = "crypto"
            if subordinate and clause is not clauses[-1]:
                continue
        break
    return (main, "text") if main else ("equity", "default")


def symbol_asset(symbol: str) -> str | None:
    """The asset class that a symbol or a file's name tells of, ``None`` where it tells of none.

    Words of the name are looked up in the vocabulary of the texts: "gold", "XAUUSD", "BTC-USD",
    "SP500", "crude_oil_daily". Names of several classes tell of none.
    """
    name = re.sub(r"[^\w&]+|_", " ", symbol.lower()).strip()
    words = lexicon()
    found: set[str] = set()
    for text in (name, name.replace(" ", ""), *name.split()):
        quoted = _QUOTED_IN.fullmatch(text)
        if _PAIR.fullmatch(text):
            found.add("currency")
        for candidate in (text, *(quoted.groups() if quoted else ())):
            tokens = raw_tokens(candidate)
            mention = words.find(tokens, 0) if tokens else None
            if mention and mention.j == len(tokens) and mention.entry.kind == "asset":
                found.add(mention.entry.id)
    classes = {"equity" if c == "shares" else c for c in found - {"market"}}
    return classes.pop() if len(classes) == 1 else None
