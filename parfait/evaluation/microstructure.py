"""The task ``microstructure``: are the bars of the network possible, realistic, its own?"""

from parfait.evaluation.candidates import Ingredients
from parfait.evaluation.cells import Cell
from parfait.evaluation.control import control_cells
from parfait.evaluation.forecasts import forecast_cells
from parfait.evaluation.realism import facts_cells, judge_cells, memory_cells, validity_cells
from parfait.evaluation.suites import Suite

QUESTIONS = (
    validity_cells,
    facts_cells,
    memory_cells,
    forecast_cells,
    control_cells,
    judge_cells,
)


def microstructure_cells(i: Ingredients, suite: Suite) -> list[Cell]:
    """Every cell of a suite, in the order of its tables."""
    return [cell for question in QUESTIONS for cell in question(i, suite)]
