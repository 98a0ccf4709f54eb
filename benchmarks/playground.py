"""How long the playground keeps a person waiting, from a click to the next page.

    OMP_NUM_THREADS=1 python benchmarks/playground.py [--repeats 5] [--paths 100] [--horizon 20]

Wall and processor seconds of this process, which serves the page and asks for it, medians over
repeats; the page is that of ``python -m parfait play`` but for the socket.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import Table, run  # pyright: ignore[reportImplicitRelativeImport]
from starlette.testclient import TestClient

from parfait.histories import load_histories
from parfait.pipeline import Pipeline
from parfait.play.app import create_app
from parfait.play.form import Ask, Caps
from parfait.play.page import EXAMPLES
from parfait.play.studio import FILES, Studio
from parfait.utils.errors import UserError

BASE = "http://localhost"
FIRST = "the first answer, models loaded for it"


def measured(step: Callable[[int], int], number: int) -> tuple[float, float, int]:
    """Wall and processor seconds, and kilobytes of the answer."""
    start, before = time.perf_counter(), time.process_time()
    size = step(number)
    return time.perf_counter() - start, time.process_time() - before, size


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--paths", type=int, default=100)
    parser.add_argument("--horizon", type=int, default=20)
    args = parser.parse_args()
    usual = Ask("", 0, None, args.horizon, args.paths, 0)
    table = Table(
        f"Playground, {args.paths} paths x {args.horizon} bars, medians of {args.repeats}",
        ("from click to page", "wall s", "CPU s", "KB"),
    )
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Pipeline.load, load_histories(None), Path(folder))
        app = create_app(studio, Caps(10_000, 2_520, 10_000_000), usual, {"localhost"})
        client = TestClient(app, base_url=BASE, headers={"origin": BASE})

        def get(path: str) -> int:
            return _size(client.get(path))

        def post(path: str, **fields: str) -> int:
            return _size(client.post(path, data=usual.typed() | fields))

        def ready() -> int:
            studio.start()
            return post("/run", instruction=EXAMPLES[0])

        steps: dict[str, Callable[[int], int]] = {
            FIRST: lambda k: ready(),
            "the empty page": lambda k: get("/"),
            "an instruction": lambda k: post("/run", instruction=EXAMPLES[k % 6], seed=str(k)),
            "another instruction, compared": lambda k: post(
                "/result/1/compare", instruction=f"{EXAMPLES[k % 6]} {k}"
            ),
            "run.zip with its report": lambda k: get(f"/result/{studio.made - k}/{FILES[-1]}"),
        }
        for name, step in steps.items():
            repeats = 1 if step is steps[FIRST] else args.repeats
            found = [measured(step, k) for k in range(repeats)]
            table.add(name, *(statistics.median(each) for each in zip(*found, strict=True)))
        studio.close()
    table.print()


def _size(response: Any) -> int:
    """Kilobytes of an answer that must be one."""
    if response.status_code != 200:
        raise UserError(f"the page answered {response.status_code}")
    return len(response.content) // 1000


if __name__ == "__main__":
    run(main)
