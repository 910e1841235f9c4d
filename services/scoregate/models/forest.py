"""Gradient-boosted trees by treelite's GTIL: one row costs a tenth of XGBoost's own prediction."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import treelite
from treelite.core import _LIB, _check_call
from treelite.gtil.gtil import GTILConfig

from scoregate.models import Matrix, Scores
from scoregate.models.shap import Paths

_FLOAT32 = "float32"

AT_ONCE = 16
"""Rows that are scored without letting other threads run: to get back in costs more than they take."""


class _Gtil:
    """GTIL by its C interface, which is treelite's documented one.

    `treelite.gtil.predict` makes a configuration and asks for types and shapes at each call, every time letting other
    threads in: that took four fifths of the time of one row, and far more beside a thread that is busy.
    """

    def __init__(self, trees: treelite.Model) -> None:
        if trees.input_type != _FLOAT32 or trees.output_type != _FLOAT32:
            raise ValueError("a forest of other numbers than 32-bit floats is not served")
        # One thread: more make one row slower, with spikes under CPU limits (xgboost#7734).
        self._config = GTILConfig(predict_type="raw", nthread=1)
        self._trees, self._width = trees, int(trees.num_feature)
        self._held: Any = ctypes.PyDLL(_LIB._name).TreeliteGTILPredict
        self._free: Any = _LIB.TreeliteGTILPredict
        self._type = _FLOAT32.encode()

    def margin(self, vector: Sequence[float]) -> float:
        """Return the raw margin of one row, without an array for it."""
        if len(vector) != self._width:
            raise ValueError("a row has a value for each feature")
        found = ctypes.c_float()
        self._predict(array("f", vector).tobytes(), 1, ctypes.byref(found))
        return found.value

    def margins(self, matrix: Matrix) -> Matrix:
        """Return raw margins, shape (rows,)."""
        matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        if matrix.ndim != 2 or matrix.shape[1] != self._width:
            raise ValueError("a matrix has a column for each feature")
        rows = len(matrix)
        found = np.empty(rows, dtype=np.float32)
        self._predict(ctypes.c_void_p(matrix.ctypes.data), rows, ctypes.c_void_p(found.ctypes.data))
        return found

    def _predict(self, matrix: Any, rows: int, into: Any) -> None:
        """Write the margin of each row; `matrix` and `into` as ctypes takes them for pointers."""
        predict = self._held if rows <= AT_ONCE else self._free
        _check_call(predict(self._trees.handle, matrix, self._type, ctypes.c_uint64(rows), into, self._config.handle))


class Forest:
    """An XGBoost forest and its Platt calibrator: score = 1 / (1 + exp(-(a * margin + b)))."""

    def __init__(self, trees: treelite.Model, a: float, b: float) -> None:
        self._width = int(trees.num_feature)
        self._gtil = _Gtil(trees)
        self._paths = Paths.of(trees)
        self._a = a
        self._b = b

    @classmethod
    def from_bytes(cls, ubj: bytes, a: float, b: float) -> Forest:
        """Read a forest from XGBoost's UBJSON.

        Raises:
            ValueError: it is not one that can be explained.
        """
        return cls(treelite.frontend.from_xgboost_ubjson(ubj), a, b)

    @property
    def width(self) -> int:
        """Number of features."""
        return self._width

    @property
    def base(self) -> float:
        """The margin of a record of which nothing is known."""
        return self._paths.base

    def margins(self, matrix: Matrix) -> Scores:
        """Return raw margins, shape (rows,)."""
        return self._gtil.margins(matrix).astype(np.float64)

    def score(self, vector: Sequence[float]) -> float:
        """Return what `predict` does of one row, to the last bit, at a third of its time."""
        # numpy's own exponential: the C library's differs in the last bit now and then.
        return float(1.0 / (1.0 + np.exp(-(self._a * self._gtil.margin(vector) + self._b))))

    def predict(self, matrix: Matrix) -> Scores:
        return 1.0 / (1.0 + np.exp(-(self._a * self.margins(matrix) + self._b)))

    def contributions(self, matrix: Matrix) -> Scores:
        return self._a * self._paths.contributions(matrix)

    def falls(self, vector: Matrix, to: Matrix) -> Scores:
        return self._a * self._paths.falls(vector[0], to)
