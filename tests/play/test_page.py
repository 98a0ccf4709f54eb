"""Every route and every refusal, with the embedded model."""

import html
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from parfait.play.studio import FILES, Studio
from parfait.regime.records import read_scenarios
from parfait.semantic import UNSURE_BELOW
from tests.play.conftest import ASKED, number_of

NASTY = '</textarea><script>alert(1)</script>"><img src=x onerror=alert(1)>'


class Reader(HTMLParser):
    """Elements that run code or reach outside, and what the forms hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.forms: dict[str, dict[str, list[str]]] = {}
        self._form: dict[str, list[str]] = {}
        self.invalid: list[str] = []
        self._select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        got = dict(attrs)
        if tag in ("iframe", "object", "embed", "base", "img"):
            self.faults.append(tag)
        if tag == "script" and got != {"src": "/play.js", "defer": None}:
            self.faults.append(f"script {got}")
        for name, value in attrs:
            inside = re.match(r"(/(?!/)|#|data:,$)", value or "")
            if name.startswith("on") or (name.split(":")[-1] in ("href", "src") and not inside):
                self.faults.append(f"<{tag} {name}={value}>")
        if tag == "form":
            self._form = self.forms[got.get("action") or ""] = {}
        name = got.get("name") or ""
        if "aria-invalid" in got:
            self.invalid.append(name)
        if tag == "input" and name:
            self._form.setdefault(name, []).append(got.get("value") or "")
        if tag == "select":
            self._select = name
            self._form.setdefault(name, []).append("")
        if tag == "option" and ("selected" in got or not self._form[self._select][-1]):
            self._form[self._select][-1] = got.get("value") or ""


def cards(client: TestClient, number: int) -> dict[str, list[str]]:
    """The form of a run's scenarios as a browser would send it."""
    return Reader(client.get(f"/result/{number}").text).forms[f"/result/{number}"]


def closes(studio: Studio, number: int) -> Any:
    return studio.result(number).simulation.column("close")


def test_the_first_page_and_its_files(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert not Reader(page.text).faults
    assert "prefers-color-scheme: dark" in client.get("/play.css").text
    assert client.get("/play.js").headers["content-type"].startswith("text/javascript")
    for path in ("/docs", "/openapi.json", "/nothing", "/result/x", f"/result/{10**30}"):
        missing = client.get(path)
        assert missing.status_code == 404, path
        assert "There is no such page" in missing.text or "is not here" in missing.text, path


def test_a_sentence_becomes_scenarios(client: TestClient, first: int, studio: Studio) -> None:
    page = client.get(f"/result/{first}").text
    assert not Reader(page).faults
    assert "<mark>blorp</mark>" in page
    names = [c.name for c in studio.result(first).simulation.scenarios.components]
    form = cards(client, first)
    assert form["name"] == names
    assert len(names) > 2
    assert sum(map(float, form["weight"])) == pytest.approx(100, abs=0.05)
    again = number_of(client.post("/run", data=ASKED | {"instruction": "War escalates, blorp"}))
    assert closes(studio, again).equal(closes(studio, first))


def test_words_stay_words(client: TestClient, first: int) -> None:
    made = client.post("/run", data=ASKED | {"instruction": f"War {NASTY}", "horizon": "3"})
    for page in (
        made,
        client.post("/run", data=ASKED | {"instruction": NASTY, "seed": NASTY, "asset": NASTY}),
        client.post(f"/result/{first}", data=cards(client, first) | {"weight": [NASTY] * 9}),
        client.post(f"/result/{first}/compare", data={"instruction": NASTY * 100}),
    ):
        assert not Reader(page.text).faults
        assert "alert(1)" not in page.text or html.escape("<script>alert(1)") in page.text
    number = number_of(made)
    form = cards(client, number)
    form["name"][0] = '"><script>alert(1)</script>'
    edited = client.post(f"/result/{number}", data=form)
    assert edited.status_code == 200
    assert not Reader(edited.text).faults


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("instruction", "  ", "write what happens"),
        ("instruction", "战" * 1400, "4,200 bytes"),
        ("n_paths", "0", "from 1 to 1,000"),
        ("n_paths", "1001", "from 1 to 1,000"),
        ("horizon", "253", "from 1 to 252"),
        ("horizon", "1e2", "from 1 to 252"),
        ("horizon", "１２", "from 1 to 252"),
        ("seed", "-1", "from 0"),
        ("asset", "tulips", "choose one of"),
        ("history", "1", "from 0 to 0"),
        ("history", "/etc/passwd", "from 0 to 0"),
    ],
)
def test_the_very_field_is_marked_and_nothing_else_is_lost(
    client: TestClient, field: str, value: str, sentence: str
) -> None:
    typed = ASKED | {"instruction": "War escalates", field: value}
    refused = client.post("/run", data=typed)
    assert refused.status_code == 422
    assert Reader(refused.text).invalid == [field]
    assert sentence in refused.text
    assert ("War escalates" in refused.text) == (field != "instruction")
    assert f'value="{typed["n_paths"]}"' in refused.text


