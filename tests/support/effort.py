"""How much of a long test is run: a part by `make test`, all of it by `make test-all` (pytest's ``--whole``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "MOVESCU_TESTS"
"""Environment variable that ``--whole`` sets to ``whole``, for the modules that are imported later."""

One = TypeVar("One")


def is_whole() -> bool:
    """Whether all of each test is run."""
    return os.environ.get(VARIABLE) == "whole"


def examples(number: int) -> int:
    """Return how many examples of so many are to be tried: a quarter, 30 at least."""
    return number if is_whole() else max(number // 4, 30)


def some(cases: Iterable[One], step: int) -> list[One]:
    """Return the cases to be tried: one in ``step``, the first and the last among them."""
    made = list(cases)
    return made if is_whole() else [*made[:-1:step], *made[-1:]]
