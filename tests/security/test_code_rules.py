"""What must not stand in the code: pickles, code made of text, shells, downloaded code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    *sorted((ROOT / "parfait").rglob("*.py")),
    *sorted((ROOT / "scripts").rglob("*.py")),
    *sorted(ROOT.glob("*.py")),
]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("pd.read_pickle", "pandas.read_pickle", "tempfile.mktemp", "yaml.unsafe_load"),
    *("yaml.full_load", "yaml.load_all", "torch.hub.load", "importlib.reload"),
}
SAFE_LOADERS = ("CSafeLoader", "SafeLoader")


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of names and attributes."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def faults(code: str) -> list[str]:
    """What a file does that it must not."""
    found = []
    tree = ast.parse(code)
    # A variable that chooses among safe loaders is one.
    loaders = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(s in ast.unparse(node.value) for s in SAFE_LOADERS)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            name, told = dotted(node.func), {k.arg: k.value for k in node.keywords}
            if name in CALLS or name.endswith((".from_pickle", ".read_pickle", ".to_pickle")):
                found.append(name)
            if name == "torch.load" and not is_true(told.get("weights_only")):
                found.append("torch.load without weights_only=True")
            if name.endswith((".load", ".save")) and is_true(told.get("allow_pickle")):
                found.append("allow_pickle=True")
            if name in ("np.load", "numpy.load") and "allow_pickle" not in told:
                found.append("np.load without allow_pickle=False")
            if name == "yaml.load":
                loader = ast.unparse(told.get("Loader", ast.Constant(None)))
                if loader not in loaders and not loader.endswith(SAFE_LOADERS):
                    found.append("yaml.load with an unsafe loader")
            shell = told.get("shell")
            if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
                found.append("shell=")
            if name.endswith(".from_pretrained"):
                trust = told.get("trust_remote_code")
                if not (isinstance(trust, ast.Constant) and trust.value is False):
                    found.append("from_pretrained without trust_remote_code=False")
            elif "trust_remote_code" in told:
                found.append("trust_remote_code")
    return found


def test_nothing_forbidden_stands_in_the_code() -> None:
    assert len(FILES) > 200
    found = {str(file): faults(file.read_text(encoding="utf-8")) for file in FILES}
    assert {file: told for file, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "import os; os.system('x')",
        "import torch; torch.load('x')",
        "import torch; torch.load('x', weights_only=False)",
        "import torch; torch.load('x', weights_only=flag)",
        "import numpy as np; np.load('x')",
        "import numpy as np; np.load('x', allow_pickle=True)",
        "import yaml; yaml.load(t, Loader=yaml.Loader)",
        "import yaml; yaml.load(t)",
        "import subprocess; subprocess.run('x', shell=True)",
        "AutoModel.from_pretrained('x')",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "load('x', trust_remote_code=False)",
        "pd.read_pickle('x')",
    ],
)
def test_the_rules_find_what_they_are_for(code: str) -> None:
    assert len(faults(code)) == 1


def test_configurations_ask_for_no_remote_code_and_run_no_python() -> None:
    for file in sorted((ROOT / "conf").rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        assert "trust_remote_code" not in text
        assert "!!python" not in text


def test_nothing_that_ships_is_a_pickle() -> None:
    beside = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".npz", ".so"}
    shipped = [f for f in (ROOT / "parfait").rglob("*") if "__pycache__" not in f.parts]
    assert [f for f in shipped if f.suffix in beside] == []