def test_a_run_has_a_largest_size(client: TestClient) -> None:
    refused = client.post(
        "/run", data=ASKED | {"instruction": "War", "n_paths": "1000", "horizon": "252"}
    )
    assert (refused.status_code, Reader(refused.text).invalid) == (422, ["n_paths"])
    assert "252,000; this page makes at most 50,000" in refused.text


def test_scenarios_as_they_are_shown_give_the_same_paths(
    client: TestClient, first: int, studio: Studio
) -> None:
    same = number_of(client.post(f"/result/{first}", data=cards(client, first)))
    assert closes(studio, same).equal(closes(studio, first))
    assert studio.result(same).parent == first


def test_no_edit_makes_a_reading_surer(client: TestClient, studio: Studio) -> None:
    """Neither the untouched cards of words that nobody understood, nor changed ones."""
    number = number_of(client.post("/run", data=ASKED | {"instruction": "blorp frumious"}))
    read = studio.result(number).simulation
    assert read.scenarios.confidence < UNSURE_BELOW
    assert read.scenarios.warnings
    for drift in (cards(client, number)["drift"][0], "0.5"):
        form = cards(client, number)
        form["drift"][0] = drift
        number = number_of(client.post(f"/result/{number}", data=form))
        told = studio.result(number).simulation
        assert told.scenarios.confidence == read.scenarios.confidence
        assert told.warnings == read.warnings


def test_an_edited_scenario_leaves_the_pairs_of_the_others_alone(
    client: TestClient, first: int, studio: Studio
) -> None:
    form = cards(client, first)
    form["volatility"][0] = "0.9"
    changed = number_of(client.post(f"/result/{first}", data=form))
    simulation = studio.result(changed).simulation
    assert simulation.scenarios.components[0].regime.volatility == pytest.approx(0.9)
    differ = (closes(studio, changed) != closes(studio, first)).any(dim=1)
    edited = [owner == 0 for owner in simulation.scenario_of_path]
    assert differ.tolist() == edited

    page = client.get(f"/compare/{first}/{changed}")
    assert (page.status_code, Reader(page.text).faults) == (200, [])
    pairs = pl.read_csv(client.get(f"/compare/{first}/{changed}/pairs.csv").content)
    assert (pairs["difference"] != 0).to_list() == edited
    assert pairs["difference"].to_numpy() == pytest.approx(
        (pairs["close_b"] / pairs["close_a"] - 1).to_numpy(), abs=1e-12
    )


