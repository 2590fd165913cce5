"""Configuration of a retrieve: a few small values, checked when they are made, that command and library both fill.

``AE`` is the archive, ``Timeouts`` how long to wait, ``Retry`` how far to go for completeness, ``Receive`` our own
storage SCP, ``Request`` what is negotiated and sent. ``Config`` holds them together. What the files look like is for
``storage.options``. AE titles are checked by PS3.5 6.2 (VR AE): 16 characters of the default repertoire at most, not
blank, without a backslash. The command cuts and passes titles on as DCMTK does, and makes its values unchecked.
"""

from __future__ import annotations

from movescu._runtime.record import Record
from movescu.dictionary.uids import (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_FIND,
    PATIENT_STUDY_ONLY_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_MOVE,
    UNCOMPRESSED,
)
from movescu.dimse import PRIORITY_MEDIUM
from movescu.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Final, Self

    from movescu.dictionary.uids import TransferSyntax
    from movescu.transport.tls import TLSOptions
    from movescu.ul.user_information import UserIdentity

MODELS: Final = {
    "PATIENT": (PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE),
    "STUDY": (STUDY_ROOT_FIND, STUDY_ROOT_MOVE),
    "PSONLY": (PATIENT_STUDY_ONLY_FIND, PATIENT_STUDY_ONLY_MOVE),
}
"""FIND and MOVE SOP class of each information model (PS3.4 C.6)."""

LONGEST_PDU: Final = 131072
"""Bytes of a P-DATA-TF that are taken: the fastest, and each archive sends what it likes below."""


BATCH: Final = 100
"""UIDs of one request at most: 6.5 KB, which archives take that have little room for a list."""


