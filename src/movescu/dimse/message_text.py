"""DIMSE messages (PS3.7 section 9.3) as text for the log: the command set, a field per line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.hex_dump import text_of
from movescu._runtime.record import names_of
from movescu.dictionary.uids import uid_name
from movescu.dimse.messages import NO_DATA_SET
from movescu.dimse.status import status_name

if TYPE_CHECKING:
    from movescu.dimse.messages import Message

_PRIORITIES: Final = {0: "medium", 1: "high", 2: "low"}
_CAPITALS: Final = {"sop": "SOP", "uid": "UID", "id": "ID", "ae": "AE"}


def message_text(title: str, message: Message) -> str:
    """Return a message as lines below a title, without the fields that it does not have."""
    values = ((name, getattr(message, name)) for name in names_of(type(message)))
    lines = (f"  {_words(name)}: {_shown(name, value)}" for name, value in values if value not in (None, ()))
    return text_of((title, *lines))


def _words(name: str) -> str:
    return " ".join(_CAPITALS.get(word, word) for word in name.split("_"))


def _shown(name: str, value: object) -> str:
    if name == "command_data_set_type":
        return "none" if value == NO_DATA_SET else "present"
    if name == "status" and isinstance(value, int):
        return f"0x{value:04x} ({status_name(value)})"
    if name == "priority" and isinstance(value, int):
        return _PRIORITIES.get(value, str(value))
    if name == "offending_elements" and isinstance(value, tuple):
        return ", ".join(f"({tag >> 16:04x},{tag & 0xFFFF:04x})" for tag in value)
    if isinstance(value, str):
        known = uid_name(value)
        return value if known == value else f"{known} ({value})"
    return str(value)
