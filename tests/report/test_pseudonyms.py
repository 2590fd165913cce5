"""``--pseudonymise``: nothing of a patient, an archive or an error's words is left, and equal things stay equal."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from command import here
from setting import KEY, Setting

from movescu import events
from movescu.errors import DirectoryNotWritableError
from movescu.events import AssociationEvent, EndEvent, EntryEvent, EntryState, ObjectEvent, RejectedContext
from movescu.report.entry_table import EntryTable
from movescu.report.page import PageData, page_pieces
from movescu.report.pseudonyms import Pseudonyms, load_key
from movescu.report.summary import Summary
from movescu.retrieve.config import AE, Config

if TYPE_CHECKING:
    from pathlib import Path

    import scripted

    from movescu.events import Event

SECRET = "Mustermann"
KINDS = tuple(
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and kind.__name__.endswith("Event") and kind.__name__[0] != "_"
)


OTHER: dict[str, Any] = {
    "rejected_contexts": (RejectedContext(sop_class_uid=SECRET, transfer_syntax_uids=(SECRET,)),),
    "keys": (f"PatientName={SECRET}", f"{SECRET}=1", f"Modality={SECRET}", f"{SECRET}[0].x={SECRET}"),
    "role": "archive",
    "row": 1,
    "same_as": 1,
}
"""Values of fields that are not simply a text."""
BY_TYPE: dict[str, Any] = {"str": SECRET, "float": 1.7e9, "bool": True, "EntryState": EntryState.FAILED}


def value_of(kind: type[Event], field: dataclasses.Field[Any]) -> object:
    if field.name == "columns":
        return ((SECRET, SECRET),) if kind is EntryEvent else {SECRET: SECRET}
    type_name = str(field.type)
    return OTHER.get(field.name, BY_TYPE.get(type_name, (SECRET, SECRET) if type_name.startswith("tuple") else 3))


def revealing(kind: type[Event]) -> Event:
    """An event that has a secret wherever it can have a text."""
    values: dict[str, Any] = {field.name: value_of(kind, field) for field in dataclasses.fields(kind)}
    return kind(**values | ({"state": "opened"} if kind is AssociationEvent else {}))


def test_nothing_that_could_name_somebody_is_in_report_or_page() -> None:
    assert len(KINDS) == 7
    hidden = Pseudonyms(b"k" * 32, 1.7e9)
    table = EntryTable()
    summary = Summary(Config(AE(SECRET.lower(), 104, title=SECRET), ae_title=SECRET), table)
    summary.archive, summary.begun = hidden.archive(summary.archive), 0.0
    data = PageData(1.7e9, None)
    for kind in KINDS:
        event = revealing(kind)
        data(event)
        summary(hidden.event(event))
        if isinstance(told := hidden.event(event), EntryEvent):
            table.add(told)
    summary(hidden.event(EndEvent(outcome="failed", stored=0, failed=0, size=0, seconds=1.0, errors=(SECRET,))))
    extra = data.values() | {"labels": hidden.labels({SECRET: {"patient": SECRET, "modality": "CT", "study": SECRET}})}
    report = "".join(summary.texts())
    for text in (report, "".join(table.csv_lines()), "".join(page_pieces(summary, table, extra))):
        assert SECRET.lower() not in text.lower()
        assert "2023" not in text, "no day"
    assert '"modality":"CT"' in "".join(page_pieces(summary, table, extra))


def test_equal_values_stay_equal_and_another_key_hides_them() -> None:
    mine, theirs = Pseudonyms(b"k" * 32, 0.0), Pseudonyms(b"l" * 32, 0.0)
    assert mine.of("4711") == mine.of("4711") != mine.of("4712")
    assert mine.of("4711") != theirs.of("4711")


def test_standard_classes_and_reasons_stay() -> None:
    one = ObjectEvent(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid="1.2.3",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        size=5,
        seconds=0.1,
        status=0,
    )
    told = Pseudonyms(b"k" * 32, 0.0).event(one)
    assert isinstance(told, ObjectEvent)
    assert (told.sop_class_uid, told.transfer_syntax_uid, told.size) == (one.sop_class_uid, one.transfer_syntax_uid, 5)
    entry = EntryEvent(row=1, state=EntryState.NOT_FOUND, keys=("QueryRetrieveLevel=STUDY",), reason="not-found")
    shown = Pseudonyms(b"k" * 32, 0.0).event(entry)
    assert isinstance(shown, EntryEvent)
    assert (shown.keys, shown.advice) == (entry.keys, "check the keys")


def test_key_is_made_once_and_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    key = load_key()
    assert load_key() == key
    assert (tmp_path / "movescu" / "pseudonyms.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "movescu" / "pseudonyms.key").write_bytes(b"")
    with pytest.raises(DirectoryNotWritableError, match="is not a pseudonym key"):
        load_key()


def test_command_writes_report_and_page_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    setting = Setting(tmp_path)

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        setting.send(setting.made)
        session.respond(0x0000, completed=3)
        session.expect_release()

    report, page = tmp_path / "report.json", tmp_path / "page.html"
    setting.run_here(script, "-k", f"PatientID={SECRET}", "--report", report, "--html", page, "--pseudonymise")
    told = json.loads(report.read_text())
    jsonschema.validate(told, json.loads(files("movescu").joinpath("report/data/report.schema.json").read_bytes()))
    assert (told["stored"], told["begun"]) == (3, "1970-01-01T00:00:00.000Z")
    for text in (report.read_text(), page.read_text()):
        for secret in (SECRET, "Test^Patient", "127.0.0.1", setting.made[0].series_uid, setting.made[0].instance_uid):
            assert secret not in text
    assert '"modality":"CT"' in page.read_text()


def test_pictures_and_pseudonyms_exclude_each_other(tmp_path: Path) -> None:
    arguments = ("-k", KEY, "127.0.0.1", 1, "--html", tmp_path / "page.html", "--thumbnails", "--pseudonymise")
    with pytest.raises(Exception, match="--thumbnails"):
        here(*arguments, folder=tmp_path)
