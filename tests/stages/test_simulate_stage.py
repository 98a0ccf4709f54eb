"""The main job end to end on a tiny untrained network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from parfait.data import embedded_bars
from parfait.microstructure.model import DenoiserModel
from parfait.microstructure.unet1d import UNet1D
from parfait.stages.simulate import simulate
from parfait.stages.sources import read_instructions
from parfait.utils.errors import UserError
from parfait.utils.paths import conf_dir

SENTENCE = 'A liquidity crisis, then "calm": it\'s 50% ${over} {soon} 🚀 恐慌'
FILES = {"paths.parquet", "guides.parquet", "scenarios.json", "summary.json"}
FIGURES = {"report.html", "fan.png", "candles.png"}
BESIDE = {".hydra", "simulate.log", "lineage.json"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as training leaves it."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    net = UNet1D(width=8, multipliers=(1, 2), embedding=16, heads=2, history_width=16)
    DenoiserModel(net).save(folder / "model")
    return folder


@pytest.fixture
def config(model: Path, tmp_path: Path):
    def make(sentence: str | None, *overrides: str) -> DictConfig:
        small = [f"run={model}", "n_paths=6", "horizon=8", f"output_dir={tmp_path / 'out'}"]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("simulate", [*small, *overrides])
        cfg.instruction = sentence and sentence.replace("${", "\\${")
        return cfg

    return make


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr("parfait.report.write", lambda simulation, folder, **_: [])


def test_everything_is_written_and_shown(
    config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(config(SENTENCE))
    folder = tmp_path / "out"
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
    assert {p.name for p in folder.iterdir()} == FILES | FIGURES | BESIDE
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["instruction"], summary["n_paths"], summary["horizon"]) == (SENTENCE, 6, 8)
    assert summary["checks"]["valid_bars"] == 1
    assert summary["checks"]["max_guide_error"] == 0
    paths = pl.read_parquet(folder / "paths.parquet")
    guides = pl.read_parquet(folder / "guides.parquet")
    assert (paths.height, paths["path"].n_unique()) == (48, 6)
    anchored = guides["anchored"]
    assert anchored.sum() >= 12  # every fourth of eight bars, six paths
    assert paths["close"].filter(anchored).equals(guides["guide"].filter(anchored).alias("close"))
    shown = " ".join(capsys.readouterr().out.split())
    assert str(folder / "report.html") in shown.replace(" ", "") or "report.html" in shown
    assert "prob." in shown
    for part in ("load", "read", "guide", "bars", "report"):
        assert f"{part} " in shown
    assert "6 paths x 8 bars" in (folder / "simulate.log").read_text()


@pytest.mark.usefixtures("no_figures")
def test_same_seed_same_bytes_whatever_the_batch_size(config, tmp_path: Path) -> None:
    for name, batch_size in (("a", 64), ("b", 2)):
        where = f"output_dir={tmp_path / name}"
        simulate(config("A flash crash", where, f"batch_size={batch_size}", "seed=3"))
    for file in ("paths.parquet", "guides.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_ticks_are_written_beside_the_bars_they_make_up(config, tmp_path: Path) -> None:
    for name, batch_size in (("a", 64), ("b", 2)):
        where = f"output_dir={tmp_path / name}"
        simulate(config("A flash crash", where, f"batch_size={batch_size}", "ticks=roll"))
    file = tmp_path / "a" / "ticks.parquet"
    assert file.read_bytes() == (tmp_path / "b" / "ticks.parquet").read_bytes()
    made = (
        pl.read_parquet(file)
        .group_by("path", "step", maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("size").sum().alias("volume"),
        )
    )
    paths = pl.read_parquet(tmp_path / "a" / "paths.parquet")
    assert made.equals(paths.select(made.columns))
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["ticks"]["model"] == "parametric: not learned from data"
    assert summary["ticks"]["rows"] == 6 * 8 * 100


@pytest.mark.usefixtures("no_figures")
def test_ticks_of_several_assets_are_learned_from_minutes(config, tmp_path: Path) -> None:
    bars = embedded_bars()["SP500"].tail(150)
    for name in ("A", "B"):
        bars.write_csv(tmp_path / f"{name}.csv")
    minutes = bars.with_columns(
        timestamp=pl.datetime(2024, 1, 2, 9, 30)
        + pl.duration(minutes=pl.int_range(150, dtype=pl.Int64))
    )
    minutes.write_csv(tmp_path / "minutes.csv")
    history = f"history={{A: {tmp_path / 'A.csv'}, B: {tmp_path / 'B.csv'}}}"
    one = f"ticks.minutes={{A: {tmp_path / 'minutes.csv'}}}"
    simulate(config("A flash crash", history, "ticks=learned", one, "ticks.per_bar=20"))
    ticks = pl.read_parquet(tmp_path / "out" / "ticks.parquet")
    assert ticks.columns[0] == "symbol"
    assert ticks["symbol"].unique(maintain_order=True).to_list() == ["A", "B"]
    assert ticks.height == 2 * 6 * 8 * 20
    said = json.loads((tmp_path / "out" / "summary.json").read_text())["assets"]
    assert said["A"]["ticks"]["model"] == "learned from 1 day of minute bars"
    assert said["A"]["ticks"]["session"].startswith("09:30-12:00")
    assert said["B"]["ticks"]["model"] == "parametric: not learned from data"
    strange = one.replace("A:", "C:")
    with pytest.raises(UserError, match="names 'C'; the histories are A, B"):
        simulate(config("Calm", history, "ticks=learned", strange, f"output_dir={tmp_path / 'x'}"))


@pytest.mark.usefixtures("no_figures")
def test_one_folder_per_line_of_a_file(config, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("\ufeffA calm market\n\n  恐慌  \n", encoding="utf-8")
    simulate(config(None, f"instruction_file={tmp_path / 'lines.txt'}"))
    for place, sentence in (("001", "A calm market"), ("002", "恐慌")):
        summary = json.loads((tmp_path / "out" / place / "summary.json").read_text())
        assert summary["instruction"] == sentence
    assert not (tmp_path / "out" / "003").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["n_paths=0"], "n_paths"),
        (["horizon=-3"], "horizon"),
        (["sde.guide.every=0"], "guide"),
        (["run=nowhere"], "nowhere"),
        (["history=missing.csv"], "missing.csv"),
        (["history=lines.txt"], "lines.txt"),
        (["sampler.name=rk4"], "rk4"),
        (["sde.name=cir"], "cir"),
        (["sde.condition=nailed"], "nailed"),
        (["semantic.name=oracle"], "oracle"),
        (["bars_per_year=-1"], "bars_per_year"),
        (["bars_per_year=0"], "^bars_per_year=0 must be"),
        (["history="], "'history' is empty"),
        (["seed=-1"], "seed=-1 must be at least 0"),
        (["asset=cheese"], "cheese"),
        (["history=true"], "history=True means nothing"),
        (["history=[]"], "no series"),
        (["correlation=0.5"], "several histories"),
        (["history={B: null, A: lines.txt}"], "'B' is None"),
        (["history_options=3"], "history_options=3 names no option"),
        (["batch_size=0"], "batch_size"),
        (["ticks.per_bar=5"], "ticks.per_bar=5 is set, but ticks are off"),
        (["ticks=learned"], "needs ticks.minutes"),
        (["ticks=learned", "ticks.minutes=nowhere.csv"], "nowhere.csv"),
        (["ticks=learned", "ticks.minutes=lines.txt"], "lines.txt"),
        (["ticks=roll", "ticks.minutes=lines.txt"], "give ticks=learned"),
        (["ticks=learned", "ticks.minutes=lines.txt", "ticks.options=3"], "names no option"),
        (["ticks=roll", "ticks.per_bar=3"], "ticks.per_bar=3 must be at least 4"),
        (["ticks=roll", "ticks.spread=1"], "ticks.spread=1"),
        (["ticks=roll", "ticks.session=noon"], "ticks.session=noon must be like"),
        (["ticks.name=bounce"], "ticks=bounce is unknown"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str
) -> None:
    (tmp_path / "lines.txt").write_text("no bars here\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        simulate(config("A calm market", *overrides))
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["lines.txt"]


def test_instructions_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "blank").write_text(" \n\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\xd8")
    for instruction, file, message in [
        (None, None, "no instruction"),
        (" \n", None, "empty"),
        ("text", "blank", "both set"),
        (None, "blank", "holds no instruction"),
        (None, "binary", "not UTF-8"),
        (None, "missing", "No such file"),
    ]:
        with pytest.raises(UserError, match=message):
            read_instructions(instruction, file and str(tmp_path / file))


def test_simulation_needs_no_lightning(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys, parfait.cli as cli\n"
        f"sys.argv = ['simulate.py', 'A calm market', 'n_paths=2', 'run={model}', 'output_dir=x']\n"
        "try:\n    cli.main('simulate')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print('LOADED', [m for m in ('lightning', 'transformers', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("LOADED []\n")
    config = (tmp_path / "x" / ".hydra" / "overrides.yaml").read_text()
    assert "A calm market" in config


@pytest.mark.usefixtures("no_figures")
def test_several_histories_are_written_and_shown(
    config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name, frame in embedded_bars().items():
        frame.tail(90).write_csv(tmp_path / "in" / f"{name}.csv")
    forms = (
        ["history=[in/SP500.csv,in/NASDAQ.csv]", "correlation=[[1,.3],[.3,1]]"],
        ["history={SP500: in/SP500.csv, NASDAQ: in/NASDAQ.csv}", "correlation=0.3"],
        ["history={SP500: in/SP500.csv, NASDAQ: in/NASDAQ.csv}", "correlation={SP500/NASDAQ: .3}"],
    )
    tables = []
    for k, form in enumerate(forms):
        simulate(config("Rates rise", *form, f"output_dir={tmp_path / str(k)}"))
        tables.append((tmp_path / str(k) / "paths.parquet").read_bytes())
    assert tables[0] == tables[1] == tables[2]
    table = pl.read_parquet(tmp_path / "0" / "paths.parquet")
    assert table.columns[0] == "symbol"
    assert table.height == 2 * 6 * 8
    shown = " ".join(capsys.readouterr().out.split())
    assert "SP500–NASDAQ +0.30 asked" in shown
    simulate(config("Rates rise", "history=in", f"output_dir={tmp_path / 'f'}"))
    summary = json.loads((tmp_path / "f" / "summary.json").read_text())
    assert summary["symbols"] == ["NASDAQ", "SP500"]
    assert any("estimated from 89 common bars" in w for w in summary["warnings"])


@pytest.mark.usefixtures("no_figures")
def test_options_reach_the_file_of_their_symbol(config, tmp_path: Path) -> None:
    odd = embedded_bars()["SP500"].tail(50).rename({"close": "last", "volume": "size"})
    odd.write_csv(tmp_path / "odd.csv")
    embedded_bars()["NASDAQ"].tail(50).write_csv(tmp_path / "plain.csv")
    files = f"history=[{tmp_path / 'odd.csv'},{tmp_path / 'plain.csv'}]"
    given = "history_options={odd: {columns: {close: last, volume: size}, price_scale: 0.1}}"
    simulate(config("Rates rise", files, "correlation=0", given, f"output_dir={tmp_path / 'o'}"))
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["history_options"]["odd"]["price_scale"] == 0.1
    assert summary["assets"]["odd"]["spot"] == pytest.approx(odd["last"][-1] / 10)
    assert summary["assets"]["plain"]["history"].endswith("plain.csv")


def test_a_portfolio_is_held_through_the_paths(
    config, no_figures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weights.csv"
    file.write_text("symbol,weight\nsp500,0.5\n")
    simulate(config(SENTENCE, f"portfolio={file}"))
    told = json.loads((tmp_path / "out" / "portfolio.json").read_text())
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert told["risk"]["VaR95"] == pytest.approx(summary["risk"]["VaR95"] / 2)
    assert list(told["positions"]) == ["SP500"]
    lineage = json.loads((tmp_path / "out" / "lineage.json").read_text())
    assert str(file) in json.dumps(lineage["inputs"])
    assert "cash 50.0%" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("row", "override", "said"),
    [
        ("DAX,1", "seed=0", "line 2, column symbol: 'DAX' is not among the histories .SP500."),
        ("SP500,1", "stream=true", "made in parts"),
        ("SP500,1", "portfolio=none.csv", "portfolio=none.csv cannot be read"),
    ],
)
def test_a_portfolio_that_cannot_be_held_is_refused_before_anything_is_written(
    config, tmp_path: Path, row: str, override: str, said: str
) -> None:
    file = tmp_path / "weights.csv"
    file.write_text(f"symbol,weight\n{row}\n")
    with pytest.raises(UserError, match=said):
        simulate(config(SENTENCE, f"portfolio={file}", override))
    assert not (tmp_path / "out").exists()
