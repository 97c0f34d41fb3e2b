"""How far two losses must lie apart: for every pair of a usual group at once, for one against some of a large one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Margins:
    """`ses` standard errors of the difference of two losses: the length of the difference of their `errors`, which
    is paired where they have parts in common (n, parts), and else each one's own (n, 1), at right angles."""

    errors: Array
    paired: bool
    ses: float

    def between(self, one: int, others: Indices) -> Array:
        """Of one with each of the others."""
        if not self.paired:
            return self.ses * np.hypot(self.errors[one, 0], self.errors[others, 0])
        return self.ses * np.linalg.norm(self.errors[others] - self.errors[one], axis=1)

    def at_most(self) -> Array:
        """For each one a bound of its margins with any other (n,)."""
        usual = self.errors.mean(axis=0) if self.paired else 0.0
        lengths = np.linalg.norm(self.errors - usual, axis=1)
        return self.ses * (lengths + lengths.max())

    def matrix(self) -> Array:
        """Of every pair (n, n)."""
        if not self.paired:
            return self.ses * np.hypot(self.errors, self.errors.T)
        products = self.errors @ self.errors.T
        length = np.diag(products)[:, None] + np.diag(products)[None, :]
        difference = length - 2 * products
        return self.ses * np.sqrt(np.where(difference > 1e-12 * length, difference, 0.0))  # what cancels is rounding
