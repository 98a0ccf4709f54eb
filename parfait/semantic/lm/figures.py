"""What calibration looks like, for the logs that show figures."""

from typing import Any

from parfait.semantic.lm.calibration import BINS, FIELDS, LEVELS, Calibration


def calibration_figure(found: Calibration) -> Any:
    """A matplotlib figure: histogram of the transform by field (flat is right, a hill is too wide,
    a bowl too narrow), coverage by level and field, and predicted against true weights of slots.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    edges = [k / BINS for k in range(BINS + 1)]
    density = (found.histogram.cpu() * BINS / max(found.draws, 1)).tolist()
    for name, row in zip(FIELDS, density, strict=True):
        left.stairs(row, edges, label=name)
    left.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    left.set(
        title="where draws of the teacher fall", xlabel="PIT", ylabel="density", ylim=(0, None)
    )
    left.legend(fontsize=6, ncols=2)
    places = range(len(FIELDS))
    for level, row in zip(LEVELS, found.coverage().cpu().tolist(), strict=True):
        (line,) = middle.plot(row, places, "o", label=f"{level:.0%}")
        middle.axvline(level, color=line.get_color(), linewidth=0.8, linestyle="--")
    middle.set(title="coverage of central intervals", xlim=(0, 1), yticks=list(places))
    middle.set_yticklabels(FIELDS, fontsize=6)
    middle.legend(fontsize=6)
    count, mine, theirs = found.weights.cpu()
    held = count > 0
    share = count[held]
    right.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
    right.plot((mine[held] / share).tolist(), (theirs[held] / share).tolist(), "o-")
    right.set(
        title="weights of slots", xlabel="predicted", ylabel="teacher", xlim=(0, 1), ylim=(0, 1)
    )
    return figure
