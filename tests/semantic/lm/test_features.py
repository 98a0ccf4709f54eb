"""Features of a frozen base: computed once, the same as without the cache, never mixed up."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from parfait.semantic.examples import Example
from parfait.semantic.lm import features
from parfait.semantic.lm.datamodule import Examples
from parfait.semantic.lm.design import Design
from parfait.semantic.lm.features import base_digest, features_of
from parfait.semantic.lm.model import ScenarioModel
from parfait.utils.errors import UserError


@pytest.fixture
def prompts(examples: list[Example], tokenizer: Any) -> list[torch.Tensor]:
    """All different, or parts would share a file."""
    ids = Examples(tokenizer, examples).ids
    return [torch.cat([one, torch.tensor([i])]) for i, one in enumerate(ids)]


def frozen(base: Path) -> Design:
    return Design(base=str(base), tuning="frozen", hidden=16, ensemble=1)


def test_the_features_are_those_of_the_model_and_need_no_base_again(
    prompts: list[torch.Tensor], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "PART", 16)
    found = features_of(frozen(base), prompts, tmp_path, 128)
    model = ScenarioModel(frozen(base)).eval()
    for row, ids in zip(found, prompts, strict=True):
        alone = model.pooled(ids[None], torch.tensor([len(ids)]))[0]
        assert torch.allclose(row, alone, atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 3  # 40 prompts
    monkeypatch.setattr(features, "ScenarioModel", None)  # loading it would fail
    assert torch.equal(features_of(frozen(base), prompts, tmp_path, 64), found)


def test_a_killed_pass_goes_on_and_processes_share_it(
    prompts: list[torch.Tensor], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "PART", 8)
    whole = features_of(frozen(base), prompts, tmp_path, 128)
    files = sorted(tmp_path.iterdir(), key=lambda p: p.stat().st_mtime_ns)
    files[1].unlink()
    read: list[int] = []
    real = features._read

    def counting(model: Any, part: Any, *args: Any) -> torch.Tensor:
        read.append(len(part))
        return real(model, part, *args)

    monkeypatch.setattr(features, "_read", counting)
    assert torch.equal(features_of(frozen(base), prompts, tmp_path, 128), whole)
    assert read == [8]

    shutil.rmtree(tmp_path)
    read.clear()
    waited: list[int] = []

    def the_other() -> None:
        """At the second meeting the other process has done its share."""
        waited.append(1)
        if len(waited) == 2:
            features_of(frozen(base), prompts, tmp_path, 128, turn=(0, 1))

    found = features_of(frozen(base), prompts, tmp_path, 128, turn=(1, 2), wait=the_other)
    assert torch.equal(found, whole)
    assert read == [8] * 5  # two of its own, then the three of the other


def test_another_base_precision_or_prompt_has_features_of_its_own(
    prompts: list[torch.Tensor], base: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    digest = base_digest(frozen(base))
    half = Design(base=str(base), tuning="frozen", dtype="bfloat16")
    assert base_digest(half) != digest
    copy = tmp_path / "base"
    shutil.copytree(base, copy)
    assert base_digest(frozen(copy)) == digest  # by content, not by place
    state = load_file(copy / "model.safetensors")
    state["model.norm.weight"][0] += 1e-3
    save_file(state, copy / "model.safetensors", {"format": "pt"})
    assert base_digest(frozen(copy)) != digest
    changed = [prompts[0][:-1], *prompts[1:]]
    assert features._key(digest, changed) != features._key(digest, prompts)
    # The same tokens, cut elsewhere.
    a, b = torch.tensor([1, 2, 3]), torch.tensor([4])
    c, d = torch.tensor([1, 2]), torch.tensor([3, 4])
    assert features._key(digest, [a, b]) != features._key(digest, [c, d])


def test_a_broken_file_is_one_sentence(
    prompts: list[torch.Tensor], base: Path, tmp_path: Path
) -> None:
    features_of(frozen(base), prompts, tmp_path / "c", 128)
    (file,) = (tmp_path / "c").iterdir()
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UserError, match="delete the folder"):
        features_of(frozen(base), prompts, tmp_path / "c", 128)
    with pytest.raises(UserError, match="holds no safetensors"):
        base_digest(Design(base=str(tmp_path / "c" / ".."), tuning="frozen"))
