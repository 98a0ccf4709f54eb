"""A rival that knows words and no meaning: ridge regression on character n-grams."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from parfait.utils.errors import UserError

MISSING = "needs scikit-learn: pip install 'parfait[evaluate]'"


class NGramRidge:
    """Ridge regression of targets on TF-IDF of character n-grams (1 to 4) and what goes with them.

    Args:
        texts: to learn from.
        beside: columns that stand beside the n-grams, (texts, any).
        targets: (texts, d).
        alpha: strength of the penalty.

    Raises:
        UserError: scikit-learn is not installed.
    """

    def __init__(
        self,
        texts: Sequence[str],
        beside: Float64[Tensor, "texts b"],
        targets: Float64[Tensor, "texts d"],
        alpha: float = 1.0,
    ) -> None:
        if find_spec("sklearn") is None:
            raise UserError(f"the n-gram ridge {MISSING}")
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import Ridge

        least = min(3, max(len(texts) // 20, 1))
        self._words = TfidfVectorizer(
            analyzer="char", ngram_range=(1, 4), min_df=least, sublinear_tf=True
        )
        self._words.fit(texts)
        self._ridge = Ridge(alpha=alpha).fit(self._features(texts, beside), targets.numpy())

    def predict(
        self, texts: Sequence[str], beside: Float64[Tensor, "texts b"]
    ) -> Float64[Tensor, "texts d"]:
        """The targets of other texts."""
        told = np.atleast_2d(self._ridge.predict(self._features(texts, beside)))
        return torch.from_numpy(np.ascontiguousarray(told)).double()

    def _features(self, texts: Sequence[str], beside: Tensor) -> Any:
        from scipy.sparse import csr_matrix, hstack

        return hstack([self._words.transform(texts), csr_matrix(beside.numpy())])
