"""The receivers of objects: write the data set of a C-STORE request (PS3.4 annex B) to a PS3.10 file, in three modes.

- Normal. The data set is parsed, re-encoded if the output options or its own encoding require it, and checked against
  its request. If nothing has to change, the received bytes themselves are written. A small object is parsed when it is
  whole; a large one is written while it arrives.
- Bit preserving (``+B``). The received bytes are written unparsed, after a file meta made from the request. They are
  inspected afterwards, for a warning alone.
- Ignoring (``--ignore``). The object is neither parsed nor stored.
"""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import WARNING, logger_of
from movescu._runtime.record import Record
from movescu.dataset.encoder import BLANK_UID
from movescu.dataset.encoding import META_GROUPS, NO_PIXELS
from movescu.dataset.fast_path.scanner import Scanner, scanner
from movescu.dataset.file_meta import encode_file_meta
from movescu.dataset.identity import IDENTITY, PLACE, SERIES, STUDY
from movescu.dataset.parser import NO_DELIMITER
from movescu.dataset.transcoder import Encoding, Identity, Recoder
from movescu.dictionary.vr import PIXEL_DATA, SEQUENCE_END, tag_text, uid_text
from movescu.errors import DataSetError, DataSetMismatchError
from movescu.storage.file_names import file_name
from movescu.storage.naming import Naming

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from movescu.dataset.fast_path.scan import Found
    from movescu.dictionary.uids import TransferSyntax
    from movescu.dimse.messages import CStoreRQ
    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.ledger import Ledger
    from movescu.storage.options import StorageOptions
    from movescu.storage.writer import ObjectFile, OutputDirectory

    _Commit = Callable[[ObjectFile, CStoreRQ, TransferSyntax, Found | None], tuple[Naming, str]]

_log: Final = logger_of("movescu.store")
_defects: Final = logger_of("movescu.dataset")

