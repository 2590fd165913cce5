"""Fuzz targets for the input of a user: query files, keys, dictionaries, configurations, rules, command lines.

Targets write real files into the current folder, which the fuzzer provides and ``XDG_CONFIG_HOME`` has to name. Files
and hosts that an input names are not touched: appenders get another file and no host.
"""

from __future__ import annotations

import io
import logging
import os
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from logging_state import restored

from movescu.cli.logging.config_file import Configuration, apply, read_configuration
from movescu.cli.logging.dict_config import read_python
from movescu.cli.logging.properties import Properties
from movescu.cli.options.command_line import arguments_lines, parse
from movescu.cli.options.sites import site_names
from movescu.cohort.overlap import chains, distinct
from movescu.dataset.encoding import Encoding
from movescu.dataset.file_meta import decode_file_meta, encode_file_meta
from movescu.dataset.transcoder import recode, values_of
from movescu.dataset.values import is_text, key_vr
from movescu.dictionary import tags as dictionary
from movescu.dictionary.files import use_dictionaries
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from movescu.errors import DataSetError
from movescu.query.identifier import make_identifier
from movescu.query.request_list import read_rows
from movescu.transport.access import rules as access_rules
from movescu.transport.access.decision import AccessRules, ConnectingHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.query.identifier import Identifier

DEVICES: Final = b"/dev"
"""Inputs with this are skipped: some device files never end."""
NO_SEARCH: Final = patch("difflib.get_close_matches", lambda _word, known, **_: list(known)[:1])
"""Disables the search for words like a mistyped one, which takes longer than everything else."""


def _written(name: str, data: bytes) -> str:
    Path(name).write_bytes(data)
    return name


# -- requests --------------------------------------------------------------------------------------------------------


def query(name: str) -> Callable[[bytes], None]:
    """Return the target that reads query files with this name."""

    def read(data: bytes) -> None:
        _file_meta(data)
        if DEVICES not in data:
            path = _written(name, data)
            make_identifier((), path, model="PATIENT", keys_only=True)
            _encode(make_identifier((), path, model="STUDY"))

    return read


def _file_meta(data: bytes) -> None:
    """Decode file meta information, and require that encoding keeps its values."""
    try:
        meta = decode_file_meta(data)
    except DataSetError:
        return
    if meta is None or max(map(len, (meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid))) > 64:
        return
    again = decode_file_meta(encode_file_meta(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid))
    assert again is not None
    assert again.transfer_syntax_uid == meta.transfer_syntax_uid
    assert (again.sop_class_uid, again.sop_instance_uid) == (meta.sop_class_uid, meta.sop_instance_uid)


def keys(data: bytes) -> None:
    """Make an identifier of keys, one per line."""
    with NO_SEARCH:
        _encode(make_identifier(os.fsdecode(data).split("\n"), model="STUDY"))


def request_list(data: bytes) -> None:
    """Read a list of requests; require that its keys are in the text, and that chains have each entry once."""
    rows = read_rows(_written("fuzz.csv", data), model="STUDY")
    wanted, repeated = distinct(rows)
    assert len(wanted) + sum(map(len, repeated.values())) == len(rows)
    assert sorted(row.number for chain in chains(wanted) for row in chain) == [row.number for row in wanted]
    text = data.replace(b"\0", b"")
    for row in rows:
        request = row.identifier.encode(EXPLICIT_LITTLE)
        _encode(row.identifier)
        found = values_of(request, EXPLICIT_LITTLE)
        for value in (value for tag, value in found.items() if is_text(key_vr(tag) or "")):
            bare = value.rstrip(b" \0")
            # In JSON, characters may be escaped; the level may follow from the columns.
            assert not bare.isascii() or bare in text or bare in LEVELS or b"{" in text, bare


LEVELS: Final = (b"PATIENT", b"STUDY", b"SERIES", b"IMAGE", b"ISO_IR 192")


def _encode(identifier: Identifier) -> None:
    """Encode an identifier in any transfer syntax, and require that each is a data set that recoding makes as well."""
    data = identifier.encode(EXPLICIT_LITTLE)
    for syntax in (IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE) if data else ():
        there = identifier.encode(syntax)
        assert there.startswith(recode(data, EXPLICIT_LITTLE, Encoding(transfer_syntax=syntax)))
        assert syntax.implicit or recode(there, syntax, Encoding(transfer_syntax=EXPLICIT_LITTLE)) == data


# -- files that a run reads ------------------------------------------------------------------------------------------

