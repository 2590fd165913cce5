"""Configuration of a retrieve: small immutable values, checked on construction, shared by command and library.

``AE`` is the archive; ``Timeouts`` and ``Retry`` set limits and attempts; ``Receive`` is our Storage SCP, ``Request``
the negotiation and the C-MOVE requests. ``Config`` combines them. The format of files is in ``storage.options``. AE
titles are checked as VR AE (PS3.5 6.2): at most 16 characters of the default repertoire, not blank, no backslash. The
command truncates titles and passes them on as DCMTK does, with unchecked values.
"""

from __future__ import annotations

from enum import StrEnum

from movescu._runtime.record import Record
from movescu.dictionary.uids import (
    ALL_TRANSFER_SYNTAXES,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_FIND,
    PATIENT_STUDY_ONLY_GET,
    PATIENT_STUDY_ONLY_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    UNCOMPRESSED,
    TransferSyntax,
)
from movescu.dimse import PRIORITY_MEDIUM
from movescu.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from ssl import SSLContext
    from typing import Final, Self

    from movescu.query.scope import Scope
    from movescu.query.selection import Selection
    from movescu.transport.tls import TLS, TLSOptions
    from movescu.ul.user_information import UserIdentity

MODELS: Final = {
    "PATIENT": (PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE),
    "STUDY": (STUDY_ROOT_FIND, STUDY_ROOT_MOVE),
    "PSONLY": (PATIENT_STUDY_ONLY_FIND, PATIENT_STUDY_ONLY_MOVE),
}
"""FIND and MOVE SOP class of each information model (PS3.4 C.6)."""

GET_CLASSES: Final = {"PATIENT": PATIENT_ROOT_GET, "STUDY": STUDY_ROOT_GET, "PSONLY": PATIENT_STUDY_ONLY_GET}
"""GET SOP class of each information model."""


def _checked_syntaxes(given: str | Iterable[str | TransferSyntax]) -> tuple[TransferSyntax, ...]:
    """Return the transfer syntaxes that were given. Raise ``UsageError`` for an unknown one."""
    if given == "all":
        return ALL_TRANSFER_SYNTAXES
    try:
        each = (given,) if isinstance(given, str) else tuple(given)
    except TypeError:
        raise UsageError(f"transfer_syntaxes {given!r} is neither UIDs nor all") from None
    if not each:
        raise UsageError("transfer_syntaxes is empty")
    return tuple(one if isinstance(one, TransferSyntax) else TransferSyntax.of(one) for one in each)


class RetrieveBy(StrEnum):
    """The service that retrieves."""

    MOVE = "move"
    """C-MOVE: the archive connects to a port."""
    GET = "get"
    """C-GET: the objects arrive over the association of the request."""
    AUTO = "auto"
    """C-GET where the archive accepts it, else C-MOVE."""


LONGEST_PDU: Final = 131072
"""Bytes. Maximum Length we negotiate (PS3.8 D.1): the fastest; archives may send shorter PDUs."""

BATCH: Final = 100
"""Highest number of UIDs in one request: 6.5 KB, accepted by archives with little room for a list."""


