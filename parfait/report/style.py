"""How every figure looks, and how a figure becomes bytes: fixed colours, fixed ids, no clock."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.transforms import Bbox

INK, MUTED, FAINT, GRID, PAPER = "#1c2530", "#5b6877", "#a9b3bf", "#e3e7ec", "#ffffff"
# Okabe and Ito (2008), told apart with every common colour vision; yellow, too light for paper,
# became brown.
SCENARIO_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c510a",
    "#767d86",
)
TITLE_STRIP = 0.4  # inches
# In the page every one of these becomes a CSS variable, which is what gives it a dark mode.
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    FAINT: "--faint",
    GRID: "--grid",
    PAPER: "--paper",
} | {colour: f"--s{k}" for k, colour in enumerate(SCENARIO_COLOURS)}

PARAMETERS: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titley": 1.0,  # no axis has ticks above, and looking for them is a tenth of all drawing
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",  # text stays text: selectable, in the reader's fonts, any script
    "svg.hashsalt": "parfait",
    "path.simplify": False,
    "lines.solid_capstyle": "butt",
}


@contextmanager
def style() -> Iterator[None]:
    """The look of the report, without touching the caller's matplotlib settings."""
    with mpl.rc_context(PARAMETERS):
        yield


def png_bytes(figure: Figure, title: str = "", dpi: int = 150) -> bytes:
    """PNG on white paper, with ``title`` on a strip of its own above the figure."""
    text = drawable(title)
    width, height = figure.get_size_inches()
    strip = TITLE_STRIP if text else 0.0
    buffer = io.BytesIO()
    with style():
        words = f"“{text}”" if text else ""
        head = figure.text(
            0.01, 1 + 0.1 / height, words, fontsize=12, va="bottom", parse_math=False
        )
        figure.savefig(
            buffer,
            format="png",
            dpi=dpi,
            bbox_inches=Bbox([[0, 0], [width, height + strip]]),
            metadata={"Software": None},
        )
        head.remove()
    return buffer.getvalue()


def inline_svg(figure: Figure, label: str) -> str:
    """An ``<svg>`` element for inside a page: scalable, themed by CSS variables, no loose ids.

    Args:
        figure: any figure made under ``style``.
        label: what it shows, for a screen reader.
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)  # the HTML parser knows these by itself
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"(\d+\.\d\d)\d+", r"\1", svg)  # a hundredth of a point is below any screen
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"font: (\d+|bold) ([\d.]+)px [^;\"]*", r"font-weight: \1; font-size: \2px", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{_attribute(label)}"', 1)


_METADATA = ("Date", "Creator", "Format", "Type")


def _attribute(text: str) -> str:
    """Text inside a double-quoted attribute."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def drawable(text: str, limit: int = 110) -> str:
    """The text as a picture can carry it: one line, short, empty if its script has no glyphs."""
    text = " ".join(text.split())
    if len(text) > limit:
        text = text[: limit - 1].rstrip() + "…"
    kept = "".join(character for character in text if ord(character) in _glyphs())
    return kept if len(kept) >= 0.8 * len(text) else ""


@cache
def _glyphs() -> frozenset[int]:
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    return frozenset(font.get_charmap())