_LOOK: Final = 1 << 16
"""Classify a data set once this many bytes have arrived, and again each time the size doubles."""
_WAY_OUT: Final = "--bit-preserving (+B) stores it as received"
_WHOLE: Final = 1 << 20
"""Bytes of a data set that are held before it is re-encoded as a stream."""
_END: Final = pack("<HHI", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
"""The last delimiter of encapsulated pixel data, which is in little endian (PS3.5 A.4)."""
_COMMAND_UID: Final = 0x00001000  # Affected SOP Instance UID of the C-STORE request


class IgnoringReceiver:
    """Receiver that stores nothing (``--ignore``)."""

    def write(self, *fragments: memoryview) -> None:
        """Drop the bytes."""

    def finish(self) -> None:
        """Do nothing."""

    def discard(self) -> None:
        """Do nothing."""


class _Storage(Record):
    """The common part of the receivers of all objects.

    ``commit`` gives a file its name. ``noted``: the tags of the elements that it needs; if the object was parsed, it
    is called with those found. ``on_kept``: called with SOP instance UID and path of each stored object. ``ledger``:
    proves them. Default: None, they are not proved.
    ``forgive_blank_uids``: do not warn of blanks in UIDs.
    """

    directory: OutputDirectory
    commit: _Commit
    noted: frozenset[int]
    on_kept: Callable[[str, str], None]
    ledger: Ledger | None = None
    forgive_blank_uids: bool = False


class _FileReceiver:
    """The common part of the two receivers that write files."""

    def __init__(self, storage: _Storage, incoming: Incoming, meta: bytes) -> None:
        self._storage = storage
        self._directory = storage.directory
        self._incoming = incoming
        self._meta = meta
        self._file: ObjectFile | None = None
        self._found: Found | None = None

    def _commit(self, file: ObjectFile, syntax: TransferSyntax, defect: str = "") -> None:
        request, ledger = self._incoming.request, self._storage.ledger
        place = ("", "") if ledger is None else _place(self._found, file)
        outcome, path = self._storage.commit(file, request, syntax, self._found)
        if outcome is Naming.SAME:
            _log.info("already stored, with the same content: %s", self._directory.full_name(path))
        elif outcome is Naming.REPLACED:
            _log.warning("DICOM file already exists, overwriting: %s", self._directory.full_name(path))
        self._storage.on_kept(request.affected_sop_instance_uid, path)
        if ledger is not None:
            ledger.kept(request.affected_sop_instance_uid, path, place, defect)

    def _prove(self, file: ObjectFile, syntax: TransferSyntax, *, parsed: bool, oddities: Container[str] = ()) -> str:
        """Have the ledger examine a file before it gets its name, and return why it is not whole.

        ``oddities``: of the data set, as far as they are known. Raise ``DataSetMismatchError``.
        """
        if self._storage.ledger is None:
            return ""
        uid, undelimited = self._incoming.request.affected_sop_instance_uid, NO_DELIMITER in oddities
        examine = self._storage.ledger.examine
        return examine(file, uid, syntax, parsed=parsed, undelimited=undelimited, meta=self._meta)

    def _warn_of(self, oddities: dict[str, int], *, kept: str = "") -> None:
        """Log what is wrong with an object that is stored, in one warning."""
        if self._incoming.uid_has_blanks:
            oddities = {BLANK_UID: _COMMAND_UID} | oddities
        if self._storage.forgive_blank_uids and BLANK_UID in oddities:
            oddities = {what: tag for what, tag in oddities.items() if what != BLANK_UID}
        if oddities:
            uid = self._incoming.request.affected_sop_instance_uid
            found = ", ".join(f"{what} at {tag_text(tag)}" for what, tag in oddities.items())
            _defects.warning("object %s is stored%s, but has defects: %s", uid, kept, found)

    def discard(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.discard()


class BitPreservingReceiver(_FileReceiver):
    """Receiver that writes an object as received (``+B``)."""

    def write(self, *fragments: memoryview) -> None:
        """Append the bytes, the first after the file meta. Raise ``StoreError`` if they cannot be written."""
        if self._file is None:
            self._file = self._directory.create()
            self._file.begin(self._meta, *fragments)
        else:
            self._file.write_all(fragments)

    def finish(self) -> None:
        """Give the file its name. Raise ``StoreError`` if that fails."""
        if self._file is None:
            self.write()
        assert self._file is not None  # made by write()
        defect = self._prove(self._file, self._incoming.context.transfer_syntax, parsed=False)
        oddities, unreadable = self._inspect(self._file)
        self._commit(self._file, self._incoming.context.transfer_syntax, defect)
        if unreadable:
            uid = self._incoming.request.affected_sop_instance_uid
            _defects.warning("object %s is stored as received, but is not a valid data set: %s", uid, unreadable)
        self._warn_of(oddities, kept=" as received")

    def _inspect(self, file: ObjectFile) -> tuple[dict[str, int], str]:
        """Return the violations of PS3.5 in the object, and why it cannot be parsed if it cannot."""
        if not _defects.isEnabledFor(WARNING):
            return {}, ""
        from movescu.dataset.inspection import oddities_of  # late: needed for this mode alone

        try:
            syntax = self._incoming.context.transfer_syntax
            return oddities_of(file.read, file.size - len(self._meta), syntax), ""
        except DataSetError as error:
            return {}, str(error)


class NormalReceiver(_FileReceiver):
    """Receiver that writes an object as the output options require, after checking it against its request.

    At first the bytes are held. Once they reach into native pixel data, and nothing before that has to change, they are
    written, and the rest of the pixel data (``_remaining`` bytes, else -1) is written as it arrives. If a MiB does not
    reach that far, a ``Recoder`` takes over; a smaller data set is parsed when it is whole.
    """

    def __init__(
        self,
        storage: _Storage,
        incoming: Incoming,
        meta: bytes,
        encoding: Encoding,
        maximum_inflated: int,
        scanning: Scanner,
    ) -> None:
        super().__init__(storage, incoming, meta)
        self._encoding = encoding
        self._maximum_inflated = maximum_inflated
        self._syntax = incoming.context.transfer_syntax
        self._scanner = scanning
        self._data = bytearray()
        self._look_at = _LOOK
        self._remaining = -1
        self._recoder: Recoder | None = None
        self._others: list[ObjectFile] = []  # spools, and a file that had to be started again

    def write(self, *fragments: memoryview) -> None:
        """Hold, write or re-encode the bytes. Raise ``StoreError`` or ``DataSetError``."""
        try:
            for number, fragment in enumerate(fragments):
                if self._remaining >= 0:
                    self._pass(fragments[number:])
                    return
                self._take(fragment)
        except DataSetError as error:
            error.hint = error.hint or _WAY_OUT
            raise

    def _take(self, fragment: memoryview) -> None:
        if self._recoder is not None:
            self._recoder.feed(fragment)
        elif self._data or len(fragment) < self._look_at:
            self._data += fragment
            if len(self._data) >= self._look_at:
                self._look(self._data)
        elif not self._look(fragment):  # large enough to be classified without a copy
            self._data += fragment

    def _look(self, data: bytearray | memoryview) -> bool:
        """Start the file if the bytes so far show how it has to be written; False if they have to be held."""
        head = self._scanner.adapted_head(data)
        if head is not None:
            identity, result, self._found, self._remaining = head
            check_identity(identity, self._incoming.request)
            self._file = self._directory.create()
            self._file.begin(self._meta, result)
            self._data = bytearray()
            return True
        self._look_at = 2 * len(data)
        if len(data) > _WHOLE:
            self._stream().feed(memoryview(data))
            self._data = bytearray()
            return True
        return False

    def _pass(self, fragments: tuple[memoryview, ...]) -> None:
        assert self._file is not None  # begun by _look()
        rest = sum(map(len, fragments)) - self._remaining
        if rest <= 0:
            self._file.write_all(fragments)
            self._remaining = -rest
        else:
            self._begin_again(fragments)

    def _begin_again(self, fragments: tuple[memoryview, ...]) -> None:
        """Re-encode the bytes written and those that follow: more elements follow the pixel data, mostly padding."""
        assert self._file is not None  # begun by _look()
        written, self._file, self._found = self._file, None, None
        self._others.append(written)
        self._remaining = -1
        recoder = self._stream()
        position = 0
        while block := written.read(position, _WHOLE):
            recoder.feed(memoryview(block))
            position += len(block)
        for fragment in fragments:
            recoder.feed(fragment)

    def _stream(self) -> Recoder:
        self._file = self._directory.create()
        self._file.begin(self._meta)
        self._recoder = Recoder(
            self._syntax,
            self._encoding,
            self._file,
            file_offset=len(self._meta),
            maximum_inflated=self._maximum_inflated,
            left_out=META_GROUPS,
            spool=self._spool,
        )
        return self._recoder

    def _spool(self) -> ObjectFile:
        self._others.append(self._directory.spool())
        return self._others[-1]

    def finish(self) -> None:
        """Complete and check the data set, and give the file its name. Raise ``StoreError`` or ``DataSetError``."""
        try:
            self._finish()
        except DataSetError as error:
            error.hint = error.hint or _WAY_OUT
            raise

    def _finish(self) -> None:
        if self._remaining > 0:
            raise DataSetError(f"the data set ends {self._remaining} bytes before its pixel data")
        if self._file is None:
            self._take_whole()
        oddities = {"no pixels": PIXEL_DATA} if self._data.endswith(NO_PIXELS) else {}
        if self._recoder is not None:
            check_identity(self._recoder.finish(), self._incoming.request)
            oddities = self._recoder.oddities
            self._recoder = None  # it refers back: the cycle would hold the object until a garbage collection
        assert self._file is not None  # made on every path
        syntax, defect = self._encoding.transfer_syntax or self._syntax, ""
        if self._remaining:  # else all of its native pixel data was passed
            if NO_DELIMITER in oddities and self._storage.ledger is not None:
                self._undelimit(self._file)
            defect = self._prove(self._file, syntax, parsed=True, oddities=oddities)
        self._commit(self._file, syntax, defect)
        self._discard_others()
        if oddities or self._incoming.uid_has_blanks:
            self._warn_of(oddities)

    def _undelimit(self, file: ObjectFile) -> None:
        """Remove a delimiter that was not received: with it, a later run would take the file for a whole object."""
        end = file.size - len(self._meta) - len(_END)
        if file.read(end, len(_END)) == _END:
            file.truncate(end)

    def _take_whole(self) -> None:
        whole = self._scanner.adapted(self._data)
        if whole is None:
            self._stream().feed(memoryview(self._data))
            return
        identity, result, self._found, _ = whole
        check_identity(identity, self._incoming.request)
        self._file = self._directory.create()
        self._file.begin(self._meta, result)

    def discard(self) -> None:
        """Remove all files of the object."""
        super().discard()
        self._recoder = None
        self._discard_others()

    def _discard_others(self) -> None:
        for file in self._others:
            file.discard()


def check_identity(identity: Identity, request: CStoreRQ) -> None:
    """Compare the identity of a data set with its request (PS3.4 B.2.3).

    Raise ``DataSetError`` if it has none (status C000), ``DataSetMismatchError`` if they differ (A900).
    """
    if not identity.sop_class_uid or not identity.sop_instance_uid:
        raise DataSetError("data set without SOP Class UID or SOP Instance UID")
    for what, own, announced in (
        ("SOP class", identity.sop_class_uid, request.affected_sop_class_uid),
        ("SOP instance", identity.sop_instance_uid, request.affected_sop_instance_uid),
    ):
        if own != announced:
            raise DataSetMismatchError(f"{what} {own} differs from the request's")


def receiver_factory(
    options: StorageOptions,
    directory: OutputDirectory | None,
    on_kept: Callable[[str, str], None] = lambda _uid, _path: None,
    ledger: Ledger | None = None,
) -> Callable[[Incoming], ObjectReceiver]:
    """Return the function that opens the receiver of each object; without directory and sink, objects are ignored.

    ``on_kept``: called with the SOP instance UID of each object that has a file, and its path below the directory.
    ``ledger``: proves each object. Default: None.
    """
    if options.sink is not None and not options.ignore:
        return options.sink
    if directory is None:
        return lambda _: IgnoringReceiver()
    forgive = options.forgive_blank_uids
    proved = frozenset[int]() if ledger is None else PLACE
    storage = _Storage(directory, _commit_flat, IDENTITY | proved, on_kept, ledger, forgive)
    if options.layout is not None:
        from movescu.storage.layout.placement import Placing  # late: needed for folders alone

        placing = Placing(options.layout)
        storage = _Storage(directory, placing.commit, placing.noted | proved, on_kept, ledger, forgive)

    scanners: dict[str, Scanner] = {}

    def open_receiver(incoming: Incoming) -> ObjectReceiver:
        meta = _meta(incoming, options)
        if options.bit_preserving:
            return BitPreservingReceiver(storage, incoming, meta)
        syntax = incoming.context.transfer_syntax
        scanning = scanners.get(syntax.uid)
        if scanning is None:
            scanning = scanners[syntax.uid] = scanner(syntax, options.encoding, storage.noted)
        return NormalReceiver(storage, incoming, meta, options.encoding, options.maximum_inflated, scanning)

    return open_receiver


def _place(found: Found | None, file: ObjectFile) -> tuple[str, str]:
    """Return the study and series instance UIDs of an object, from the elements noted, else from its file."""
    if found is None:
        from movescu.storage.index.examination import place_in  # late: needed to prove alone

        return place_in(file.fd)
    study, series = (uid_text(found[tag][1]) if tag in found else "" for tag in (STUDY, SERIES))
    return study, series


def _commit_flat(
    file: ObjectFile, request: CStoreRQ, _syntax: TransferSyntax, _found: Found | None
) -> tuple[Naming, str]:
    return file.commit(file_name(request.affected_sop_class_uid, request.affected_sop_instance_uid))


def _meta(incoming: Incoming, options: StorageOptions) -> bytes:
    """Encode preamble and file meta, with the elements that DCMTK's movescu writes in each mode."""
    if not options.file_format:
        return b""
    request = incoming.request
    class_uid, instance_uid = request.affected_sop_class_uid, request.affected_sop_instance_uid
    if options.bit_preserving:
        syntax = incoming.context.transfer_syntax
        return encode_file_meta(class_uid, instance_uid, syntax.uid, incoming.calling_ae_title)
    syntax = options.encoding.transfer_syntax or incoming.context.transfer_syntax
    return encode_file_meta(class_uid, instance_uid, syntax.uid)