TAGS: Final = (0x00080005, 0x00100000, 0x00100010, 0x00110010, 0x00111001, 0x00280106, 0x60023000, 0x7FE00010)


def dictionary_file(data: bytes) -> None:
    """Use a dictionary, and recode with it a data set in implicit VR."""
    try:
        use_dictionaries(_written("fuzz.dic", data))
        for tag in TAGS:
            dictionary.keyword_of(tag), dictionary.vm_of(tag)
        for keyword in dictionary.keywords()[:5]:
            dictionary.tag_of(keyword)
        elements = (tag.to_bytes(4)[1::-1] + tag.to_bytes(4)[:1:-1] + b"\4\0\0\0ACME" for tag in TAGS)
        with suppress(DataSetError):  # a tag may be that of a sequence now
            recode(b"".join(elements), IMPLICIT_LITTLE, Encoding(transfer_syntax=EXPLICIT_LITTLE))
    finally:
        dictionary.use(None)


def log_properties(data: bytes) -> None:
    """Configure the log from log4cplus properties, and format a record with each appender."""
    complaints: list[str] = []
    if DEVICES in data:
        return
    with restored(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        read = read_configuration(data.decode("utf-8", "surrogateescape"), "log.cfg", complaints.append)
        apply(Configuration(read.loggers, _harmless(read.appenders)), complaints.append)
        record = logging.LogRecord("movescu.net", logging.ERROR, __file__, 1, "peer %s\nsays", ("A\x1b",), None)
        with patch("socket.getfqdn", return_value="localhost"):  # asks a name server
            for handler in logging.getLogger("movescu.net").handlers:
                if handler.filter(record):
                    handler.format(record)
    for path in Path().glob("fuzz.log*"):
        path.unlink()


def _harmless(appenders: Properties) -> Properties:
    entries = {key: entry for key, entry in appenders._entries.items() if not key.endswith(".host")}  # noqa: SLF001 - of no other use
    files = {key: entry._replace(value="fuzz.log") for key, entry in entries.items() if key.endswith(".File")}
    return Properties(entries | files, lambda _: None)


def log_python(data: bytes) -> None:
    """Read a configuration of Python's logging: JSON if it begins with a brace or bracket, otherwise TOML."""
    name = "log.json" if data[:1] in (b"{", b"[") else "log.toml"
    configuration = read_python(data.decode("utf-8", "surrogateescape"), name)
    assert configuration["disable_existing_loggers"] in (False, True) or configuration


CLIENTS: Final = (
    ConnectingHost("192.0.2.1", "archive.example.org"),
    ConnectingHost("2001:db8::1", "unknown"),
    ConnectingHost("fe80::1%lo", "paranoid"),
    ConnectingHost("unknown", "LOCALHOST"),
)
BETWEEN: Final = b"\n----\n"
"""Separates hosts.allow, hosts.deny and a file of patterns."""
LISTS: Final = ("/x/list", "/x/list2")
"""Names of the file of patterns; others are not read, because their content depends on the machine."""


def access(data: bytes) -> None:
    """Read hosts.allow and hosts.deny, and decide; no error at all may be raised."""
    allow, deny, patterns, *_ = (*data.split(BETWEEN, 2), b"", b"")
    patterns_at = _written("patterns", patterns)

    def read_patterns(path: str) -> list[str]:
        return access_rules.read_patterns(patterns_at if path in LISTS else "missing")

    rules = AccessRules(access_rules.parse(allow, "hosts.allow"), access_rules.parse(deny, "hosts.deny"))
    assert all(warning.isprintable() for warning in rules.warnings)
    with patch("movescu.transport.access.decision.read_patterns", read_patterns):
        for client in CLIENTS:
            verdict = rules.allows(client, "127.0.0.1", server_port=104)
            assert all(text.isprintable() for text in (verdict.rule, verdict.location, *verdict.warnings))


# -- the command line ------------------------------------------------------------------------------------------------


def command_file(data: bytes) -> None:
    """Read a command line from a file."""
    path = _written("command.txt", data)
    with NO_SEARCH:
        arguments_lines("movescu", [f"@{path}"])
        parse([f"@{path}"])


def sites(data: bytes) -> None:
    """Read the file of sites, and a command line with the site ``s``."""
    Path("movescu").mkdir(exist_ok=True)
    _written("movescu/sites.toml", data)
    with NO_SEARCH:
        site_names()
        parse(["--site", "s", "-k", "0008,0052=STUDY"])
