"""What a teacher that is paid by the token would cost."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_WIDE = re.compile(r"[⺀-鿿豈-﫿＀-￯]")


@dataclass(frozen=True)
class Estimate:
    """Calls, tokens and their price.

    Args:
        calls: requests, without further attempts.
        prompt: tokens sent.
        answer: tokens received.
        cost: USD; ``None`` without prices.
    """

    calls: int
    prompt: int
    answer: int
    cost: float | None

    def __str__(self) -> str:
        price = "n/a (no price given)" if self.cost is None else f"{self.cost:.2f} USD"
        return (
            f"{self.calls} calls, about {self.prompt} prompt and {self.answer} answer tokens, "
            f"cost {price}"
        )


def estimate(
    texts: Iterable[str],
    prompt: float,
    answer: float,
    prompt_price: float | None,
    answer_price: float | None,
) -> Estimate:
    """The estimate for one call per text.

    A token is taken as 4 characters of English or one of Chinese; real tokenizers differ by a
    third.

    Args:
        texts: sentences to be asked.
        prompt, answer: tokens of a call beside the sentence.
        prompt_price, answer_price: USD per million tokens.
    """
    sizes = [tokens(text) for text in texts]
    sent = int(sum(sizes) + prompt * len(sizes))
    received = int(answer * len(sizes))
    cost = None
    if prompt_price is not None and answer_price is not None:
        cost = (sent * prompt_price + received * answer_price) / 1e6
    return Estimate(len(sizes), sent, received, cost)


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    wide = len(_WIDE.findall(text))
    return wide + -(-(len(text) - wide) // 4)
