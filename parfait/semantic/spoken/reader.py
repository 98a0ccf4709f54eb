"""``SpokenReader``: scenario JSON, validated strictly, asked for twice; else the prior stands."""

from dataclasses import dataclass, replace

from parfait.regime import MarketContext, RegimeDistribution
from parfait.semantic.literal import obey, rules, understood
from parfait.semantic.ontology.normalise import plain_sentences
from parfait.semantic.spoken.prompt import messages
from parfait.semantic.spoken.schema import components, parse
from parfait.utils.errors import UserError

_ATTEMPTS = 2
_QUOTED = 4000  # characters of a refused answer that are shown to the model again


@dataclass(frozen=True)
class Said:
    """What a model answered, and whether it came to its end."""

    text: str
    whole: bool = True


class SpokenReader:
    """What every reader does whose model answers in scenario JSON.

    Who asks whom is ``ask``; ``who`` names the model in a sentence. ``task`` is its system text,
    ``None`` the full description of what is asked for. With ``strict`` an answer that does not
    validate raises, twice in a row; else the prior stands, with a warning.
    """

    source: str
    who: str
    task: str | None = None
    strict: bool = False

    def ask(self, asked: list[dict[str, str]]) -> Said:
        """The answer to messages of roles system, user and assistant."""
        raise NotImplementedError

    def read(self, instruction: str, context: MarketContext | None = None) -> RegimeDistribution:
        """Asks the model, unless the text says nothing about a market.

        Raises:
            UserError: the instruction is not a string, the model cannot be asked, or with
                ``strict`` its answers do not validate.
        """
        by_rules = rules(instruction, context)
        if not understood(by_rules):
            return replace(by_rules, source=self.source)
        asset = by_rules.asset_class
        asked = messages(plain_sentences(instruction), asset, context, self.task)
        problem = ""
        for _ in range(_ATTEMPTS):
            said = self.ask(asked)
            try:
                if not said.whole:
                    raise UserError("the answer was cut off; be shorter")
                found = components(parse(said.text), asset, context)
            except UserError as error:
                problem = str(error)
                asked = [
                    *asked,
                    {"role": "assistant", "content": said.text[:_QUOTED] or "(an empty answer)"},
                    {"role": "user", "content": f"{problem}. Answer again, by the schema."},
                ]
            else:
                return obey(found, instruction, context, by_rules, self.source)
        if self.strict:
            raise UserError(f"{self.who} gave no usable answer: {problem}")
        warning = f"The language model gave no usable answer ({problem}); the prior was used."
        return replace(
            rules("", context),
            source=self.source,
            confidence=0.0,
            warnings=(*by_rules.warnings, warning),
            asset_class=asset,
        )