class AE(Record):
    """An application entity and its address: ``AE("pacs.example.org", 104, title="ARCHIVE")``.

    Raises ``UsageError`` for a host, port or title that cannot be one.
    """

    host: str
    port: int
    title: str = "ANY-SCP"

    def check(self) -> None:
        """Raise ``UsageError`` for a value that cannot be used."""
        if not isinstance(self.host, str) or not self.host:
            raise UsageError(f"host {self.host!r} is no host name or address")
        check_port("port", self.port, lowest=1)
        check_title("title", self.title)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the AE of a text: ``TITLE@host:port`` or ``host:port``, an IPv6 address in brackets.

        Raises ``UsageError``.
        """
        title, at, address = text.rpartition("@")
        host, colon, port = address.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or (":" in host and not _in_brackets(host)):
            raise UsageError(f"{text!r} is no address of an AE", hint="give it as TITLE@host:port")
        return cls(host.strip("[]"), int(port), *((title,) if at else ()))

    @classmethod
    def unchecked(cls, host: str, port: int, title: str) -> Self:
        """Return an AE with the title as it is, even blank: the command sends what it was given, as DCMTK does."""
        made = cls(host, port)
        made.__dict__["title"] = title
        return made

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.title}@{host}:{self.port}"


class Timeouts(Record):
    """How long to wait, in seconds; None means without limit.

    ``connect``: for a connection to the archive. Default: 30. ``acse``: for the answer to an association request, and
    to a release request. Default: 30. ``dimse``: silence of the archive, on its storage associations too, where a
    response is due; and of a sender in the middle of a message. Default: None. ``linger``: silence after the final
    response while objects that it counted are missing. Default: 10. ``store``: silence of a sender in the middle of a
    message, or after the final response. Default: 60. ``stall``: time in which neither an object arrives nor a count
    of the archive changes. Default: 3600. ``total``: for a whole retrieve. Default: None.
    """

    connect: float | None = 30.0
    acse: float | None = 30.0
    dimse: float | None = None
    linger: float = 10.0
    store: float = 60.0
    stall: float | None = 3600.0
    total: float | None = None

    def check(self) -> None:
        """Raise ``UsageError`` for a value that is no time."""
        for name in self._names:
            value = getattr(self, name)
            needed = name in ("linger", "store")
            if value is None and not needed:
                continue
            if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
                raise UsageError(f"timeout {name} {value!r} is no number of seconds")


class Retry(Record):
    """How far to go for completeness.

    ``verify``: query the archive (C-FIND) and compare with what was received. Default: False. ``resume``: do not
    request what is whole in the output directory. Default: False. ``retries``: re-request missing objects; give up
    after this many attempts without progress. Default: 0. ``pause``: seconds before the first repetition, doubled
    while nothing arrives. Default: 1.
    """

    verify: bool = False
    retries: int = 0
    pause: float = 1.0
    resume: bool = False

    def check(self) -> None:
        """Raise ``UsageError`` for a value that cannot be used."""
        if not isinstance(self.retries, int) or self.retries < 0:
            raise UsageError(f"retries {self.retries!r} is no number of attempts")
        if not isinstance(self.pause, int | float) or not self.pause >= 0:
            raise UsageError(f"pause {self.pause!r} is no number of seconds")

    @property
    def lists(self) -> bool:
        """Whether C-FIND may be asked what the request matches."""
        return self.verify or self.resume or self.retries > 0


class Receive(Record):
    """Our own storage SCP.

    ``port``: 0 lets the system choose. ``address``: that is listened on. Default: all. ``transfer_syntaxes``: accepted
    ones, the best first. Default: the uncompressed ones. ``accept_unknown``: accept storage classes that no table has.
    ``calling_ae_titles``: senders that may store. Default: any. ``require_called_ae_title``: the sender has to call the
    AE title that is the move destination. ``access_rules``: heed hosts.allow and hosts.deny; ``host_lookup``: look up
    host names for them. ``maximum_associations``: at once. Default: 64.
    """

    port: int
    address: str = ""
    transfer_syntaxes: tuple[TransferSyntax, ...] = UNCOMPRESSED
    accept_unknown: bool = False
    calling_ae_titles: tuple[str, ...] = ()
    require_called_ae_title: bool = False
    access_rules: bool = False
    host_lookup: bool = True
    maximum_associations: int = 64

    def check(self) -> None:
        """Raise ``UsageError`` for a value that cannot be used."""
        check_port("listen", self.port, lowest=0)
        if not isinstance(self.maximum_associations, int) or self.maximum_associations < 1:
            raise UsageError(f"maximum_associations {self.maximum_associations!r} is no number of associations")


class Request(Record):
    """What is negotiated with the archive, and how it is asked.

    ``model``: PATIENT, STUDY or PSONLY. ``transfer_syntaxes``: proposed for queries and requests. ``maximum_length``:
    bytes of a P-DATA-TF that are taken. ``cancel_after``: pending responses after which C-CANCEL is sent; 0 for never.
    ``read_pending``: wait for data sets that pending responses announce. ``ip``: 4, 6 or auto.
    """

    model: str = "PATIENT"
    transfer_syntaxes: tuple[TransferSyntax, ...] = UNCOMPRESSED
    maximum_length: int = 16384
    priority: int = PRIORITY_MEDIUM
    relational: bool = False
    enhanced_conversion: bool = False
    user_identity: UserIdentity | None = None
    cancel_after: int = 0
    read_pending: bool = False
    ip: str = "auto"

    def check(self) -> None:
        """Raise ``UsageError`` for a value that cannot be used."""
        if self.model not in MODELS:
            raise UsageError(f"model {self.model!r} is none of {', '.join(MODELS)}")
        if self.ip not in ("4", "6", "auto"):
            raise UsageError(f"ip {self.ip!r} is none of 4, 6, auto")


class Config(Record):
    """Everything that a retrieve is told. ``destination``: AE title to send to; None for our own."""

    archive: AE
    ae_title: str = "MOVESCU"
    destination: str | None = None
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    receive: Receive | None = None
    request: Request = Request()
    tls: TLSOptions | SSLContext | tuple[SSLContext, SSLContext] | None = None

    @property
    def move_destination(self) -> str:
        """The AE title that the archive is to send to."""
        return self.ae_title if self.destination is None else self.destination


def check_title(name: str, title: object) -> None:
    """Raise ``UsageError`` unless a value is an AE title (PS3.5 6.2)."""
    if not isinstance(title, str):
        raise UsageError(f"{name} {title!r} is no AE title")
    if not title.strip(" "):
        raise UsageError(f"{name} {title!r} is blank")
    if len(title) > 16:
        raise UsageError(f"{name} {title!r} has {len(title)} characters; an AE title has 16 at most")
    if not title.isascii() or not title.isprintable() or "\\" in title:
        raise UsageError(f"{name} {title!r} has characters that an AE title cannot have")


def check_port(name: str, port: object, *, lowest: int) -> None:
    """Raise ``UsageError`` unless a value is a port number."""
    if not isinstance(port, int) or isinstance(port, bool) or not lowest <= port <= 65535:
        raise UsageError(f"{name} {port!r} is no port number from {lowest} to 65535")


def _in_brackets(host: str) -> bool:
    return host.startswith("[") and host.endswith("]")
