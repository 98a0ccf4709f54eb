"""The student that ships, and the words that training hides: they are a function of seed
and batch, a resumed training ends as an uninterrupted one, and training left its mark.
"""

import json
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from parfait.distill.ontology import Shares, ontology_part
from parfait.regime import MarketContext
from parfait.semantic import load_reader
from parfait.semantic.examples import Example, write_examples
from parfait.semantic.lm.datamodule import DistilledDataModule, Examples, plan
from parfait.semantic.lm.hidden import Hidden
from parfait.semantic.lm.losses import draw, mixture_nll
from parfait.semantic.lm.model import ScenarioModel
from parfait.semantic.lm.module import ScenarioModule
from parfait.semantic.lm.prompt import encode
from parfait.semantic.lm.reader import STUDENT
from parfait.semantic.lm.targets import INITIAL_VOLATILITY
from parfait.semantic.lm.tokens import load_tokenizer
from parfait.utils.errors import UserError

TEXTS = (
    "War breaks out",
    "Headline: the central bank unexpectedly raises rates by 50 bps.",
    "A calm month for gold",
    "央行意外加息50个基点",
    "The largest bank fails, and the government does not step in",
    "Oil exporters cut production",
    "股市暴跌，恐慌蔓延",
    "There will be no recession after all",
)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    """Sentences with what the rules read, five markets each, one in four for validation."""
    reader = load_reader("ontology")
    found = []
    for n in range(5):
        context = MarketContext("equity", volatility=0.1 + 0.05 * n, bars_per_year=252.0)
        for text in TEXTS:
            split = "val" if len(found) % 4 == 3 else "train"
            found.append(Example(text, context, reader.read(text, context), split=split))
    return found


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(STUDENT / "tokenizer")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_tokens_are_hidden_in_the_share_that_was_asked_for_and_control_tokens_never(
    examples: list[Example], tokenizer
) -> None:
    prompts = Examples(tokenizer, examples).ids * 20
    hidden = Hidden(tokenizer, 0.2)(prompts, seeded(0))
    control = set(tokenizer.all_special_ids)
    shares = []
    for before, after in zip(prompts, hidden, strict=True):
        words = torch.tensor([int(i) not in control for i in before])
        changed = before != after
        assert (after[changed] == tokenizer.pad_token_id).all()
        assert not changed[~words].any()
        shares.append(float(changed[words].double().mean()))
    told = torch.tensor(shares)
    assert abs(float(told.mean()) - 0.2) < 4 * float(told.std()) / len(told) ** 0.5
    # The share is drawn anew for every prompt: some are nearly whole, some nearly lost.
    assert float((told == 0).double().mean()) > 0.05
    assert float((told > 0.3).double().mean()) > 0.05


