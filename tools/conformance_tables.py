"""Update the tables of ``docs/conformance.md`` from the program's own tables.

Run ``python tools/conformance_tables.py`` after a change of storage classes, transfer syntaxes or options. Each table
is between two comments with its name; the text around them is written by hand. ``tests/test_conformance_document.py``
fails while the document is out of date.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from movescu.cli.options.table import OPTIONS
from movescu.dictionary.uids import TRANSFER_SYNTAXES, TransferSyntax, storage_classes, uid_name
from movescu.retrieve.config import GET_CLASSES, MODELS
from movescu.ul.pdu import REJECT_REASONS, REJECT_RESULTS, REJECT_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from movescu.cli.options.option import Option

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "conformance.md"

_REJECTIONS: Final = (
    (1, 1, 3, "`--allow-aet` does not list the calling AE title"),
    (1, 1, 7, "with `--require-called-aet`: the called AE title is not the move destination"),
    (1, 2, 2, "bit 0 of the protocol version is not set"),
    (2, 3, 2, "the number of open associations has reached `--max-associations`"),
)
"""Result, source and reason of PS3.8 table 9-21, and when they are sent."""


def updated(document: str) -> str:
    """Return the document with its tables updated. Raise ``ValueError`` if a table has no place in it."""
    for name, lines in tables().items():
        pattern = re.compile(rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        document, count = pattern.subn(lambda found, lines=lines: f"{found[1]}{lines}\n{found[2]}", document)  # type: ignore[misc] # a default argument binds the loop's variable
        if count != 1:
            raise ValueError(f"{name} has {count} places in the document")
    return document


def tables() -> dict[str, str]:
    """Return each table by its name."""
    return {
        "storage classes": _table(("SOP class", "UID", "SCU", "SCP"), _storage_rows()),
        "move classes": _table(("SOP class", "UID", "SCU", "SCP", "option"), _move_rows()),
        "get classes": _table(("SOP class", "UID", "SCU", "SCP", "option"), _get_rows()),
        "transfer syntaxes": _table(("transfer syntax", "UID", "accepted with"), _syntax_rows()),
        "preferences": _table(("option", "transfer syntaxes, in order of preference"), _preference_rows("preferred")),
        "proposals": _table(("option", "transfer syntaxes, in the order proposed"), _preference_rows("proposed")),
        "rejections": _table(("result", "source", "reason", "when"), _rejection_rows()),
        "user identity": _table(("option", "content"), _identity_rows()),
    }


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def _storage_rows() -> Iterator[tuple[str, ...]]:
    for entry in storage_classes().values():
        yield f"{entry.keyword}{' (retired)' if entry.retired else ''}", entry.uid, "no", "yes"


def _move_rows() -> Iterator[tuple[str, ...]]:
    short = {option.value: option.short for option in OPTIONS if option.field == "model"}
    for model, (_, uid) in MODELS.items():
        yield uid_name(uid), uid, "yes", "no", f"`{short[model]}`"


def _get_rows() -> Iterator[tuple[str, ...]]:
    short = {option.value: option.short for option in OPTIONS if option.field == "model"}
    for model, uid in GET_CLASSES.items():
        yield uid_name(uid), uid, "yes", "no", f"`{short[model]}`"


def _syntaxes(option: Option) -> tuple[TransferSyntax, ...]:
    assert isinstance(option.value, tuple)  # noqa: S101 - the option table's own type for these fields
    return option.value


def _syntax_rows() -> Iterator[tuple[str, ...]]:
    preferred = [option for option in OPTIONS if option.field == "preferred"]
    for syntax in TRANSFER_SYNTAXES.values():
        options = [option for option in preferred if syntax in _syntaxes(option)]
        missing = [option for option in preferred if option not in options]
        if not missing:
            names = "each option"
        elif len(missing) == 1:
            names = f"each option but `{missing[0].short}`"
        else:
            names = ", ".join(f"`{option.short}`" for option in options)
        yield syntax.name, syntax.uid, names


def _preference_rows(field: str) -> Iterator[tuple[str, ...]]:
    for option in (option for option in OPTIONS if option.field == field):
        syntaxes = _syntaxes(option)
        first = ", ".join(syntax.name for syntax in syntaxes[:4])
        shown = first if len(syntaxes) <= 4 else "; then ".join(_runs(syntaxes))
        yield f"`{option.short}` `{option.long}`{' (default)' if option.default else ''}", shown


def _runs(syntaxes: Sequence[TransferSyntax]) -> Iterator[str]:
    """Yield the many syntaxes of ``--accept-all``: the encapsulated ones by UID, then the native ones by name."""
    root = "1.2.840.10008.1.2"
    yield f"encapsulated, {root} followed by: " + ", ".join(s.uid[len(root) :] for s in syntaxes if s.encapsulated)
    yield ", ".join(syntax.name for syntax in syntaxes if not syntax.encapsulated)


def _rejection_rows() -> Iterator[tuple[str, ...]]:
    for result, source, reason, when in _REJECTIONS:
        words = f"{REJECT_RESULTS[result]} ({result})", f"{REJECT_SOURCES[source]} ({source})"
        yield *words, f"{REJECT_REASONS[source, reason]} ({reason})", when


def _identity_rows() -> Iterator[tuple[str, ...]]:
    yield "`--user`", "1: user name in UTF-8"
    yield "`--user` with `--password-file` or `MOVESCU_PASSWORD`", "2: user name in UTF-8, and passcode"
    for number, (long, what) in enumerate(
        (("--kerberos", "Kerberos service ticket"), ("--saml", "SAML assertion"), ("--jwt", "JSON web token")), start=3
    ):
        yield f"`{long}`", f"{number}: {what}"


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
