"""Retrieves on systems that lack something: what stands in for it must lose nothing (``support/without``).

Rows that change nothing but one call have a retrieve each; ``make test-without X=ROW`` runs the suite without it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import corpus
import forked
import peers
import pytest
import without
from command import movescu, running
from encoded import ELE, el

from movescu.dataset.file_meta import encode_file_meta
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")


@pytest.fixture(params=without.ROWS)
def row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each row: a process of our command that is started now is without what it names."""
    return use(request.param, monkeypatch)


def use(row: str, monkeypatch: pytest.MonkeyPatch) -> str:
    forked.make_ready()  # in the environment as it is: processes of a row are started anew
    for name, value in without.environment(row).items():
        monkeypatch.setenv(name, value)
    return row


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    return corpus.make_study(tmp_path_factory.mktemp("made"), instances=6, size=40_000)


@pytest.fixture(scope="module")
def archive(study: list[Instance]) -> Iterator[Archive]:
    """An archive that sends over three associations at once."""
    destinations = {"ME": (peers.HOST, peers.free_port())}
    with Archive(str(study[0].path.parent), destinations, associations=3) as running:
        yield running


def at(archive: Archive, *options: object) -> list[object]:
    own = ["-aet", "ME", "-aec", archive.ae_title, "+P", archive.destinations["ME"][1]]
    return [*own, *options, archive.host, archive.port]


def keys_of(study: list[Instance]) -> list[str]:
    return ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study[0].study_uid}"]


def test_objects_are_complete_and_nothing_else_is_left(
    row: str, archive: Archive, study: list[Instance], tmp_path: Path
) -> None:
    kept = {f"CT.{made.instance_uid}": made.path.read_bytes() for made in study}
    (tmp_path / f"CT.{study[0].instance_uid}").write_bytes(study[0].path.read_bytes()[:-100])  # is replaced
    movescu(*at(archive, *keys_of(study), "-od", tmp_path), folder=tmp_path)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found.keys() == kept.keys(), row
    assert all(data[-40_000:] == kept[name][-40_000:] for name, data in found.items())