def test_what_is_hidden_is_a_function_of_the_seed(examples: list[Example], tokenizer) -> None:
    prompts = Examples(tokenizer, examples).ids
    hide = Hidden(tokenizer, 0.2)
    one, same, other = (hide(prompts, seeded(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    plain = Hidden(tokenizer, 0.0)(prompts, seeded(1))
    assert all(torch.equal(a, b) for a, b in zip(plain, prompts, strict=True))


@pytest.mark.parametrize("share", [0.6, -0.1, float("nan")])
def test_a_share_out_of_bounds_is_one_sentence(share: float) -> None:
    with pytest.raises(UserError, match=r"data\.hidden=.* must be within \[0\.0, 0\.5\]"):
        DistilledDataModule("examples", hidden=share)


class Interruption(lightning.Callback):
    """Keeps the state after so many steps."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def trained(
    folder: Path, callbacks: list[Any], resume: Path | None = None, export: Path | None = None
) -> dict[str, Any]:
    """Weights of a tiny student after two epochs with hidden words."""
    data = DistilledDataModule(str(folder), vocabulary=600, tokens=200, hidden=0.2)
    small = {"vocabulary": 600, "hidden": 16, "layers": 1, "heads": 2, "key_value_heads": 1}
    module = ScenarioModule(torch.optim.AdamW, small=small, hidden=16, ensemble=1)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        limit_val_batches=0,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    assert trainer.global_step == 2 * len(data.plan) > 4
    if export is not None:
        module.export(export)
    return {k: v.clone() for k, v in module.net.state_dict().items()}


def test_a_resumed_training_hides_what_an_uninterrupted_one_hides(
    examples: list[Example], tmp_path: Path
) -> None:
    write_examples(tmp_path, examples)
    state = tmp_path / "state.ckpt"
    whole = trained(tmp_path, [Interruption(2, state)])
    resumed = trained(tmp_path, [], state)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_every_epoch_hides_other_words(examples: list[Example], tmp_path: Path) -> None:
    write_examples(tmp_path, examples)
    data = DistilledDataModule(str(tmp_path), vocabulary=600, tokens=10000, hidden=0.3)
    data.setup("fit")
    known = data.train_dataloader().dataset
    first, again, second = (known[number].ids for number in (0, 0, len(data.plan)))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    held = data.held.batch(plan(data.held, 10000, 0)[0])
    assert torch.equal(next(iter(data.val_dataloader())).ids, held.ids)


def test_a_class_that_no_example_had_is_not_named(examples: list[Example], tokenizer: Any) -> None:
    """What stands in the place of an unknown word moves an answer by chance."""
    student = ScenarioModel.load(STUDENT)
    assert student.classes is not None
    assert [student.told_of(a) for a in ("gold", "commodity")] == ["gold", None]
    named, told = (Examples(tokenizer, examples, f).ids for f in (str, student.told_of))
    assert all(torch.equal(a, b) for a, b in zip(named, told, strict=True))  # equities were met
    reader = load_reader("student")
    asked: list[torch.Tensor] = []
    reader.model.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    for asset in ("gold", "commodity"):
        reader.read("Prices fall", MarketContext(asset))
    gold, nameless = (encode(tokenizer, "Prices fall", asset, None) for asset in ("gold", None))
    assert [ids[0].tolist() for ids in asked] == [gold, nameless]
    assert gold != nameless


def test_what_classes_a_model_met_is_kept_with_it(examples: list[Example], tmp_path: Path) -> None:
    write_examples(tmp_path / "examples", examples)
    trained(tmp_path / "examples", [], export=tmp_path / "model")
    assert ScenarioModel.load(tmp_path / "model").classes == ("equity",)


def test_the_student_that_ships_is_small_and_says_how_it_was_made() -> None:
    files = [path for path in STUDENT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16 * 2**20
    told = json.loads((STUDENT / "model.json").read_text())
    assert told["provenance"]["config"]["data"]["path"]


def test_the_student_that_ships_beats_the_prior_and_itself_untrained(tokenizer: Any) -> None:
    made, _ = ontology_part(0, 300, 7, Shares(held_out=0.0))  # a seed its training has not seen
    student = ScenarioModel.load(STUDENT)
    torch.manual_seed(0)
    untrained = ScenarioModel(student.design).eval()
    batch = Examples(tokenizer, made).batch(range(len(made)))
    draws = draw(batch.target, 64, seeded(0))
    d = INITIAL_VOLATILITY
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(draws[..., :d]).sum(-1).mean(1)
    with torch.no_grad():
        learnt, chance = (
            torch.stack([-mixture_nll(m, draws) for m in model(batch.ids, batch.lengths)])
            .logsumexp(0)
            .sub(torch.tensor(3.0).log())
            .mean(1)
            for model in (student, untrained)
        )
    for rival in (prior, chance):
        gain = learnt - rival  # nats of every sentence, a few of them worth very much
        assert float(gain.mean()) > 4 * float(gain.std()) / len(gain) ** 0.5
        assert float(gain.median()) > 0.0
