"""Tokenizers: that of a base model, or a byte-level BPE learnt from the examples themselves."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from parfait.utils.errors import UserError, first_line

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# The user's message alone: a small model needs no roles, and pays for every token.
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}<|im_start|>"
    "{{ message['content'] }}<|im_end|>{% endif %}{% endfor %}"
)


def learn_tokenizer(texts: Iterable[str], vocabulary: int, verbatim: bool = False) -> Any:
    """A byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) with the control tokens of
    Qwen2 and a template that tells the user's message alone. The same texts give the same
    tokenizer, and any Unicode text comes back in lower case and normal form (NFKC), or as it was
    with ``verbatim``: what a model is to write must stay JSON, of which "＂" is no quotation mark.

    Every Chinese character is a word: where "油价暴跌" became one token, what a crash is would be
    learnt for oil alone, and be unreadable behind the name of another asset.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    if not verbatim:
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token=CONTROL[2],
        pad_token=CONTROL[0],
        additional_special_tokens=[CONTROL[1]],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(base: str | Path, revision: str | None = None) -> Any:
    """The tokenizer of a base model, by name or folder.

    Raises:
        UserError: there is none, or it cannot be had without a network.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            str(base), revision=revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"the tokenizer of {base} cannot be loaded ({first_line(error)}); give a name "
            "or a folder of a causal language model"
        ) from error