class AE(Record):
    """An application entity and its address: ``AE("pacs.example.org", 104, title="ARCHIVE")``.

    Raise ``UsageError`` for an invalid host, port or title.
    """

    host: str
    port: int
    title: str = "ANY-SCP"

    def check(self) -> None:
        """Raise ``UsageError`` for an invalid value."""
        if not isinstance(self.host, str) or not self.host:
            raise UsageError(f"host {self.host!r} is not a host name or address")
        check_port("port", self.port, lowest=1)
        check_title("title", self.title)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``TITLE@host:port`` or ``host:port``, an IPv6 address in brackets.

        Raise ``UsageError`` for any other text.
        """
        title, at, address = text.rpartition("@")
        host, colon, port = address.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or (":" in host and not _in_brackets(host)):
            raise UsageError(f"{text!r} is not the address of an AE", hint="write it as TITLE@host:port")
        return cls(host.strip("[]"), int(port), *((title,) if at else ()))

    @classmethod
    def unchecked(cls, host: str, port: int, title: str) -> Self:
        """Return an AE with an unchecked title, even blank: the command sends it unchanged, as DCMTK does."""
        made = cls(host, port)
        made.__dict__["title"] = title
        return made

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.title}@{host}:{self.port}"


class Timeouts(Record):
    """Timeouts in seconds; None means no limit.

    ``connect``: for the connection to the archive. Default: 30. ``acse``: for the answer to an association or release
    request. Default: 30. ``dimse``: for silence of the archive while a response is due, storage associations included,
    and of a sender within a message. Default: None. ``linger``: for silence after the final response while objects that
    the archive counted are missing. Default: 10. ``unannounced``: for the same after a success that counted no object,
    if none arrived. Default: 2. ``store``: for silence of a sender within a message or after the final response.
    Default: 60. ``stall``: without an object arriving or a count of the archive changing. Default: 3600. ``total``: for
    the whole retrieve. Default: None.
    """

    connect: float | None = 30.0
    acse: float | None = 30.0
    dimse: float | None = None
    linger: float = 10.0
    unannounced: float = 2.0
    store: float = 60.0
    stall: float | None = 3600.0
    total: float | None = None

    def check(self) -> None:
        """Raise ``UsageError`` for an invalid value."""
        for name in self._names:
            value = getattr(self, name)
            needed = name in ("linger", "unannounced", "store")
            if value is None and not needed:
                continue
            if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
                raise UsageError(f"timeout {name} {value!r} is not a number of seconds")


class Retry(Record):
    """Verification and further attempts.

    ``verify``: query the archive (C-FIND) and compare with the objects received. Default: False. ``resume``: do not
    request objects that are whole in the output directory. Default: False. ``retries``: re-request missing objects;
    give up after this many attempts without progress. Default: 0. ``pause``: seconds before the second attempt, doubled
    while no object arrives. Default: 1.
    """

    verify: bool = False
    retries: int = 0
    pause: float = 1.0
    resume: bool = False

    def check(self) -> None:
        """Raise ``UsageError`` for an invalid value."""
        if not isinstance(self.retries, int) or self.retries < 0:
            raise UsageError(f"retries {self.retries!r} is not a number of attempts")
        if not isinstance(self.pause, int | float) or not self.pause >= 0:
            raise UsageError(f"pause {self.pause!r} is not a number of seconds")

    @property
    def lists(self) -> bool:
        """Whether the archive may be queried (C-FIND) for the objects of a request."""
        return self.verify or self.resume or self.retries > 0


class Receive(Record):
    """Our own Storage SCP (PS3.4 annex B).

    ``port``: 0 lets the system choose; None opens none, for C-GET. ``address``: to listen on. Default: all.
    ``transfer_syntaxes``: to accept, the preferred one first, by UID (``pydicom.uid`` has names for them), or ``all``.
    Default: the uncompressed ones. ``accept_unknown``: accept storage classes missing from our table. Default: False.
    ``calling_ae_titles``: of senders that may store. Default: any. ``require_called_ae_title``: reject senders that do
    not call the move destination's AE title. Default: False. ``access_rules``: apply hosts.allow and hosts.deny.
    Default: False. ``host_lookup``: look up host names for them. Default: True. ``accept_from``: hosts and networks
    that may connect, as names, addresses or ``192.168.1.0/24``. Default: any. ``only_requested``: refuse objects that
    no running request named. Default: False. ``maximum_associations``: at the same time. Default: 64.
    """

    port: int | None
    address: str = ""
    transfer_syntaxes: str | Iterable[str | TransferSyntax] = UNCOMPRESSED
    accept_unknown: bool = False
    calling_ae_titles: tuple[str, ...] = ()
    require_called_ae_title: bool = False
    access_rules: bool = False
    host_lookup: bool = True
    accept_from: tuple[str, ...] = ()
    only_requested: bool = False
    maximum_associations: int = 64

    def check(self) -> None:
        """Raise ``UsageError`` for an invalid value."""
        if self.port is not None:
            check_port("listen", self.port, lowest=0)
        if not isinstance(self.maximum_associations, int) or self.maximum_associations < 1:
            raise UsageError(f"maximum_associations {self.maximum_associations!r} is not a number of associations")
        self.__dict__["transfer_syntaxes"] = _checked_syntaxes(self.transfer_syntaxes)

    @property
    def accepted(self) -> tuple[TransferSyntax, ...]:
        """The transfer syntaxes to accept, the preferred one first."""
        return self.transfer_syntaxes  # type: ignore[return-value] # since check()


class Request(Record):
    """Negotiation with the archive, and its C-FIND and C-MOVE requests.

    ``model``: PATIENT, STUDY or PSONLY. Default: empty, STUDY unless the keys of a request are those of a patient.
    ``transfer_syntaxes``: to propose, by UID. Default: the uncompressed ones. ``maximum_length``: bytes, to negotiate
    (PS3.8 D.1). Default: 131072. ``priority``: 0 medium, 1 high, 2 low. Default: 0. ``relational``: negotiate
    relational retrieval. Default: False. ``enhanced_conversion``: negotiate enhanced multi-frame image conversion.
    Default: False. ``user_identity``: to send. Default: None. ``cancel_after``: send C-CANCEL after this many pending
    responses. Default: 0, never. ``read_pending``: wait for data sets that pending responses announce. Default: False.
    ``ip``: 4, 6 or auto. Default: auto.
    """

    model: str = ""
    transfer_syntaxes: str | Iterable[str | TransferSyntax] = UNCOMPRESSED
    maximum_length: int = LONGEST_PDU
    priority: int = PRIORITY_MEDIUM
    relational: bool = False
    enhanced_conversion: bool = False
    user_identity: UserIdentity | None = None
    cancel_after: int = 0
    read_pending: bool = False
    ip: str = "auto"

    def check(self) -> None:
        """Raise ``UsageError`` for an invalid value."""
        if self.model and self.model not in MODELS:
            raise UsageError(f"model {self.model!r} is not one of {', '.join(MODELS)}")
        if self.ip not in ("4", "6", "auto"):
            raise UsageError(f"ip {self.ip!r} is not one of 4, 6, auto")
        self.__dict__["transfer_syntaxes"] = _checked_syntaxes(self.transfer_syntaxes)

    @property
    def proposed(self) -> tuple[TransferSyntax, ...]:
        """The transfer syntaxes to propose."""
        return self.transfer_syntaxes  # type: ignore[return-value] # since check()


class Config(Record):
    """The configuration of a retrieve.

    ``destination``: AE title that the archive sends to. Default: our own. ``selection``: what of the matches is
    retrieved. Default: None, all of them, with the limits of ``Selection``. ``retrieve_by``: the service that
    retrieves. Default: C-MOVE.
    """

    archive: AE
    ae_title: str = "MOVESCU"
    destination: str | None = None
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    receive: Receive | None = None
    request: Request = Request("PATIENT")
    tls: TLSOptions | SSLContext | tuple[SSLContext, SSLContext] | None = None
    selection: Selection | None = None
    retrieve_by: RetrieveBy = RetrieveBy.MOVE

    @property
    def listens(self) -> bool:
        """Whether objects are received on a port."""
        return self.receive is not None and self.receive.port is not None

    @property
    def queries(self) -> bool:
        """Whether the archive may be queried (C-FIND) before or between the C-MOVE requests."""
        return self.retry.lists or self.resolves

    def counts(self, scope: Scope) -> bool:
        """Return True if the studies of a request have to be counted first: the user limits them, and it names more."""
        most = None if self.selection is None else self.selection.max_studies
        return most is not None and most > 0 and scope.may_exceed(most)

    @property
    def resolves(self) -> bool:
        """Whether the keys of a request are matched by C-FIND before the first C-MOVE."""
        return self.selection is not None and self.selection.resolves

    @property
    def arrives_here(self) -> bool:
        """Whether the objects are to come to this program."""
        return self.receive is not None and self.is_own_destination

    @property
    def is_own_destination(self) -> bool:
        """Whether the Move Destination is our own title; blanks around a title are padding (PS3.5 6.2)."""
        return self.move_destination.strip() == self.ae_title.strip()

    @property
    def move_destination(self) -> str:
        """Move Destination of the C-MOVE requests (PS3.7 9.1.4.1)."""
        return self.ae_title if self.destination is None else self.destination


def make_tls(options: TLSOptions | SSLContext | tuple[SSLContext, SSLContext] | None, *, accepting: bool) -> TLS | None:
    """Return the TLS of our connections, None without. Raise ``TLSError`` or ``UsageError`` for unusable options."""
    if options is None:
        return None
    from movescu.transport.tls import make  # late: slow to load, and needed for TLS alone

    return make(options, accepting=accepting)


def check_title(name: str, title: object) -> None:
    """Raise ``UsageError`` unless ``title`` is an AE title (PS3.5 6.2)."""
    if not isinstance(title, str):
        raise UsageError(f"{name} {title!r} is not an AE title")
    if not title.strip(" "):
        raise UsageError(f"{name} {title!r} is blank")
    if len(title) > 16:
        raise UsageError(f"{name} {title!r} has {len(title)} characters; an AE title has at most 16")
    if not title.isascii() or not title.isprintable() or "\\" in title:
        raise UsageError(f"{name} {title!r} has characters that are not allowed in an AE title")


def check_port(name: str, port: object, *, lowest: int) -> None:
    """Raise ``UsageError`` unless ``port`` is a port number."""
    if not isinstance(port, int) or isinstance(port, bool) or not lowest <= port <= 65535:
        raise UsageError(f"{name} {port!r} is not a port number from {lowest} to 65535")


def _in_brackets(host: str) -> bool:
    return host.startswith("[") and host.endswith("]")
