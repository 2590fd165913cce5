"""A trial retrieve, the last steps of ``--check`` with keys: one object that they match, received and discarded.

C-FIND chooses the object, so that the trial costs the archive no more than that, whatever the keys match. It is sent by
C-MOVE to our own port, or by C-GET. Each method is a step, and raises the error that explains its failure.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.record import replace
from movescu.dictionary.uids import uid_name
from movescu.dimse.status import MOVE_DESTINATION_UNKNOWN, SUCCESS
from movescu.errors import DestinationUnknownError, FindNotOfferedError, IncompleteError, PeerError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import identifier_for
from movescu.retrieve.causes import NOT_DELIVERED, NOT_SENT, advice_for, cause_of, cause_of_status
from movescu.retrieve.config import Retry
from movescu.retrieve.search import Search

if TYPE_CHECKING:
    from movescu.retrieve.client import ArchiveClient
    from movescu.retrieve.result import Result

_SECONDS: Final = 60.0
"""Upper limit of the trial if no total timeout is set."""


class Trial:
    """A trial retrieve with the keys of ``identifier``; ``own``: our entry in the archive's configuration."""

    def __init__(self, client: ArchiveClient, identifier: Identifier, own: str) -> None:
        self._client = client
        self._config = replace(client.config, retry=Retry(), selection=None)
        self._wanted = with_level(identifier)
        self._scope = Scope(self._wanted, client.config.request.model)
        self._levels = MODELS[client.config.request.model]
        self._own = own
        self._seconds = 0.0
        self._result: Result | None = None
        self._error: PeerError | None = None
        self.gets = False
        """Whether the object was requested by C-GET."""

    def choose(self) -> str:
        """Find one object that the keys match, and say which."""
        archive, level = self._config.archive.title, self._levels[-1]
        with closing(self._client.association(config=self._config, querying=True)) as association:
            association.open()
            try:
                match = next(Search(association, self._wanted, level=level, patterns=True).matches(), None)
            except FindNotOfferedError:
                if self._scope.level == level and self._scope.is_exact:
                    return f"{archive} offers no C-FIND; the keys name what to retrieve"
                raise
        if match is None:
            raise IncompleteError(
                f"{archive} has nothing for these keys, or does not show it to {self._config.ae_title}",
                hint="check the keys: --query lists what they match",
            )
        values = {tag: match.text(tag) for tag in (UNIQUE_KEYS[name] for name in self._levels)}
        self._wanted = identifier_for(level, {tag: text for tag, text in values.items() if text}, self._scope)
        return f"{archive} has {'object' if level == 'IMAGE' else 'study'} {match.uid}"

    def call_back(self) -> str:
        """Request the object, and say whether the archive connected to our port."""
        begun = clock.now()
        retrieve = self._client.prepare((self._wanted,), config=self._config, until=begun + self._limit)
        try:
            self._result = result = retrieve.run()
        finally:
            self._seconds = clock.now() - begun
        errors = (state.error for state in retrieve.states if isinstance(state.error, PeerError))
        self._error = next(errors, None)
        server, archive = self._client.server, self._config.archive.title
        self.gets = result.service == "C-GET"
        if self.gets:
            return f"with C-GET, {archive} sends over the association of the request"
        if server.listener is not None and server.listener.turned_away:
            why = ", ".join(dict.fromkeys(reason for _, reason in server.listener.turned_away))
            raise DestinationUnknownError(
                f"{archive} connected to port {server.port} and was refused by this program: {why}",
                hint="the log says how to accept it",
            )
        if server.was_reached:
            return f"{archive} connected to port {server.port}"
        said = self._ending(result)
        raise DestinationUnknownError(
            f"nothing connected to port {server.port}; {said}",
            hint=f"make sure that the archive's configuration has: {self._own}, and that no firewall blocks it",
        )

    @property
    def _limit(self) -> float:
        return self._config.timeouts.total or _SECONDS

    def _ending(self, result: Result) -> str:
        """Return the end of the request in words."""
        if self._error is not None:
            return str(self._error)
        final = result.responses[-1] if result.responses else None
        if final is None:
            return f"{result.service} was not answered"
        what = (
            "does not know the destination" if final.status == MOVE_DESTINATION_UNKNOWN else f"ended {result.service}"
        )
        return f"{self._config.archive.title} {what} with 0x{final.status:04x} ({final.status_name})"

    def receive(self) -> str:
        """Say whether the object arrived, and was sound."""
        result = self._result
        assert result is not None  # the step before has it
        if result.stored:
            number = f"{result.stored} object{'' if result.stored == 1 else 's'}"
            return f"{number} of {result.size} bytes arrived in {self._seconds:.1f} s; discarded"
        if result.failures:
            uid, why = next(iter(result.failures.items()))
            raise IncompleteError(f"object {uid} arrived and was refused by this program: {why}", hint="see the log")
        for one in result.rejected:
            offered = ", ".join(map(uid_name, one.offered))
            option = "--accept-all (+xa)" if one.known else "--accept-unknown"
            raise IncompleteError(
                f"{uid_name(one.sop_class_uid)} is offered in {offered}, which this program does not accept",
                hint=f"{option} accepts it, unless it is not for storage; +x options choose single transfer syntaxes",
            )
        raise IncompleteError(f"no object arrived; {self._ending(result)}", hint=self._advice(result))

    def end(self) -> str:
        """Say whether the archive's final response agrees with what arrived."""
        result = self._result
        assert result is not None  # an earlier step has it
        if result.complete and self._error is None:
            return "the final response agrees with what arrived"
        words = ", ".join(reason.words for reason in result.judgement.reasons)
        raise IncompleteError(f"{self._ending(result)}: {words}", hint=self._advice(result))

    def _advice(self, result: Result) -> str:
        if self._error is not None:
            return advice_for(self._error, associated=True)
        status = result.responses[-1].status if result.responses else SUCCESS
        if not result.arrived and status in NOT_DELIVERED:
            return NOT_SENT.advice
        return (cause_of(result) if status == SUCCESS else cause_of_status(status, result.service)).advice


def with_level(identifier: Identifier) -> Identifier:
    """Return an identifier with a Query/Retrieve Level: its own, else that of its lowest unique key, else STUDY."""
    if identifier.text(LEVEL):
        return identifier
    named = [level for level, tag in UNIQUE_KEYS.items() if identifier.text(tag)]
    level = named[-1] if named else "STUDY"
    return Identifier((Key(LEVEL, b"CS", level.encode()), *identifier), identifier.compression_level)
