"""An object is never held whole: a giant needs no more memory than a small one, in every mode and shape.

``tests/support/giant.py`` measures the same for any size; here 100 MB have to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import giant
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIZE = 100 << 20
_MAY_GROW = 24 << 20  # a fourth of the object, over the 17 MiB of a run with a small one

CASES = [
    *((giant.pixels, mode) for mode in giant.MODES),
    *((giant.sequence, mode) for mode in ((), ("+td", "+cl", "1"), ("+g", "+tb"))),
    *((giant.disordered, mode) for mode in ((), ("+td", "+cl", "1"))),
]


@pytest.fixture(scope="module")
def small() -> int:
    return giant.peak(giant.pixels, 1000)


@pytest.mark.parametrize(("shape", "mode"), CASES)
@pytest.mark.sampled(5)
def test_giant_does_not_fill_the_memory(
    shape: Callable[[int], Iterator[bytes]], mode: tuple[str, ...], small: int
) -> None:
    assert giant.peak(shape, _SIZE, *mode) < small + _MAY_GROW
