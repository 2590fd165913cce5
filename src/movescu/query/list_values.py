"""The values of a request list: damage that spreadsheets and tables do to identifiers.

A spreadsheet takes a long number for a quantity and rounds it (``1.23457E+11``), a table pads a column of integers with
missing values to decimals (``12345.0``), and both write dates in a form of their own. Such a value would be sent as a
key that was never in the user's data, so it is an error.
"""

from __future__ import annotations

import re
from typing import Final

from movescu.dictionary.uids import MAXIMUM_UID_LENGTH
from movescu.query import advice

_SCIENTIFIC: Final = re.compile(r"[+-]?[0-9]+([.,][0-9]+[eE][+-]?|[eE][+-])[0-9]+\Z")
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+\Z")
_STRICT: Final = frozenset(("AS", "DA", "DT", "IS", "TM"))
"""VRs whose values have one form that spreadsheets do not know."""
NUMBERS: Final = frozenset(("DS", "FD", "FL", "IS", "OD", "OF", "SL", "SS", "SV", "UL", "US", "UV"))
"""VRs whose values are numbers."""


def is_uid(text: str) -> bool:
    """Return True for a UID: numbers separated by dots (PS3.5 9.1); leading zeros occur in practice."""
    return len(text) <= MAXIMUM_UID_LENGTH and _UID.match(text) is not None


def fault_of(vr: str, text: str, *, raw: bool = False) -> str:
    """Return what is wrong with the text of a key, empty if nothing; ``raw``: bytes that are not UTF-8 are sent."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        if not raw:
            return (
                "the value is not UTF-8: save the list as CSV UTF-8, or name its character set by SpecificCharacterSet"
            )
    elif not text.isprintable():
        character = next(one for one in text if not one.isprintable())
        return f"the value has a character that cannot be printed (U+{ord(character):04X})"
    if vr not in NUMBERS and _SCIENTIFIC.match(text):
        return f"{text!r} is a number in scientific notation, which has lost digits: format the column as text"
    if vr == "UI":
        wrong = next((part for part in text.split("\\") if not is_uid(part.strip())), None)
        return "" if wrong is None else f"{wrong[:80]!r} is not a UID"
    if vr in _STRICT and text.strip("*"):
        return next(filter(None, (advice.of_text(vr, part.strip()) for part in text.split("\\"))), "")
    return ""
