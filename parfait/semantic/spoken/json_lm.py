"""``JsonReader``: a language model on this machine that answers in scenario JSON."""

import inspect
import threading
from typing import Any

import torch

from parfait.semantic.lm.design import DTYPES
from parfait.semantic.lm.devices import moved
from parfait.semantic.lm.prompt import conversation
from parfait.semantic.lm.reader import model_folder
from parfait.semantic.lm.speaker import fingerprint, load_speaker, rows
from parfait.semantic.spoken.grammar import Answering, Grammar
from parfait.semantic.spoken.prompt import VERSION, prompt_hash
from parfait.semantic.spoken.reader import Said, SpokenReader
from parfait.utils.errors import UserError, require


class JsonReader(SpokenReader):
    """Reads by a causal language model of transformers, the likeliest token at a time.

    The same text gets the same answer: nothing is drawn, no token is penalised. One answer is
    written at a time, whatever the number of threads that ask.

    Args:
        run: a run of ``train.py model.target=json``, or its model folder.
        base: instead, name or folder of a model that follows instructions, or a merged run.
        revision: of a name.
        device: where the model runs.
        dtype: of the weights: float32, bfloat16 or float16; ``None`` for what the run was trained
            in, else bfloat16 on a GPU and float32 on a CPU.
        max_tokens: of an answer.
        grammar: allow only tokens of scenario JSON; else the model says what it likes.
        strict: raise instead of falling back to the prior.

    Raises:
        UserError: no model or two, one that does not fit, or llguidance is not installed.
    """

    source = "json_lm"

    def __init__(
        self,
        run: str | None = None,
        base: str | None = None,
        revision: str | None = None,
        device: str = "cpu",
        dtype: str | None = None,
        max_tokens: int = 4000,
        grammar: bool = True,
        strict: bool = False,
    ) -> None:
        if (run is None) == (base is None):
            raise UserError(
                "semantic=json_lm needs either semantic.run, a run of train.py model=qwen2_lora "
                "model.target=json, or semantic.base, name or folder of a causal language model"
            )
        require("semantic.max_tokens", max_tokens, 1)
        if dtype not in (None, *DTYPES):
            raise UserError(f"semantic.dtype={dtype} must be {', '.join(DTYPES)} or null")
        where = str(model_folder(run)) if run is not None else str(base)
        if dtype is None and run is None and not device.startswith("cpu"):
            dtype = "bfloat16"
        told = load_speaker(where, revision, dtype, trained=run is not None)
        self.tokenizer, self.task = told.tokenizer, told.task
        self.grammar = Grammar(told.tokenizer, rows(told.model)) if grammar else None
        self.model = moved(told.model, device)
        self.where, self.revision, self.device = where, revision, device
        self.max_tokens, self.strict = max_tokens, strict
        self.who = where
        self._one = threading.Lock()

    def ask(self, asked: list[dict[str, str]]) -> Said:
        """The model's answer, by the grammar unless it is off."""
        if self.grammar is None:
            return self._free(asked)
        ids, limit = self._question(asked)
        with self._one:
            answer = self.grammar.begin()
            _by_grammar(self.model, ids, answer, limit, self.device)
        return Said(answer.text, whole=answer.done)

    def complete(self, asked: list[dict[str, str]]) -> str:
        """What the model says in free text.

        Raises:
            UserError: it says nothing, or comes to no end.
        """
        said = self._free(asked)
        if not said.whole or not said.text.strip():
            raise UserError(f"the answer of {self.who} is empty or was cut off")
        return said.text

    def describe(self) -> dict[str, str]:
        """What answers are kept under: the model and the prompt."""
        asked = prompt_hash(self.task)
        return {"model": self.fingerprint, "prompt": VERSION, "sha256": asked}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's files; name and revision of one from elsewhere."""
        return fingerprint(self.where, self.revision)

    def _free(self, asked: list[dict[str, str]]) -> Said:
        ids, limit = self._question(asked)
        end = self.tokenizer.eos_token_id
        with self._one:
            said = _likeliest(self.model, ids, end, limit, self.device)
        whole = bool(said) and said[-1] == end
        text = self.tokenizer.decode(said[:-1] if whole else said, skip_special_tokens=False)
        return Said(text, whole)

    def _question(self, asked: list[dict[str, str]]) -> tuple[list[int], int]:
        """Tokens of the prompt, and how many may follow."""
        ids = conversation(self.tokenizer, asked)
        room = getattr(self.model.config, "max_position_embeddings", len(ids) + self.max_tokens)
        if room <= len(ids):
            raise UserError(
                f"{self.who} has room for {room} tokens, and the question has {len(ids)}; give a "
                "model with more positions"
            )
        return ids, min(self.max_tokens, room - len(ids))


def _by_grammar(model: Any, asked: list[int], answer: Answering, limit: int, device: str) -> None:
    """Writes ``answer``, the likeliest allowed token at a time; the model is not asked where the
    grammar leaves no choice.
    """
    step, feed, count = _Steps(model, device), asked, 0
    while not answer.done and count < limit:
        token = answer.best(step(feed))
        answer.take(token)
        feed = [token, *answer.forced()]
        count += len(feed)


def _likeliest(model: Any, asked: list[int], end: int | None, limit: int, device: str) -> list[int]:
    """The likeliest token at a time, up to and with ``end``."""
    step, said = _Steps(model, device), list[int]()
    while len(said) < limit and (not said or said[-1] != end):
        said.append(int(step(said[-1:] or asked).argmax()))
    return said


class _Steps:
    """Logits after more and more tokens; earlier ones are not computed again."""

    def __init__(self, model: Any, device: str) -> None:
        self._model, self._device, self._past = model, device, None
        known = inspect.signature(getattr(model, "get_base_model", lambda: model)().forward)
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in known.parameters else {}

    @torch.no_grad()
    def __call__(self, tokens: list[int]) -> torch.Tensor:
        ids = torch.tensor([tokens], device=self._device)
        told = self._model(input_ids=ids, past_key_values=self._past, use_cache=True, **self._last)
        self._past = told.past_key_values
        return told.logits[0, -1]
