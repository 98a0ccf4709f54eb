"""The task ``microstructure``: are the bars of the network possible, realistic, its own?"""

from collections.abc import Sequence

from parfait.evaluation.ablation import ablation_cells, rollout_cells
from parfait.evaluation.candidates import Ingredients
from parfait.evaluation.cells import Cell
from parfait.evaluation.control import control_cells
from parfait.evaluation.forecasts import forecast_cells
from parfait.evaluation.realism import facts_cells, judge_cells, memory_cells, validity_cells
from parfait.evaluation.suites import Suite
from parfait.utils.errors import UserError

QUESTIONS = {
    "validity": validity_cells,
    "facts": facts_cells,
    "memorisation": memory_cells,
    "calibration": forecast_cells,
    "control": control_cells,
    "c2st": judge_cells,
    "ablation": ablation_cells,
    "rollout": rollout_cells,
}


def microstructure_cells(
    i: Ingredients, suite: Suite, questions: Sequence[str] | None = None
) -> list[Cell]:
    """Every cell of a suite, or those of some questions, in the order of its tables.

    Raises:
        UserError: an unknown question.
    """
    for name in questions or ():
        if name not in QUESTIONS:
            raise UserError(f"no question is called {name!r}; questions are {', '.join(QUESTIONS)}")
    asked = [ask for name, ask in QUESTIONS.items() if questions is None or name in questions]
    return [cell for ask in asked for cell in ask(i, suite)]
