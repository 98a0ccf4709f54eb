"""The page in a real browser: light, dark, narrow and on paper, without a request or an error."""

import shutil
from collections.abc import Iterator

import pytest

from parfait import report
from parfait.stress import stress
from tests.report.test_report_page import simulated

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
LONGEST = "A sentence without end，全球冲突升级 " * 40


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """The Chromium of the system, driven by playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=found, args=list(FLAGS))
        yield started
        started.close()


SLOW = pytest.mark.slow
KINDS = ["usual", *(pytest.param(kind, marks=SLOW) for kind in ("eight scenarios", "one bar"))]


@pytest.fixture(scope="module", params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    sizes = {
        "usual": {},
        "eight scenarios": {
            "names": tuple(f"{LONGEST[:60]} {k}" for k in range(8)),
            "n": 40,
            "text": LONGEST,
        },
        "one bar": {"names": ("Alone",), "n": 1, "horizon": 1},
    }
    simulation = simulated(**sizes[request.param])
    folder = tmp_path_factory.mktemp("page")
    report.write(simulation, folder, portfolio=stress(simulation, {"history": 0.4}))
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1160, 420])
def test_the_page_asks_for_nothing_and_fits(browser, address: str, scheme: str, width: int):
    view = {"width": width, "height": 900}
    page = browser.new_page(viewport=view, color_scheme=scheme)
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    assert requests == [address]
    assert errors == []
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    ground = page.evaluate(
        "getComputedStyle(document.querySelector('section:not(.warnings)')).backgroundColor"
    )
    assert (brightness(ground) < 128) == (scheme == "dark")
    inks = page.evaluate(
        "[...document.querySelectorAll('svg text')].map(text => getComputedStyle(text).fill)"
    )
    assert len(inks) > 20
    assert min(abs(brightness(ink) - brightness(ground)) for ink in inks) > 50  # can be read
    page.close()


def test_paper_is_light_whatever_the_screen_is(browser, address: str):
    page = browser.new_page(color_scheme="dark")
    page.goto(address)
    page.emulate_media(media="print")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert brightness(paper) > 250
    data = page.pdf(format="A4", print_background=True)
    assert data.startswith(b"%PDF")
    assert 1 <= data.count(b"/Type /Page\n") <= 12
    page.close()


def brightness(colour: str) -> float:
    """Mean of red, green and blue of an "rgb(r, g, b)"."""
    return sum(map(float, colour.partition("(")[2].rstrip(")").split(",")[:3])) / 3