@pytest.mark.parametrize("name", ["utf-8", "directories", "windows"])
def test_complete_objects_are_not_requested_again(
    name: str, archive: Archive, study: list[Instance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(name, monkeypatch)
    options = ["-v", "-od", tmp_path, "--layout", "study", "--resume", *keys_of(study)]
    movescu(*at(archive, *options), folder=tmp_path)
    cut = next(tmp_path.rglob(f"{study[0].instance_uid}.dcm"))
    os.truncate(cut, 1000)
    again = movescu(*at(archive, *options), folder=tmp_path)
    assert "I: 1 objects received" in again.log.replace("1 object received", "1 objects received")
    assert "5 already there" in again.log
    assert sorted(path.stem for path in tmp_path.rglob("*.dcm")) == sorted(made.instance_uid for made in study)


@pytest.mark.parametrize("name", ["locks", "utf-8", "directories", "windows"])
def test_list_is_retrieved_and_reported_and_its_files_checked(
    name: str, archive: Archive, study: list[Instance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(name, monkeypatch)
    rows = tmp_path / "rows.csv"
    rows.write_text(f"StudyInstanceUID\n{study[0].study_uid}\n1.2.3.4\n", encoding="ascii")
    received, page = tmp_path / "received", tmp_path / "page.html"
    received.mkdir()
    options = ["--list", rows, "--jobs", 2, "--verify", "--resume", "-od", received, "--html", page, "-S"]
    manifest = received / "SHA256SUMS"
    movescu(*at(archive, *options, "--manifest", manifest), folder=tmp_path, code=63)  # there is no 1.2.3.4
    assert len([path for path in received.iterdir() if path.name.startswith("CT.")]) == len(study)
    assert study[0].study_uid in page.read_text(encoding="utf-8")
    movescu("--check-files", received, "--manifest", manifest, folder=tmp_path)
    movescu("--status", received, folder=tmp_path)


def test_every_module_can_be_imported_on_windows() -> None:
    program = (
        f"import sys; sys.path.insert(0, {os.path.dirname(without.__file__)!r}); import without; "
        "without.take_away('windows'); import pkgutil, importlib, movescu; "
        "[importlib.import_module(one.name) for one in pkgutil.walk_packages(movescu.__path__, 'movescu.') "
        "if not one.name.endswith('__main__')]"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("name", ["signals", "windows"])
def test_interrupt_cancels_where_signals_of_unix_are_missing(
    name: str, study: list[Instance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destinations = {"ME": (peers.HOST, peers.free_port())}
    faults = Faults(pause=0.2)
    with Archive(str(study[0].path.parent), destinations, faults=faults) as slow:
        use(name, monkeypatch)
        with running(*at(slow, "-v", *keys_of(study), "-od", tmp_path), folder=tmp_path) as retrieve:
            retrieve.await_log("received store request")
            retrieve.signal(signal.SIGINT)
            outcome = retrieve.end()
    assert outcome.code == 130, outcome.log
    assert "cancelling" in outcome.log
    assert not [name for name in outcome.files if name.startswith(".movescu-")]


# -- names -------------------------------------------------------------------------------------------------------------


def save(folder: Path, uid: str, patient: bytes = b"") -> None:
    elements = (
        (0x00080005, "CS", b"ISO_IR 192"),
        (0x00080016, "UI", CT.encode()),
        (0x00080018, "UI", uid.encode()),
        (0x00100010, "PN", patient),
        (0x00100020, "LO", b"1 "),
        (0x0020000D, "UI", b"1.2.3"),
        (0x0020000E, "UI", b"1.2.3.1"),
    )
    data = b"".join(el(tag, vr, value + b"\0" * (len(value) % 2)) for tag, vr, value in elements)
    (folder / f"{uid}.dcm").write_bytes(encode_file_meta(CT, uid, ELE) + data)


@pytest.mark.parametrize("name", ["utf-8", "windows"])
def test_name_that_the_encoding_lacks_is_listed_and_stored(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, there = tmp_path / "made", tmp_path / "there"
    made.mkdir()
    there.mkdir()
    save(made, "1.2.3.1.1", "山田^太郎".encode())
    use(name, monkeypatch)
    with Archive(str(made), {"ME": (peers.HOST, peers.free_port())}) as archive:
        listed = movescu("--query", *at(archive, *STUDY, "-k", "PatientName"), folder=there)
        assert "1.2.3" in listed.output
        assert "??^??" in listed.output
        layout = ["--layout", "{PatientName}/{SOPInstanceUID}.dcm"]
        movescu(*at(archive, *STUDY, *layout, "--report", tmp_path / "report", "-od", there), folder=there)
    assert [path.name for path in there.iterdir()] == ["山田^太郎"]
    assert json.loads((tmp_path / "report").read_text(encoding="utf-8"))["stored"] == 1


@pytest.mark.parametrize("name", ["case", "windows"])
def test_object_does_not_replace_one_whose_name_differs_in_case(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, there = tmp_path / "made", tmp_path / "there"
    made.mkdir()
    there.mkdir()
    save(made, "1.2.3.a")
    save(made, "1.2.3.A")
    use(name, monkeypatch)
    with Archive(str(made), {"ME": (peers.HOST, peers.free_port())}) as archive:
        outcome = movescu(*at(archive, *STUDY, "--accept-nonstandard", "+B", "-od", there), folder=there, code=None)
    stored = [path.read_bytes() for path in there.iterdir()]
    assert len(stored) == 1
    assert outcome.code == 68, outcome.log  # one was refused, and is told of


@pytest.mark.parametrize("name", ["case", "windows"])
def test_files_in_a_folder_whose_name_differs_in_case_are_those_of_the_journal(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder has the name that its first object gave it: who deletes what is called extra loses the others."""
    made, there, rows = tmp_path / "made", tmp_path / "there", tmp_path / "rows.csv"
    made.mkdir()
    there.mkdir()
    for number, patient in enumerate(("Head", "HEAD")):
        save(made, f"1.2.3.{number}", patient.encode())
    rows.write_text("StudyInstanceUID\n1.2.3\n")
    use(name, monkeypatch)
    options = ["-S", "--layout", "{PatientName}/{SOPInstanceUID}.dcm", "--list", rows]
    with Archive(str(made), {"ME": (peers.HOST, peers.free_port())}) as archive:
        movescu(*at(archive, *options, "-od", there), folder=there)
    [folder] = (path for path in there.iterdir() if path.is_dir())
    files = sorted(folder.iterdir())
    assert len(files) == 2
    checking = ["--check-files", there, "--format", "json"]
    assert not json.loads(movescu(*checking, folder=tmp_path).output)["findings"]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-1])
    told = json.loads(movescu(*checking, folder=tmp_path, code=63).output)
    assert sorted(one["kind"] for one in told["findings"]) == ["changed", "missing"]