def test_weights_are_scaled_and_scenarios_come_and_go(
    client: TestClient, first: int, studio: Studio
) -> None:
    form = {name: values[:2] for name, values in cards(client, first).items()}
    form = {name: [*values, values[0]] for name, values in form.items()}
    form |= {"weight": ["20", "20", "10"], "spread": ["0", "1", "1"]}
    made = client.post(f"/result/{first}", data=form)
    assert "The probabilities summed to 0.5; they were scaled to sum to 1." in made.text
    scenarios = studio.result(number_of(made)).simulation.scenarios
    assert [c.weight for c in scenarios.components] == pytest.approx([0.4, 0.4, 0.2])
    assert float(scenarios.components[0].sd.max()) == 0
    assert scenarios.components[0].regime == scenarios.components[2].regime


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("volatility", "-0.2", "from 0.001 to 10"),
        ("jump_intensity", "nan", "from 0 to 1000"),
        ("leverage", "1.5", "from -1 to 1"),
        ("weight", "-1", "from 0 to 100"),
        ("weight", "inf", "from 0 to 100"),
        ("spread", "9", "from 0 to 3"),
        ("drift", "", "from -20 to 20"),
        ("name", "", "1 to 80 characters"),
    ],
)
def test_a_scenario_s_field_is_marked_and_nothing_else_is_lost(
    client: TestClient, first: int, field: str, value: str, sentence: str
) -> None:
    form = cards(client, first)
    form["drift"][0] = "0.123"
    form[field][1] = value
    refused = client.post(f"/result/{first}", data=form)
    assert refused.status_code == 422
    reader = Reader(refused.text)
    assert reader.invalid == [field]
    assert sentence in refused.text
    assert reader.forms[f"/result/{first}"] == form


def test_torn_forms_are_one_sentence(client: TestClient, first: int) -> None:
    form = cards(client, first)
    count = len(form["origin"])
    for torn in (
        {"x": "1"},
        form | {"drift": form["drift"][:1]},
        form | {"origin": ["99"] * count},
        {name: values * 5 for name, values in form.items()},
        {f"x{k}": "1" for k in range(500)},
    ):
        refused = client.post(f"/result/{first}", data=torn)
        assert refused.status_code == 422
        assert 'role="alert"' in refused.text
    zero = client.post(f"/result/{first}", data=form | {"weight": ["0"] * count})
    assert "give at least one scenario a weight above 0" in zero.text
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/run", content=b"instruction=%ff", headers=headers).status_code == 422


def test_another_instruction_is_compared_with_the_same_numbers(
    client: TestClient, first: int
) -> None:
    page = client.post(f"/result/{first}/compare", data={"instruction": "A calm market"})
    assert page.status_code == 200
    assert page.url.path.startswith(f"/compare/{first}/")
    assert "A calm market" in page.text
    marked = client.post(f"/result/{first}/compare", data={"instruction": ""})
    assert (marked.status_code, Reader(marked.text).invalid) == (422, ["instruction"])
    other = ASKED | {"instruction": "A calm market", "seed": "2"}
    number = number_of(client.post("/run", data=other))
    unpaired = client.get(f"/compare/{first}/{number}")
    assert unpaired.status_code == 422
    assert "differ in seed (1 and 2)" in unpaired.text


def test_files_are_those_of_a_run(
    client: TestClient, first: int, studio: Studio, tmp_path: Path
) -> None:
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/result/{first}/run.zip").content))
    assert {Path(n).name for n in archive.namelist()} == set(FILES) - {"run.zip"}
    table = client.get(f"/result/{first}/paths.parquet")
    assert table.headers["content-disposition"] == f'attachment; filename="paths-{first}.parquet"'
    bars = studio.result(first).simulation.bars
    assert pl.read_parquet(io.BytesIO(table.content)).equals(bars)
    assert pl.read_csv(client.get(f"/result/{first}/paths.csv").content).height == bars.height
    told = client.get(f"/result/{first}/scenarios.json")
    file = tmp_path / "scenarios.json"
    file.write_bytes(told.content)
    assert [c.name for c in read_scenarios(file).components] == [
        row["name"] for row in json.loads(told.content)
    ]


def test_no_path_of_a_request_is_opened(client: TestClient, first: int, studio: Studio) -> None:
    for name in ("..%2f..%2f..%2fetc%2fpasswd", "%2e%2e", "paths.parquet%00", ".hydra", "x.csv"):
        assert client.get(f"/result/{first}/{name}").status_code == 404
    gone = client.get("/result/999/paths.csv")
    assert gone.status_code == 404
    assert "Run 999 is not here" in gone.text
    assert not (studio.folder / "999").exists()
