"""The destinations of a client's objects and their open targets: each destination is opened once."""

from __future__ import annotations

from movescu._runtime import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.storage.options import StorageOptions
    from movescu.storage.sinks import Destination
    from movescu.storage.target import Target


class Destinations:
    """The targets of destinations other than the client's own. ``open_target``: opens one."""

    def __init__(self, open_target: Callable[[StorageOptions], Target]) -> None:
        self._open_target = open_target
        self._lock = clock.Lock()
        self._targets: dict[int, tuple[object, Target]] = {}

    def target_of(self, to: Destination | None, own: Target) -> Target:
        """Return the open target of a destination, the same one for the same destination; ``own``: the client's."""
        from movescu.storage.sinks import refuse_inside, storage_options  # late: needed by programs alone

        with self._lock:
            if to is None:
                target = own
            elif (known := self._targets.get(id(to))) is not None and known[0] is to:
                target = known[1]
            else:
                target = self._open_target(storage_options(to))
                self._targets[id(to)] = to, target
        refuse_inside(target.storage.sink)
        return target

    @property
    def targets(self) -> tuple[Target, ...]:
        """The open targets."""
        return tuple(target for _, target in self._targets.values())
