"""The matrix of ``interop/test_matrix.py``: kinds of keys, modes and archives, and the rule for what a retrieve brings.

Every archive has the same 16 objects: two patients, two studies of each, two series of each study, two objects of each
series. An object is its position: study, series and number, from 0. The second patient has studies 2 and 3.

``tools/make_matrix_table.py`` makes the tables of ``docs/complete.md`` from this module.
"""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

from pairwise import pairwise

Position = tuple[int, ...]

PATIENTS, STUDIES, SERIES, OBJECTS = 2, 2, 2, 2
"""Numbers of patients, and of entities in one of the level above."""
POSITIONS: Final = tuple(itertools.product(range(PATIENTS * STUDIES), range(SERIES), range(OBJECTS)))
"""The positions of all objects."""


class Kind(NamedTuple):
    """Keys of one kind.

    ``shown``: for the document. ``keys``: with positions for the UIDs of studies, series and objects, in braces.
    ``matching``: positions of the studies, series or objects that they match. ``unique``: C-MOVE allows them (PS3.4
    C.4.2.1.4.1). ``model``: option of the information model.
    """

    name: str
    shown: str
    level: str
    keys: tuple[str, ...]
    matching: tuple[Position, ...]
    unique: bool = False
    model: str = "-S"

    @property
    def positions(self) -> set[Position]:
        """The positions of the objects that the keys match."""
        return {one for one in POSITIONS if any(one[: len(part)] == part for part in self.matching)}


class Mode(NamedTuple):
    """A way to retrieve. ``resumed``: one of the objects is in the output directory from an earlier run."""

    name: str
    options: tuple[str, ...] = ()
    listed: bool = False
    resumed: bool = False


class Archive(NamedTuple):
    """An archive and what differs between archives.

    ``letter``: for the document. ``limit``: highest number of objects in one list, 0 for none. ``nothing``: exit code
    of a plain request for a UID that it does not have. ``ignores``: it answers a query with a key that it does not
    support as if the key were absent; others find nothing. ``uid_lists``: it can move what a list of UIDs names.
    """

    name: str
    letter: str
    limit: int = 0
    nothing: int = 0
    ignores: bool = True
    uid_lists: bool = True


class Sent(NamedTuple):
    """What an archive sends: all of its objects, those that match, some others, or nothing; and the exit code."""

    what: str
    code: int


_STUDY: Final = "StudyInstanceUID={0}"
_SERIES: Final = "SeriesInstanceUID={0.1}"
_PATIENT: Final = "PatientID={patient}"

KINDS: Final = (
    Kind("study", "a StudyInstanceUID", "STUDY", (_STUDY,), ((0,),), unique=True),
    Kind("studies", "two StudyInstanceUIDs", "STUDY", (r"StudyInstanceUID={1}\{2}",), ((1,), (2,)), unique=True),
    Kind("patient", "PatientID, level PATIENT", "PATIENT", (_PATIENT,), ((2,), (3,)), unique=True, model="-P"),
    Kind("patient's studies", "PatientID, level STUDY", "STUDY", (_PATIENT,), ((2,), (3,))),
    Kind("series", "a SeriesInstanceUID", "SERIES", (_STUDY, _SERIES), ((0, 1),), unique=True),
    Kind("object", "a SOPInstanceUID", "IMAGE", (_STUDY, _SERIES, "SOPInstanceUID={0.1.0}"), ((0, 1, 0),), unique=True),
    Kind("accession number", "AccessionNumber", "STUDY", ("AccessionNumber=A2",), ((1,),)),
    Kind("dates", "a range of StudyDate", "STUDY", ("StudyDate=20210101-20221231",), ((1,), (2,))),
    Kind("name", "PatientName with a wild card", "STUDY", ("PatientName=Roe*",), ((2,), (3,))),
    Kind("modalities", "ModalitiesInStudy", "STUDY", ("ModalitiesInStudy=MR",), ((0,),)),
    Kind("nowhere", "a UID that is nowhere", "STUDY", ("StudyInstanceUID=1.2.3.99",), (), unique=True),
    Kind("ignored", "a key that the archive ignores", "STUDY", ("StudyStatusID=X",), ()),
)

MODES: Final = (
    Mode("plain"),
    Mode("verify", ("--verify",)),
    Mode("retry", ("--retry", "1")),
    Mode("resume", ("--resume",), resumed=True),
    Mode("list", listed=True),
    Mode("list and resume", ("--resume",), listed=True, resumed=True),
)

ARCHIVES: Final = (
    Archive("Orthanc", "O", nothing=69, ignores=False),
    Archive("Orthanc with LimitFindInstances", "L", limit=1, nothing=69, ignores=False),
    Archive("dcmqrscp", "D"),
    Archive("qrscp", "Q", uid_lists=False),
    Archive("movescu.testing", "T"),
)

_ORTHANC: Final = {"accession number": Sent("matching", 0)}
SENT: Final[dict[str, dict[str, Sent]]] = {
    "Orthanc": _ORTHANC,
    "Orthanc with LimitFindInstances": _ORTHANC,
    "dcmqrscp": {
        **dict.fromkeys(("patient's studies", "accession number", "dates", "name"), Sent("matching", 0)),
        **dict.fromkeys(("modalities", "ignored"), Sent("all", 0)),
    },
    "qrscp": {"patient's studies": Sent("matching", 0)},
    "movescu.testing": {},
}
"""What the archives were seen to send for keys that C-MOVE does not allow, sent as they are. Default: ``REFUSED``."""
REFUSED: Final = Sent("nothing", 69)


class Cell(NamedTuple):
    """One retrieve of the matrix."""

    archive: Archive
    kind: Kind
    mode: Mode

    @property
    def name(self) -> str:
        """The name of its test."""
        return f"{self.archive.name}-{self.kind.name}-{self.mode.name}"

    @property
    def left_out(self) -> str:
        """The reason why the archive cannot do it; empty if it can."""
        asks_for_both = self.kind.name == "studies" and self.mode.name == "plain"
        if asks_for_both and not self.archive.uid_lists:
            return "the archive fails if one request names two UIDs"
        return ""

    @property
    def sent(self) -> Sent | None:
        """What the archive was seen to do where it alone decides: a plain request by keys that C-MOVE does not allow.

        None where the rule decides: exactly the matching objects, with ``code``.
        """
        if self.mode.name != "plain" or self.kind.unique:
            return None
        return SENT[self.archive.name].get(self.kind.name, REFUSED)

    @property
    def code(self) -> int:
        """The exit code, by the rule."""
        if not self.kind.matching:
            return self.archive.nothing if self.mode.name == "plain" else 63
        return 63 if self.is_cut_short else 0

    @property
    def is_cut_short(self) -> bool:
        """Whether a list is wanted that the archive does not give in full: everything comes, and nobody can know."""
        lists = self.mode.name not in ("plain", "retry") or not self.kind.unique
        return lists and self.kind.level != "IMAGE" and 0 < self.archive.limit < OBJECTS


ALL: Final = [Cell(*cell) for cell in itertools.product(ARCHIVES, KINDS, MODES)]
SAMPLE: Final = [
    Cell(ARCHIVES[archive], KINDS[kind], MODES[mode])
    for archive, kind, mode in pairwise((range(len(ARCHIVES)), range(len(KINDS)), range(len(MODES))))
]
"""Each kind in each mode, and each of both with each archive, at least once."""
