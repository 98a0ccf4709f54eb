"""Which market the text is about: the asset that its main clause names, else the context, else a
broad index.
"""

from parfait.regime import MarketContext
from parfait.semantic.clauses import segment
from parfait.semantic.lexicon import Lexicon, effects

_SUBORDINATE = frozenset({"after", "because", "if", "despite", "and", "unless"})


def subject_asset(clean: str, context: MarketContext | None, lexicon: Lexicon) -> tuple[str, str]:
    """(asset class, where it comes from: "text", "context" or "default").

    The grammatical subject decides: an asset named in the first main clause, not one in its
    consequences ("... and gold
    surges"). Words for shares in general give way to the context, and so does everything when the
    text also names the
    context's own market.
    """
    own = context.asset_class if context is not None else None
    clauses = segment(clean, [], lexicon).clauses
    named = [
        "equity" if m.entry.id == "shares" else m.entry.id
        for c in clauses
        for m in c.of("asset")
        if m.entry.id != "market"
    ]
    foreign_lead = own == "equity" and bool(named) and named[0] != "equity"
    if own is not None and (own in named or not named) and not foreign_lead:
        return own, "context"
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
    if main and not (main == "equity" and own is not None):
        return main, "text"
    if own is not None:
        return own, "context"
    return "equity", "default"
