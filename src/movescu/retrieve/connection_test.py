"""The connection test: each step of a retrieve in turn, without storing anything.

``check`` proceeds from the archive's host name to its C-MOVE presentation context, then to our own port and directory,
and then requests a study that cannot exist: an archive that checks the destination first answers A801 if it does not
know it (PS3.4 table C.4-2). The same is requested by C-GET, over an association of its own, as some archives end that
where C-GET is not permitted. With keys, one object that they match is last received and discarded (``trial``). What the
configured service does not need is no failure. Nothing is left behind. After a failed step, the steps that do not need
it are still taken. The caller shows the steps and maps failures to exit codes.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from movescu.dictionary.uids import VERIFICATION
from movescu.dimse.exchange import Exchange
from movescu.dimse.status import MOVE_DESTINATION_UNKNOWN, SUCCESS, status_name
from movescu.errors import (
    AssociationAbortedError,
    ConnectError,
    DestinationUnknownError,
    DirectoryNotWritableError,
    MovescuError,
    NoPresentationContextError,
    PeerError,
    StoreError,
)
from movescu.retrieve.association_request import association_request
from movescu.retrieve.causes import advice_for
from movescu.retrieve.client import ArchiveClient
from movescu.retrieve.config import MODELS, RetrieveBy
from movescu.retrieve.foreign_port import explained
from movescu.retrieve.request_for_nothing import answer_text, get_nothing, request_for_nothing
from movescu.retrieve.trial import Trial
from movescu.services.echo import EchoSCU
from movescu.services.move import MoveSCU
from movescu.storage import files
from movescu.storage.durability import Durability
from movescu.storage.options import StorageOptions
from movescu.storage.writer import OutputDirectory
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline, Silence
from movescu.transport.rejection import STEP_BY_STEP
from movescu.transport.sockets import connect, own_addresses, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from movescu.query.identifier import Identifier
    from movescu.retrieve.config import Config
    from movescu.services.move import MoveResponse
    from movescu.transport.sockets import Transport
    from movescu.transport.tls import TLS
    from movescu.ul.negotiation import Context

_PATIENCE: Final = 30.0
"""Seconds. Timeout where the configuration sets none, so that a test always ends."""

_MODEL_NAMES: Final = {"PATIENT": "Patient Root (-P)", "STUDY": "Study Root (-S)", "PSONLY": "Patient/Study Only (-O)"}


class StepResult(Enum):
    """Result of a step."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not wanted, or not possible after an earlier failure."""
    UNCLEAR = "unclear"
    """The archive's answer does not show it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A completed step. ``advice``: what the user can do, or empty; ``error``: why it failed."""

    name: str
    result: StepResult
    text: str
    advice: str = ""
    error: MovescuError | None = None


def check(config: Config, storage: StorageOptions | None, identifier: Identifier | None = None) -> Iterator[Step]:
    """Take the steps and yield each when done. A failure is in its step, not raised.

    ``identifier``: keys of a trial retrieve to this program. Default: None, no trial.
    """
    ours = config.receive is not None and config.is_own_destination
    steps = _STEPS if identifier is None or not ours else _STEPS + _TRIAL
    with contextlib.ExitStack() as stack:
        way = _Way(config, storage, stack, identifier)
        missing: set[str] = set()
        for name, take, needs in steps[config.tls is None :]:
            lacking = next((need for need in needs if need in missing), "")
            if lacking:
                missing.add(name)
                yield Step(name, StepResult.SKIPPED, f"the {lacking} step did not succeed")
                continue
            step = _taken(name, way, take)
            if step.result is StepResult.FAILED:
                missing.add(name)
            yield step


def _taken(name: str, way: _Way, take: Callable[[_Way], _Found]) -> Step:
    try:
        return Step(name, *take(way))
    except PeerError as error:
        advice = advice_for(error, associated=way.is_associated)
        return Step(name, StepResult.FAILED, str(error), advice.removesuffix(STEP_BY_STEP), error)
    except MovescuError as error:
        return Step(name, StepResult.FAILED, str(error), error.hint, error)


