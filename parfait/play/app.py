"""Routes of the playground."""

import logging
from collections.abc import Awaitable, Callable, Collection

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from parfait.play.edit import cards, cards_again, edited
from parfait.play.form import Ask, Caps, Fields, FormError, first, parse, read_ask, sentence
from parfait.play.guard import Guard
from parfait.play.page import Form, Page
from parfait.play.studio import FILES, BusyError, GoneError, Studio
from parfait.utils.errors import UserError

log = logging.getLogger(__name__)

TYPES = {
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "zip": "application/zip",
}
ASKED = ("instruction", "history", "asset", "horizon", "n_paths", "seed")


def create_app(studio: Studio, caps: Caps, usual: Ask, hosts: Collection[str]) -> ASGIApp:
    """The application.

    Args:
        studio: what answers.
        caps: the largest run.
        usual: what the empty form says.
        hosts: names under which the page may be asked for.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    histories = [history.name for history in studio.histories]
    page = Page(histories, caps)
    style, script = page.style(), page.script()

    @app.get("/")
    async def start() -> Response:
        return HTMLResponse(page.ask(Form(usual.typed())))

    @app.get("/play.css")
    async def css() -> Response:
        return Response(style, media_type="text/css")

    @app.get("/play.js")
    async def javascript() -> Response:
        return Response(script, media_type="text/javascript")

    @app.post("/run")
    async def run(request: Request) -> Response:
        values = parse(await request.body())
        typed = {name: first(values, name) for name in ASKED}

        async def answer() -> Response:
            ask = read_ask(values, histories, caps)
            return _see((await studio.run(ask, ask.instruction)).number)

        return await _answer(answer, lambda e, m: page.ask(Form(typed, e), m))

    @app.get("/result/{number}")
    async def result(number: int) -> Response:
        found = studio.result(number)
        s = found.simulation
        form = Form(found.ask.typed())
        return HTMLResponse(page.result(found, cards(s.scenarios, s.resolved), form))

    @app.post("/result/{number}")
    async def regenerate(number: int, request: Request) -> Response:
        values = parse(await request.body())
        found = studio.result(number)
        shown = cards_again(found.simulation.scenarios, values)
        form = found.ask.typed()

        async def answer() -> Response:
            scenarios, notes = edited(found.simulation.scenarios, values)
            return _see((await studio.run(found.ask, scenarios, number, notes)).number)

        return await _answer(answer, lambda e, m: page.result(found, shown, Form(form, e), m))

    @app.post("/result/{number}/compare")
    async def compare_with(number: int, request: Request) -> Response:
        values = parse(await request.body())
        found = studio.result(number)
        s = found.simulation
        shown, form = cards(s.scenarios, s.resolved), Form(found.ask.typed())

        async def answer() -> Response:
            fields = Fields()
            text = fields.take("other", lambda: sentence(values), "")
            fields.check()
            ask = Ask(**{**vars(found.ask), "instruction": text})
            other = await studio.run(ask, text)
            return RedirectResponse(f"/compare/{number}/{other.number}", 303)

        def again(errors: dict[str, str], message: str) -> str:
            compared = Form({"instruction": first(values, "instruction")}, errors)
            return page.result(found, shown, form, message, compared)

        return await _answer(answer, again)

    @app.get("/compare/{a}/{b}")
    async def compare(a: int, b: int) -> Response:
        one, two = studio.result(a), studio.result(b)
        made = await studio.compare(one, two)
        return HTMLResponse(page.comparison(one, two, made, Form(two.ask.typed())))

    @app.get("/compare/{a}/{b}/pairs.csv")
    async def pairs(a: int, b: int) -> Response:
        made = await studio.compare(studio.result(a), studio.result(b))
        return _download(made.pair.table().write_csv().encode(), f"pairs-{a}-{b}.csv")

    @app.get("/result/{number}/{name}")
    async def file(number: int, name: str) -> Response:
        found = studio.result(number)
        if name not in FILES:  # no path is made of what was asked for
            raise GoneError(f"A run has no such file; it has {', '.join(FILES)}.")
        stem, _, kind = name.partition(".")
        return _download(await studio.file(found, name), f"{stem}-{number}.{kind}")

    @app.exception_handler(UserError)
    async def mistaken(request: Request, error: UserError) -> Response:
        status = (
            503 if isinstance(error, BusyError) else 404 if isinstance(error, GoneError) else 422
        )
        return _told(page.ask(Form(usual.typed()), str(error)), status)

    @app.exception_handler(RequestValidationError)  # a number that is none
    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: Exception) -> Response:
        return _told(page.ask(Form(usual.typed()), "There is no such page."), 404)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        log.error("a request failed", exc_info=error, extra={"file_only": True})
        said = "That failed, and not by your fault; play.log in the output folder says why."
        return _told(page.ask(Form(usual.typed()), said), 500)

    return Guard(app, hosts)


async def _answer(
    answer: Callable[[], Awaitable[Response]], again: Callable[[dict[str, str], str], str]
) -> Response:
    """The answer, or the same form again with what was typed and a sentence on what is wrong."""
    try:
        return await answer()
    except FormError as error:
        return _told(again(error.fields, "Some fields need another value."), 422)
    except BusyError as error:
        return _told(again({}, str(error)), 503)
    except UserError as error:
        return _told(again({}, str(error)), 422)


def _see(number: int) -> Response:
    return RedirectResponse(f"/result/{number}#result", 303)


def _told(page: str, status: int) -> Response:
    return HTMLResponse(page, status, {"retry-after": "5"} if status == 503 else None)


def _download(data: bytes, name: str) -> Response:
    kind = TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    return Response(data, 200, {"content-disposition": f'attachment; filename="{name}"'}, kind)
