"""Files made by an enemy: whatever is loaded, no code of theirs runs, and one sentence says why."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parfait.data import load_bars
from parfait.labels.network import EMBEDDED as LABELER
from parfait.labels.network import LabelerModel
from parfait.microstructure.model import EMBEDDED as DENOISER
from parfait.microstructure.model import DenoiserModel
from parfait.semantic.lm.base import backbone, base_config
from parfait.semantic.lm.design import Design
from parfait.semantic.lm.model import ScenarioModel
from parfait.semantic.lm.reader import STUDENT
from parfait.semantic.lm.speaker import load_speaker
from parfait.semantic.lm.tokens import learn_tokenizer, load_tokenizer
from parfait.stages.checkpoints import AtomicCheckpointIO, find_checkpoint, newest_checkpoint
from parfait.utils.errors import UserError
from tests.fuzzing import examples


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What the payload makes; it works, or its absence would prove nothing."""
    proof = tmp_path / "proof"
    pickle.loads(pickle.dumps(Payload(proof)))
    assert proof.is_dir()
    return tmp_path / "canary"


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Payload(canary))


def saved(canary: Path) -> bytes:
    """As torch writes a checkpoint."""
    buffer = io.BytesIO()
    torch.save({"state_dict": Payload(canary), "loops": {}}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [pickled, saved])
def test_a_checkpoint_with_code_is_refused(
    canary: Path, tmp_path: Path, write: Callable[[Path], bytes]
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    file = folder / "epoch=1-step=2.ckpt"
    file.write_bytes(write(canary))
    with pytest.raises(UserError, match="no Parfait checkpoint"):
        find_checkpoint(str(file), folder)
    with pytest.raises(UserError, match="no checkpoint that can be read"):
        find_checkpoint("last", folder)
    assert newest_checkpoint(folder) is None
    for trusting in (None, False):  # whoever asks for pickles gets none
        with pytest.raises(pickle.UnpicklingError):
            AtomicCheckpointIO().load_checkpoint(file, weights_only=trusting)
    assert not canary.exists()


LOADERS: list[tuple[Path, Callable[[Path], Any]]] = [
    (DENOISER, DenoiserModel.load),
    (LABELER, LabelerModel.load),
    (STUDENT, ScenarioModel.load),
]


@pytest.mark.parametrize(("shipped", "load"), LOADERS, ids=["denoiser", "labeler", "student"])
@pytest.mark.parametrize("write", [pickled, saved])
def test_a_pickle_that_calls_itself_safetensors_is_refused(
    canary: Path,
    tmp_path: Path,
    shipped: Path,
    load: Callable[[Path], Any],
    write: Callable[[Path], bytes],
) -> None:
    for name in [f.name for f in shipped.glob("*.safetensors")]:
        folder = tmp_path / name
        shutil.copytree(shipped, folder)
        load(folder)
        (folder / name).write_bytes(write(canary))
        with pytest.raises(UserError):
            load(folder)
    assert not canary.exists()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal language model."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("base")
    size = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    Qwen2ForCausalLM(Qwen2Config(**size, **heads)).save_pretrained(folder)
    learn_tokenizer(["War breaks out"], 300).save_pretrained(folder)
    return folder


def edited(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


REMOTE = {
    "AutoConfig": "evil.Config",
    "AutoModel": "evil.Model",
    "AutoModelForCausalLM": "evil.Model",
    "AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"],
}


@pytest.mark.parametrize("kind", ["qwen2", "evil"])
def test_code_beside_a_language_model_never_runs(
    base: Path, canary: Path, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    edited(folder / "config.json", auto_map=REMOTE, model_type=kind, attn_implementation=None)
    edited(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": REMOTE["AutoTokenizer"]},
        tokenizer_class="Tokenizer",
    )
    for load in (
        lambda: base_config(Design(str(folder), tuning="frozen")),
        lambda: backbone(Design(str(folder), tuning="frozen")),
        lambda: load_speaker(folder),
        lambda: load_tokenizer(folder),
    ):
        with suppress(UserError):
            load()  # perhaps as a model that is known, without the code beside it
    if kind == "evil":
        with pytest.raises(UserError, match="cannot be loaded"):
            backbone(Design(str(folder), tuning="frozen"))
    assert not canary.exists()


def test_attention_from_elsewhere_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    edited(folder / "config.json", attn_implementation="somebody/kernel")
    for load in (base_config, backbone):
        with pytest.raises(UserError, match="somebody/kernel; no downloaded code"):
            load(Design(str(folder), tuning="frozen"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin"])
def test_weights_as_pickles_are_not_even_opened(
    base: Path, canary: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "trained"
    model = ScenarioModel(Design(str(base), tuning="lora", rank=2))
    model.save(folder, load_tokenizer(base), {})
    ScenarioModel.load(folder)
    place = folder / "adapter" if name.startswith("adapter") else tmp_path / "base"
    if not place.exists():
        shutil.copytree(base, place)
        design = json.loads((folder / "model.json").read_text())["design"]
        edited(folder / "model.json", design=design | {"base": str(place)})
        ScenarioModel.load(folder)
    for file in place.glob("*.safetensors"):
        file.unlink()
    (place / name).write_bytes(saved(canary))
    with pytest.raises(UserError):
        ScenarioModel.load(folder)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["bars.csv", "bars.parquet", "bars.csv.gz"])
def test_data_with_code_is_refused(canary: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    for write in (pickled, saved):
        file.write_bytes(write(canary))
        with pytest.raises(UserError, match=name):
            load_bars(file)
    assert not canary.exists()


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from([10**400, [], {}, [[]], {"a": 1}, [0.0], "x" * 2000]),
)


@pytest.mark.parametrize(("shipped", "load"), LOADERS[:2], ids=["denoiser", "labeler"])
@settings(
    max_examples=examples(30),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_configuration_is_a_model_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    shipped: Path,
    load: Callable[[Path], Any],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"odd-{shipped.name}"
    if not folder.exists():
        shutil.copytree(shipped, folder)
    told = json.loads((shipped / "model.json").read_text())
    node = told
    while True:
        key = data.draw(st.sampled_from(sorted(node)))
        if not isinstance(node[key], dict) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    if data.draw(st.booleans()):
        node[key] = data.draw(ODD)
    else:
        del node[key]
    (folder / "model.json").write_text(json.dumps(told))
    with suppress(UserError):
        load(folder)


@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b"\xff\xfe\xfa", b"[]", b"1" * 5000, b'{"format": NaN}', b""]
)
@pytest.mark.parametrize(("shipped", "load"), LOADERS, ids=["denoiser", "labeler", "student"])
def test_a_configuration_that_is_none_is_one_sentence(
    tmp_path: Path, shipped: Path, load: Callable[[Path], Any], content: bytes
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shipped, folder)
    (folder / "model.json").write_bytes(content)
    with pytest.raises(UserError):
        load(folder)