class _Way:
    """The steps and the state that they share; each returns its result or raises its error."""

    def __init__(
        self,
        config: Config,
        storage: StorageOptions | None,
        stack: contextlib.ExitStack,
        identifier: Identifier | None,
    ) -> None:
        self._identifier = identifier
        self._client: ArchiveClient | None = None
        self._trial: Trial | None = None
        self._config = config
        self._storage = storage
        self._stack = stack
        self._tls: TLS | None = None
        self._addresses: tuple[str, ...] = ()
        self._transport: Transport | None = None
        self._connection: Connection | None = None
        self._own = ""  # our entry in the archive's configuration
        self._moves = True
        """Whether no step of C-MOVE has failed."""

    @property
    def is_associated(self) -> bool:
        """Whether an association was established."""
        return self._connection is not None

    # -- to the archive ------------------------------------------------------------------------------------------------

    def look_up(self) -> _Found:
        config = self._config
        self._addresses = resolve(config.archive.host, config.request.ip, config.timeouts.connect or _PATIENCE)
        found = ", ".join(self._addresses)
        return (
            StepResult.OK,
            f"{config.archive.host} is {found if found != config.archive.host else 'an address'}",
            "",
        )

    def set_up_tls(self) -> _Found:
        assert self._config.tls is not None  # the step is left out without TLS
        from movescu.transport.tls import make  # late: slow to load, and needed for TLS alone

        self._tls = make(self._config.tls, accepting=False)
        return StepResult.OK, "keys and certificates are usable", ""

    def connect(self) -> _Found:
        """Try each address and keep the first connection."""
        said = [self._connect(address) for address in self._addresses]
        if self._transport is None:
            raise ConnectError(
                "; ".join(said),
                hint="check host and port, that the archive is running, and that no firewall blocks the connection",
            )
        return StepResult.OK, "; ".join(said), ""

    def _connect(self, address: str) -> str:
        config = self._config
        try:
            transport = connect(address, config.archive.port, config.timeouts.connect or _PATIENCE, config.request.ip)
        except PeerError as error:
            return str(error)
        self._stack.callback(transport.close)
        self._transport = self._transport or transport
        return f"{address} port {config.archive.port} answers"

    def secure(self) -> _Found:
        if self._tls is None:
            return StepResult.SKIPPED, "not requested: no TLS option is given", ""
        assert self._transport is not None  # needed by this step
        deadline = Deadline(self._config.timeouts.acse or _PATIENCE, "securing the connection")
        self._tls.secure_request(self._transport, self._config.archive.host, deadline)
        return StepResult.OK, "the connection is secured", ""

    def associate(self) -> _Found:
        assert self._transport is not None  # needed by this step
        config = self._config
        others = (uid for model in MODELS.values() for uid in model if uid not in MODELS[config.request.model])
        request = association_request(config, VERIFICATION, *others)
        try:
            self._connection = Connection.request(self._transport, request, config.timeouts.acse or _PATIENCE)
        except PeerError as error:
            raise explained(error, config) from error
        self._stack.callback(self._release, self._connection)
        return StepResult.OK, f"{config.archive.title} accepts {config.ae_title}", ""

    def _release(self, connection: Connection) -> None:
        if self._connection is None:
            connection.close()
            return
        with contextlib.suppress(MovescuError):  # the steps are over
            connection.release(Deadline(self._config.timeouts.acse or _PATIENCE, "releasing the association"))

    def echo(self) -> _Found:
        context = self._context(VERIFICATION)
        if context is None:
            return StepResult.SKIPPED, "the archive does not offer C-ECHO; a retrieve does not need it", ""
        status = EchoSCU(self._exchange, context).echo(self._silence("the answer to C-ECHO"))
        if status != SUCCESS:
            raise PeerError(
                f"the archive answers C-ECHO with 0x{status:04x} ({status_name(status)})",
                hint="check the archive's log",
            )
        return StepResult.OK, "the archive answers", ""

    def find_move_context(self) -> _Found:
        return self._unless_get(self._find_move_context)

    def _unless_get(self, take: Callable[[], _Found]) -> _Found:
        """Take a step of C-MOVE; its failure is none where C-GET may retrieve."""
        try:
            return take()
        except PeerError as error:
            self._moves = False
            if self._config.retrieve_by is RetrieveBy.MOVE:
                raise
            return StepResult.SKIPPED, f"{error}; C-GET does not need it", ""

    def _find_move_context(self) -> _Found:
        config = self._config
        context = self._context(MODELS[config.request.model][1])
        if context is not None:
            return StepResult.OK, f"{_MODEL_NAMES[config.request.model]}, {context.transfer_syntax.name}", ""
        offered = [_MODEL_NAMES[name] for name, (_, uid) in MODELS.items() if self._context(uid)]
        raise NoPresentationContextError(
            f"the archive does not offer C-MOVE in the model {_MODEL_NAMES[config.request.model]} to "
            f"{config.ae_title!r}",
            hint=f"the archive offers: {', '.join(offered)}"
            if offered
            else "allow this AE title to retrieve in the archive's configuration, or try other transfer syntaxes (-xi)",
        )

    # -- on our own side -----------------------------------------------------------------------------------------------

    def listen(self) -> _Found:
        """Open the port until the end of the test; objects are discarded."""
        own, config = self._config.receive, self._config
        title = config.move_destination
        if own is not None and own.port is None:
            self._client = self._stack.enter_context(ArchiveClient.configured(config, StorageOptions(ignore=True)))
            return StepResult.SKIPPED, "C-GET needs no port", ""
        if own is None:
            third = f"the objects go to {title}" + (", our own title" if title == config.ae_title else "")
            return StepResult.SKIPPED, f"nothing is received here without --port: {third}", ""
        self._client = client = self._stack.enter_context(ArchiveClient.configured(config, StorageOptions(ignore=True)))
        addresses = " or ".join(self._own_addresses(own.address))
        port = client.port
        self._own = f"AE title {title}, address {addresses} (as seen from here), port {port}"
        return StepResult.OK, f"port {port} is open, at {addresses} (as seen from here)", ""

    def _own_addresses(self, chosen: str) -> tuple[str, ...]:
        """Return our addresses: that of the connection to the archive, if there is one, else all."""
        if chosen:
            return (chosen,)
        local = self._transport.local_address if self._transport is not None else ""
        return (local,) if local else own_addresses(self._config.request.ip) or ("an address of this machine",)

    def write(self) -> _Found:
        if self._storage is None or not self._storage.to_files:
            return StepResult.SKIPPED, "nothing is stored here", ""
        path = self._storage.directory
        with contextlib.closing(OutputDirectory(path, Durability.OFF)) as directory:
            try:
                directory.create().discard()
            except StoreError as error:
                hint = error.hint or "free some space, or choose another directory with --output-directory"
                raise DirectoryNotWritableError(str(error), hint=hint) from error
            room = files.free_space(path)
        return StepResult.OK, f"{path!r} is writable, {room / 1e9:.1f} GB free", ""

    # -- the move destination ------------------------------------------------------------------------------------------

    def ask(self) -> _Found:
        if self._context(MODELS[self._config.request.model][1]) is None:
            return StepResult.SKIPPED, "the C-MOVE context step did not succeed", ""
        return self._unless_get(self._ask)

    def _ask(self) -> _Found:
        """Request a non-existent study, for our destination and then for a non-existent one.

        Many archives look for the study first and give both the same answer.
        """
        archive, title = self._config.archive.title, self._config.move_destination
        try:
            response = self._ask_for_nothing(title)
        except AssociationAbortedError as error:  # as Orthanc does with a calling title that it does not know
            raise DestinationUnknownError(
                f"{archive} aborts the association on C-MOVE: it may not know {title}",
                hint=f"add to the archive's configuration: {self._own or f'{title} with its address and port'}",
            ) from error
        if response.status == MOVE_DESTINATION_UNKNOWN:
            raise DestinationUnknownError(
                f"{archive} does not know {title}: {answer_text(response)}",
                hint=f"add to the archive's configuration: {self._own or f'{title} with its address and port'}",
            )
        if self._ask_for_nothing(f"X{uuid.uuid4().hex[:15].upper()}").status == MOVE_DESTINATION_UNKNOWN:
            text = f"{archive} knows {title}; a retrieve will show whether its address and port for {title} are right"
            return StepResult.OK, text, ""
        return (
            StepResult.UNCLEAR,
            f"unknown: {archive} answers {answer_text(response)} for a non-existent study, whatever the destination",
            f"make sure that the archive's configuration has: {self._own or f'{title} with its address and port'}",
        )

    def _ask_for_nothing(self, destination: str) -> MoveResponse:
        context = self._context(MODELS[self._config.request.model][1])
        assert context is not None  # needed by this step
        silence = self._silence("the answer to C-MOVE")
        scu = MoveSCU(self._exchange, context, destination)
        scu.request(request_for_nothing(self._config).encode(context.transfer_syntax), silence)
        try:
            *_, response = scu.responses(silence)
        except PeerError:
            self._connection = None  # it has ended, or is out of step: nothing is left to release
            raise
        return response

    # -- the trial -----------------------------------------------------------------------------------------------------

    def choose(self) -> _Found:
        """Find an object to retrieve. The association is released before: some archives accept one at a time."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(MovescuError):  # the retrieve has associations of its own
                connection.release(Deadline(self._config.timeouts.acse or _PATIENCE, "releasing the association"))
        assert self._client is not None  # needed by this step
        assert self._identifier is not None  # else there is no trial
        self._trial = Trial(self._client, self._identifier, self._own)
        return StepResult.OK, self._trial.choose(), ""

    def call_back(self) -> _Found:
        assert self._trial is not None  # needed by this step
        text = self._trial.call_back()
        return StepResult.SKIPPED if self._trial.gets else StepResult.OK, text, ""

    def receive(self) -> _Found:
        assert self._trial is not None  # needed by this step
        return StepResult.OK, self._trial.receive(), ""

    def end(self) -> _Found:
        assert self._trial is not None  # needed by this step
        return StepResult.OK, self._trial.end(), ""

    def get(self) -> _Found:
        """Request a non-existent study by C-GET."""
        by = self._config.retrieve_by
        try:
            response = get_nothing(self._config)
        except PeerError as error:
            if by is RetrieveBy.GET or (by is RetrieveBy.AUTO and not self._moves):
                raise
            return StepResult.SKIPPED, f"{error}; C-MOVE does not need it", ""
        advice = (
            ""
            if by is not RetrieveBy.MOVE
            else "--retrieve get needs no port, and no address in the archive's configuration"
        )
        return StepResult.OK, f"{self._config.archive.title} answers C-GET with {answer_text(response)}", advice

    # -- common to several steps ---------------------------------------------------------------------------------------

    @property
    def _exchange(self) -> Exchange:
        assert self._connection is not None  # needed by the steps that use it
        return Exchange(self._connection)

    def _context(self, abstract_syntax: str) -> Context | None:
        assert self._connection is not None  # needed by the steps that use it
        contexts = self._connection.contexts.values()
        return next((context for context in contexts if context.abstract_syntax == abstract_syntax), None)

    def _silence(self, what: str) -> Silence:
        return Silence(self._config.timeouts.dimse or _PATIENCE, f"waiting for {what}")


_Found = tuple[StepResult, str, str]
"""Result, text and advice of a step."""

_STEPS: Final[tuple[tuple[str, Callable[[_Way], _Found], tuple[str, ...]], ...]] = (
    ("TLS setup", _Way.set_up_tls, ()),
    ("name lookup", _Way.look_up, ()),
    ("connection", _Way.connect, ("name lookup",)),
    ("TLS", _Way.secure, ("TLS setup", "connection")),
    ("association", _Way.associate, ("connection", "TLS")),
    ("C-ECHO", _Way.echo, ("association",)),
    ("C-MOVE context", _Way.find_move_context, ("association",)),
    ("own port", _Way.listen, ("TLS setup",)),
    ("output directory", _Way.write, ()),
    ("move destination", _Way.ask, ("C-MOVE context",)),
    ("C-GET", _Way.get, ("association",)),
)
"""The steps in order: name, method, and the steps that it needs. The first is left out without TLS."""

_TRIAL: Final[tuple[tuple[str, Callable[[_Way], _Found], tuple[str, ...]], ...]] = (
    ("query", _Way.choose, ("C-MOVE context", "own port", "C-GET")),
    ("callback", _Way.call_back, ("query",)),
    ("object", _Way.receive, ("callback",)),
    ("final response", _Way.end, ("object",)),
)
"""The steps of a trial retrieve, as above."""
