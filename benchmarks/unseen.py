"""Markets that the shipped model never saw, before and after fine-tuning on their own past.

    python benchmarks/unseen.py --assets FILE.json [--windows 400] [--output FOLDER]

``FILE.json`` is a list of {"name", "path", "options"}, options as in ``data.options``. For each:
``evaluate`` the shipped model on the last 20 % of the time, fine-tune it on the first 80 %
(``train.py ckpt=embedded experiment=finetune``), ``evaluate`` again. C2ST is that of the judge
that sees most; facts are the median distance from the real ones in units of their bootstrap sd.
What is already in the output folder is not computed again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from _common import Table, run, write_results  # pyright: ignore[reportImplicitRelativeImport]

from parfait.evaluation.candidates import NEUTRAL
from parfait.evaluation.results import NULLS, WORST

BOOTSTRAP = "block bootstrap projected on guide"
COLUMNS = (
    "asset",
    "windows",
    "C2ST null",
    "C2ST bootstrap",
    "C2ST before",
    "C2ST after",
    "facts bootstrap",
    "facts before",
    "facts after",
)
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--assets", required=True)
    parser.add_argument("--windows", type=int, default=400)
    parser.add_argument("--output", default="outputs/unseen")
    args = parser.parse_args()
    table = Table(
        f"C2ST of the worst judge, median distance of facts, {args.windows} windows at most",
        COLUMNS,
    )
    found = {}
    for asset in json.loads(Path(args.assets).read_text()):
        folder = Path(args.output) / asset["name"].replace(" ", "_")
        before = evaluate(folder / "before", asset, args.windows, None)
        train(folder / "tuned", asset)
        after = evaluate(folder / "after", asset, args.windows, folder / "tuned")
        found[asset["name"]] = {"before": before["scores"], "after": after["scores"]}
        table.add(asset["name"], before["data"]["held_out"]["windows"], *row(before, after))
    table.print()
    write_results(args.output, "unseen", [table], found)


def source(asset: dict[str, Any]) -> list[str]:
    return [f"data.path={asset['path']}", f"data.options={_literal(asset.get('options') or {})}"]


def _literal(value: Any) -> str:
    """In the grammar of Hydra, which wants the keys of a mapping bare."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_literal(v)}" for key, v in value.items()) + "}"
    return json.dumps(value)


def evaluate(folder: Path, asset: dict[str, Any], windows: int, run: Path | None) -> dict[str, Any]:
    """``evaluation.json`` of the network and the projected bootstrap."""
    result = folder / "evaluation.json"
    if not result.exists():
        asked = [f"windows={windows}", "questions=[c2st,facts]", "rows=[neutral,projected]"]
        asked += [f"output_dir={folder}", *([f"run={run}"] if run else [])]
        command("-m", "parfait", "evaluate", *asked, *source(asset))
    return json.loads(result.read_text())


def train(folder: Path, asset: dict[str, Any]) -> None:
    if not (folder / "model").exists():
        asked = ["ckpt=embedded", "experiment=finetune", f"output_dir={folder}"]
        command("train.py", *asked, *source(asset))


def command(*arguments: str) -> None:
    print("python", *arguments, flush=True)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def row(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    def score(told: dict[str, Any], *asked: str) -> dict[str, Any]:
        for known in told["scores"]:
            if (known["question"], known["row"], known["column"]) == asked:
                return known
        return {"value": None, "error": None}

    def judged(told: dict[str, Any], name: str) -> str:
        found = score(told, "c2st", name, WORST)
        return "n/a" if found["value"] is None else f"{found['value']:.3f} ± {found['error']:.3f}"

    def null(told: dict[str, Any]) -> str:
        known = [s["value"] for s in told["scores"] if s["row"] in NULLS and s["value"] is not None]
        return f"{max(known):.3f}" if known else "n/a"

    def distance(told: dict[str, Any], name: str) -> str:
        found = score(told, "facts distance", name, "median")["value"]
        return "n/a" if found is None else f"{found:.2f}"

    return [
        null(before),
        judged(before, BOOTSTRAP),
        judged(before, NEUTRAL),
        judged(after, NEUTRAL),
        distance(before, BOOTSTRAP),
        distance(before, NEUTRAL),
        distance(after, NEUTRAL),
    ]


if __name__ == "__main__":
    run(main)
