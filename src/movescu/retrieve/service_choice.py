"""The service that retrieves: C-MOVE, C-GET, or C-GET until the archive shows that it does not serve it.

One choice holds for all associations and retrieves of a client, so that an archive without C-GET is tried only once.
"""

from __future__ import annotations

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.errors import NoPresentationContextError
from movescu.retrieve.config import GET_CLASSES, MODELS, RetrieveBy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from typing import Final

    from movescu.retrieve.config import Config
    from movescu.retrieve.observer import Observer

_log: Final = logger_of("movescu.retrieve")


class ServiceChoice:
    """The service in use, and why; safe in any thread. ``observer``: notified when it changes. Default: none."""

    def __init__(self, config: Config, observer: Observer | None = None) -> None:
        self._observer = observer
        self._wanted = config.retrieve_by
        self.may_fall_back = config.retrieve_by is RetrieveBy.AUTO and config.listens
        """Whether C-MOVE can replace C-GET: wanted, and with a port to receive on."""
        self.gets = config.retrieve_by is not RetrieveBy.MOVE
        """Whether the next request is a C-GET."""
        self.reason = ""
        """Why C-MOVE replaced C-GET; else empty."""
        self._changing = clock.Lock()

    @property
    def name(self) -> str:
        """Name of the service in use."""
        return "C-GET" if self.gets else "C-MOVE"

    def classes(self, model: str) -> tuple[str, ...]:
        """Return the SOP classes that retrieve in an information model and are to be proposed."""
        move = (MODELS[model][1],) if self.may_fall_back or not self.gets else ()
        return (*((GET_CLASSES[model],) if self.gets else ()), *move)

    def require(self, config: Config, accepted: AbstractSet[str]) -> None:
        """Fall back to C-MOVE if C-GET was not accepted. Raise ``NoPresentationContextError`` if nothing retrieves.

        ``accepted``: SOP classes that the archive accepted.
        """
        model = config.request.model
        if self.gets and self.may_fall_back and GET_CLASSES[model] not in accepted:
            self.fall_back("the archive does not offer C-GET")
        if (GET_CLASSES[model] if self.gets else MODELS[model][1]) not in accepted:
            raise NoPresentationContextError(
                f"no acceptable presentation context: the archive does not offer {self.name} in the {model} model "
                f"to {config.ae_title!r}",
                hint="try another model (-P, -S, -O) or "
                + ("C-MOVE (--retrieve move) with --port" if self.gets else "other transfer syntaxes (-xi)"),
            )

    def fall_back(self, reason: str) -> None:
        """Use C-MOVE from now on."""
        with self._changing:  # two requests at once are told the same
            if not self.gets:
                return
            self.gets, self.reason = False, reason
        _log.warning("%s; retrieving by C-MOVE", reason)
        if self._observer is not None:
            self._observer.fell_back(reason)
