"""Selection among the matches: resolution of keys by C-FIND, limits, and the choice of series (PS3.4 C.2.2.2, C.6).

A C-MOVE takes unique keys alone; with a ``Selection`` that resolves, all other keys, and patterns in unique keys, are
matched by C-FIND first. ``only`` and ``exclude`` are conditions on the attributes of series::

    Modality=CT              # matches as a key does: wild cards, ranges, lists separated by backslashes
    SeriesDescription~axial  # contains the text, in any case; wild cards and lists as above
"""

from __future__ import annotations

from movescu._runtime.record import Record
from movescu.dataset.values import encode_value, key_vr
from movescu.errors import InventoryError, TooManyStudiesError, UsageError
from movescu.query.key import Key, quoted
from movescu.query.key_text import parse_tag
from movescu.query.matching import matches
from movescu.query.scope import keyword, level_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from movescu.query.match import Match

MOST_STUDIES: Final = 100
"""Highest number of studies that resolved keys may match if the user states none, and they name none."""
UTF_8: Final = ("ISO_IR 192",)

_UNWANTED_LEVELS: Final = frozenset(("PATIENT", "STUDY", "IMAGE"))


class Selection(Record):
    """Which of a request's matches are retrieved.

    ``resolve``: match all keys by C-FIND first; Patient ID and UIDs may be patterns. Default: False. ``only``: retrieve
    series that meet every one of these conditions (``Modality=CT``, ``SeriesDescription~axial``). Default: none.
    ``exclude``: retrieve no series that meets one of these. Default: none. ``max_studies``: highest number of studies
    that the keys of a request or query may match; 0: no limit, and keys that select nothing mean everything. Default:
    None, that is 100 for the keys of a request, unless they are a Patient ID or UIDs alone.

    Raise ``UsageError`` for an invalid value.
    """

    resolve: bool = False
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_studies: int | None = None

    def check(self) -> None:
        """Raise ``UsageError`` for an invalid value."""
        most = 0 if self.max_studies is None else self.max_studies
        if not isinstance(most, int) or isinstance(most, bool) or most < 0:
            raise UsageError(f"max_studies {self.max_studies!r} is not a number of studies")
        for name in ("only", "exclude"):
            if not isinstance(getattr(self, name), tuple):
                raise UsageError(f"{name} {getattr(self, name)!r} is not a tuple of conditions")
        self.conditions()

    @property
    def everything(self) -> bool:
        """Whether keys that select nothing mean everything."""
        return self.max_studies == 0

    @property
    def resolves(self) -> bool:
        """Whether the keys of a request are matched by C-FIND before the first C-MOVE."""
        return self.resolve or self.chooses

    @property
    def chooses(self) -> bool:
        """Whether series are chosen by their attributes."""
        return bool(self.only or self.exclude)

    @property
    def text(self) -> str:
        """The selection as text, the same for equal ones; empty if everything that the keys match is retrieved."""
        if not self.resolves:
            return ""
        return repr((self.resolve, sorted(set(self.only)), sorted(set(self.exclude))))

    @property
    def options(self) -> str:
        """The conditions on series as options, for messages."""
        named = [f"--only {text}" for text in self.only], [f"--exclude {text}" for text in self.exclude]
        return ", ".join(named[0] + named[1])

    def conditions(self) -> tuple[tuple[Condition, ...], tuple[Condition, ...]]:
        """Return the conditions to meet and those not to meet. Raise ``UsageError`` if one is invalid."""
        only, exclude = (tuple(map(parse_condition, texts)) for texts in (self.only, self.exclude))
        return only, exclude


def most_studies(selection: Selection | None, *, named: bool = False) -> int:
    """Return the highest number of studies that keys may match; 0: no limit.

    ``named``: they are a Patient ID or UIDs alone, for which only a limit that the user states holds. Default: False.
    """
    stated = None if selection is None else selection.max_studies
    return (0 if named else MOST_STUDIES) if stated is None else stated


def states_limit(selection: Selection | None) -> bool:
    """Return True if the user states a limit, which holds for keys that name studies or a patient, and for queries."""
    return selection is not None and bool(selection.max_studies)


def too_many_studies(number: int, most: int) -> TooManyStudiesError:
    """Return the error for a request whose keys match too many studies."""
    return TooManyStudiesError(
        f"{number} studies match the keys, more than --max-studies allows ({most}): nothing was requested",
        hint="give keys that select fewer, a higher --max-studies, or --all if all of them are meant",
    )


def shared_patient_id() -> InventoryError:
    """Return the error for a patient whose Patient ID is also that of one whom the keys do not match."""
    return InventoryError(
        "another patient, whom the keys do not match, has the same PatientID: nothing was requested",
        hint="list the studies with --query study, and request them by StudyInstanceUID",
    )


class Condition(Record):
    """A condition on an attribute of a series. ``key``: what its value has to match; ``contains``: anywhere in it."""

    text: str
    tag: int
    key: Key
    contains: bool

    def is_met(self, series: Match) -> bool:
        """Return True if the series has a value that meets the condition."""
        parts = series.texts(self.tag)
        if self.contains:
            parts = tuple(part.casefold() for part in parts)
        return any(matches(self.key, part.encode(), UTF_8, UTF_8) for part in parts)


def parse_condition(text: str) -> Condition:
    """Parse ``Keyword=value`` or ``Keyword~text``. Raise ``UsageError`` if it is invalid, or no condition on series."""
    name, mark, value = _split(text)
    if not name or not value:
        raise UsageError(
            f"{quoted(text)} is not a condition on series", hint="write it as Modality=CT or SeriesDescription~axial"
        )
    tag = parse_tag(name)
    vr = key_vr(tag)
    if vr is None or vr == "SQ":
        raise UsageError(f"series cannot be chosen by {name}")
    if (level := level_of(tag)) in _UNWANTED_LEVELS:
        raise UsageError(
            f"{keyword(tag)} is an attribute of level {level}: series cannot be chosen by it",
            hint=f"give it as a key (-k {keyword(tag)}=...), or choose by an attribute of series, such as Modality",
        )
    if mark == "=":
        try:
            data = value.encode() if vr in _CODED else encode_value(vr, value.encode()).data
        except ValueError as error:
            raise UsageError(f"{quoted(text)}: {error}") from None
        return Condition(text, tag, Key(tag, vr.encode(), data), contains=False)
    pattern = "\\".join(f"*{part}*" for part in value.casefold().split("\\"))
    return Condition(text, tag, pattern_of(pattern.encode()), contains=True)


def pattern_of(value: bytes, *, listed: bool = True) -> Key:
    """Return a key that matches as text does, with wild cards, whatever the attribute; ``listed``: and with lists."""
    return Key(_SOME_TEXT, b"LO" if listed else b"LT", value)


_SOME_TEXT: Final = 0x00081030
_CODED: Final = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT"))


def _split(text: str) -> tuple[str, str, str]:
    """Split a condition at the first of its marks."""
    place = min((text.index(mark) for mark in "=~" if mark in text), default=len(text))
    return text[:place].strip(), text[place : place + 1], text[place + 1 :].strip()
