"""The destinations of a client's objects and their open targets: each destination is opened once."""

from __future__ import annotations

from movescu._runtime import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from movescu.storage.sinks import Destination
    from movescu.storage.target import Target


class Destinations:
    """The targets of destinations other than the client's own. ``indexed``: use the index of whole objects."""

    def __init__(self, *, indexed: bool) -> None:
        self._indexed = indexed
        self._lock = clock.Lock()
        self._targets: dict[int, tuple[object, Target]] = {}

    def target_of(self, to: Destination | None, own: Target) -> Target:
        """Return the open target of a destination, the same one for the same destination; ``own``: the client's."""
        from movescu.storage.sinks import refuse_inside, storage_options  # late: needed by programs alone
        from movescu.storage.target import Target

        with self._lock:
            if to is None:
                target = own
            elif (known := self._targets.get(id(to))) is not None and known[0] is to:
                target = known[1]
            else:
                target = Target(storage_options(to), indexed=self._indexed)
                self._targets[id(to)] = to, target
        refuse_inside(target.storage.sink)
        return target

    @property
    def targets(self) -> tuple[Target, ...]:
        """The open targets."""
        return tuple(target for _, target in self._targets.values())
