"""Covering lists: combinations of choices in which every two choices of two axes meet at least once."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


def pairwise(axes: Sequence[Sequence[T]]) -> list[tuple[T, ...]]:
    """Choose combinations greedily; the first is the first choice of every axis."""
    rows = sorted(itertools.product(*(range(len(axis)) for axis in axes)), key=sum)

    def pairs(row: tuple[int, ...]) -> set[tuple[int, int, int, int]]:
        return {(a, row[a], b, row[b]) for a, b in itertools.combinations(range(len(row)), 2)}

    missing = set().union(*map(pairs, rows))
    chosen: list[tuple[int, ...]] = []
    while missing:
        row = max(rows, key=lambda candidate: len(pairs(candidate) & missing)) if chosen else rows[0]
        chosen.append(row)
        missing -= pairs(row)
    return [tuple(axis[choice] for axis, choice in zip(axes, row, strict=True)) for row in chosen]
