"""A person's way through the page, in a real browser."""

import io
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.types import ASGIApp

from parfait.play.app import create_app
from parfait.play.form import Ask, Caps
from parfait.play.studio import Studio
from parfait.stages.play import listening

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path"),
]


@pytest.fixture
def url(studio: Studio) -> Iterator[str]:
    usual = Ask("", 0, None, 8, 32, 0)
    app: ASGIApp = create_app(studio, Caps(1000, 252, 50_000), usual, {"127.0.0.1"})
    listener = listening("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def test_type_see_drag_regenerate_compare_download(url: str, tmp_path: Path) -> None:
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
        page.set_default_timeout(60_000)
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))

        page.goto(url)
        page.get_by_role("button", name="The central bank announces").click()
        assert "50bps" in page.input_value("[name=instruction]")
        page.get_by_role("button", name="Generate").click()
        page.wait_for_url("**/result/*")
        first = page.url
        cards = page.locator(".card")
        count = cards.count()
        assert count > 2
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        slider = cards.nth(0).get_by_label("Weight, slider")
        before = float(cards.nth(0).locator("[name=weight]").input_value())
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * before / 100, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.95, middle, steps=5)
        page.mouse.up()
        dragged = float(cards.nth(0).locator("[name=weight]").input_value())
        assert dragged > max(85, before)
        assert "they will be scaled" in page.locator(".total").inner_text()
        cards.nth(0).get_by_role("button", name="Add a copy").click()
        assert cards.count() == count + 1
        cards.nth(count).get_by_role("button", name="Remove").click()
        cards.nth(0).locator("[name=volatility]").fill("-1")
        page.get_by_role("button", name="Generate from these").click()
        marked = page.locator("[aria-invalid]")
        marked.wait_for()
        assert marked.count() == 1
        assert "from 0.001 to 10" in page.locator(".card").nth(0).inner_text()
        assert float(page.locator("[name=weight]").nth(0).input_value()) == dragged
        marked.fill("0.5")
        page.get_by_role("button", name="Generate from these").click()
        page.wait_for_function("u => location.href.split('#')[0] !== u", arg=first.split("#")[0])
        page.get_by_text("they were scaled to sum to 1").wait_for()

        page.get_by_role("link", name="Compare with run").click()
        page.wait_for_url("**/compare/*/*")
        assert page.locator(".figure svg").count() == 1
        page.go_back()
        page.wait_for_url("**/result/*")
        with page.expect_download() as waiting:
            page.get_by_role("link", name="run.zip").click()
        archive = zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))
        assert any(name.endswith("report.html") for name in archive.namelist())
        browser.close()
    # The answer 422 that marked a field is told as an error of the network, not of the page.
    assert [f for f in faults if "422" not in f] == []
    assert [u for u in asked if not u.startswith((url, "data:"))] == []
