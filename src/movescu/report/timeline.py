"""Objects and bytes received over time, in at most 600 steps of equal length, and sizes of objects, for plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEPS: Final = 600
_SHORTEST: Final = 0.125
"""Initial length of a step, in seconds; doubled whenever there are too many steps."""


class Timeline:
    """Numbers of objects, bytes and refusals by step; ``begun``: seconds since 1970."""

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._step = _SHORTEST
        self._values: dict[str, list[int]] = {"objects": [], "bytes": [], "refusals": []}
        self._sizes: dict[int, int] = {}

    def object(self, time: float, size: int, *, stored: bool) -> None:
        """Add an object that arrived."""
        step = self._at(time)
        self._values["bytes"][step] += size
        if stored:
            self._values["objects"][step] += 1
            power = max(size, 1).bit_length() - 1
            self._sizes[power] = self._sizes.get(power, 0) + 1

    def objects(self, time: float, number: int, size: int) -> None:
        """Add stored objects that arrived since the last ones, of whose own sizes nothing is known."""
        step = self._at(time)
        self._values["objects"][step] += number
        self._values["bytes"][step] += size

    def refusal(self, time: float) -> None:
        """Add a request that the archive refused."""
        self._values["refusals"][self._at(time)] += 1

    def _at(self, time: float) -> int:
        """Return the step of a time, after adding steps up to it."""
        step = max(int((time - self._begun) / self._step), 0)
        while step >= _STEPS:
            self._step *= 2
            step //= 2
            self._values = {name: _halved(values) for name, values in self._values.items()}
        for values in self._values.values():
            values.extend([0] * (step + 1 - len(values)))
        return step

    def json(self) -> dict[str, Any]:
        """Return the numbers by step; ``step``: its seconds."""
        return {"step": self._step, **self._values}

    def sizes_json(self) -> list[tuple[int, int]]:
        """Return the numbers of stored objects by the power of two that their size reaches, without gaps."""
        if not self._sizes:
            return []
        return [(power, self._sizes.get(power, 0)) for power in range(min(self._sizes), max(self._sizes) + 1)]


def _halved(values: Sequence[int]) -> list[int]:
    return [sum(values[start : start + 2]) for start in range(0, len(values), 2)]
