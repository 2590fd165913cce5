"""What to retrieve, from whom, and what becomes of it: the library's terms for what the command line says in its own.

``RetrieveOptions`` is one association for C-MOVE; the storage SCP beside it, and what files look like, is for
``storage.options``.
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from movescu.dictionary.uids import TransferSyntax
    from movescu.storage.options import ListenOptions
    from movescu.transport.tls import TLSOptions
    from movescu.ul.user_information import UserIdentity

MODELS: Final = {
    "PATIENT": (PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE),
    "STUDY": (STUDY_ROOT_FIND, STUDY_ROOT_MOVE),
    "PSONLY": (PATIENT_STUDY_ONLY_FIND, PATIENT_STUDY_ONLY_MOVE),
}
"""FIND and MOVE SOP class of each information model (PS3.4 C.6)."""


class RetrieveOptions(Record):
    """What to ask, whom, and how long to wait. Times are in seconds, None means no limit.

    ``move_destination``: AE title that the archive is to send to, None for our own. ``maximum_length``: the longest
    P-DATA-TF taken, in bytes. ``dimse_timeout``: how long the archive may be silent, on its storage associations too,
    where a response is due, and a storage association in the middle of a message. ``linger``: how long, after the
    final response, objects that it counted are waited for in silence. ``store_timeout``: how long a storage
    association may be silent in the middle of a message, or after the final response. ``stall_timeout``: how long
    neither an object may come nor a count of the archive's change. ``ip``: "4", "6" or "auto".
    """

    host: str
    port: int
    calling_ae_title: str = "MOVESCU"
    called_ae_title: str = "ANY-SCP"
    move_destination: str | None = None
    model: str = "PATIENT"
    transfer_syntaxes: tuple[TransferSyntax, ...] = UNCOMPRESSED
    maximum_length: int = 16384
    priority: int = PRIORITY_MEDIUM
    relational: bool = False
    enhanced_conversion: bool = False
    user_identity: UserIdentity | None = None
    connect_timeout: float | None = 30.0
    acse_timeout: float | None = 30.0
    dimse_timeout: float | None = None
    linger: float = 10.0
    store_timeout: float = 60.0
    stall_timeout: float | None = 3600.0
    total_timeout: float | None = None
    cancel_after: int = 0
    read_pending: bool = False
    ip: str = "auto"
    tls: TLSOptions | None = None
    listen: ListenOptions | None = None

    @property
    def destination(self) -> str:
        """The AE title that the archive is to send to."""
        return self.calling_ae_title if self.move_destination is None else self.move_destination


class Persistence(Record):
    """How far to go for completeness.

    ``verify``: compare what came with what the archive lists. ``resume``: do not ask for what is whole in the output
    directory already; it takes that list too. ``retries``: how often to ask again for what did not
    come, in vain. ``pause``: seconds before the first repetition; each pause is twice the one before it.
    """

    verify: bool = False
    retries: int = 0
    pause: float = 1.0
    resume: bool = False

    @property
    def lists(self) -> bool:
        """Whether C-FIND may be asked what the request matches."""
        return self.verify or self.resume or self.retries > 0
