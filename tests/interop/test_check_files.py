"""``--check-files``: what is missing, changed and extra in a directory, by journal, manifest and archive."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import corpus
import peers
import pytest
from command import Outcome, movescu

from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Place:
    """A directory that a list was retrieved into, and its archive."""

    def __init__(self, archive: Archive, made: list[corpus.Instance], folder: Path) -> None:
        self.archive, self.made = archive, made
        self.directory = folder / "received"
        self.directory.mkdir()
        self.elsewhere = folder
        self.manifest = folder / "SHA256SUMS"
        studies = folder / "studies.txt"
        studies.write_text("".join(f"{one}\n" for one in dict.fromkeys(one.study_uid for one in made)))
        port = archive.destinations["MOVESCU"][1]
        arguments = ["-S", "--list", studies, "+P", port, "--manifest", self.manifest, "--layout", "study"]
        movescu(*arguments, archive.host, archive.port, folder=self.directory)
        self.files = sorted(self.directory.rglob("*.dcm"))
        assert len(self.files) == len(made)

    def check(self, *options: object, code: int = 0, ask: bool = False) -> Outcome:
        peer = (self.archive.host, self.archive.port, "-S") if ask else ()
        return movescu("--check-files", self.directory, *options, *peer, folder=self.elsewhere, code=code)

    def findings(self, *options: object, code: int = 63, ask: bool = False) -> set[tuple[str, str]]:
        told = self.told(*options, code=code, ask=ask)
        return {(one["kind"], one["path"] or one["uid"]) for one in told["findings"]}

    def told(self, *options: object, code: int = 0, ask: bool = False) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.check(*options, "--format", "json", code=code, ask=ask).output)
        return told

    def name(self, number: int) -> str:
        return str(self.files[number].relative_to(self.directory))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "archive"
    folder.mkdir()
    made = corpus.make_study(folder, studies=3, instances=3, size=2000)
    with Archive(folder, {"MOVESCU": (peers.HOST, peers.free_port())}) as archive:
        yield Place(archive, made, tmp_path)


@pytest.mark.parametrize("ask", [False, True], ids=["alone", "with the archive"])
def test_directory_as_it_was_retrieved_is_as_expected(place: Place, ask: bool) -> None:
    outcome = place.check("--manifest", place.manifest, ask=ask)
    assert "9 files" in outcome.output
    assert "9 of them read, against journal and manifest" in outcome.output
    assert outcome.output.endswith("everything is as expected\n")
    assert ("archive queried for 3 requests" in outcome.output) == ask
    assert "W: " not in outcome.log


def test_requests_of_the_journal_get_no_advice_in_patient_root(place: Place) -> None:
    peer = (place.archive.host, place.archive.port)
    outcome = movescu("--check-files", place.directory, *peer, folder=place.elsewhere)
    assert "archive queried for 3 requests" in outcome.output
    assert "PatientID is missing" not in outcome.log


def test_missing_cut_and_unknown_files_are_told_apart(place: Place) -> None:
    place.files[0].unlink()
    os.truncate(place.files[1], 700)
    (place.directory / "notes.txt").write_text("of somebody else")
    assert place.findings() == {("missing", place.name(0)), ("changed", place.name(1)), ("extra", "notes.txt")}
    outcome = place.check(code=63)
    assert "1 missing, 1 changed, 1 extra" in outcome.output
    assert f"changed  {place.name(1)} (SOP instance " in outcome.output


def test_file_that_nobody_expects_is_no_failure(place: Place) -> None:
    (place.directory / "notes.txt").write_text("of somebody else")
    assert place.findings(code=0) == {("extra", "notes.txt")}


def test_changed_byte_is_found_by_the_manifest_alone(place: Place) -> None:
    content = bytearray(place.files[2].read_bytes())
    content[-1] ^= 1
    place.files[2].write_bytes(content)
    assert place.findings(code=0) == set(), "the journal has no digests"
    assert place.findings("--manifest", place.manifest) == {("changed", place.name(2))}


def test_object_of_another_name_is_changed(place: Place) -> None:
    first, second = place.files[:2]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes().ljust(len(content), b"\0")[: len(content)])
    assert ("changed", place.name(0)) in place.findings()


def test_sample_reads_a_part(place: Place) -> None:
    assert place.told()["read"] == 9
    assert place.told("--sample", "0.001%")["read"] < 9
    assert "write, for example, 5%" in place.check("--sample", "5", code=1).log


def test_directory_without_journal_or_manifest_has_whole_objects_or_not(place: Place) -> None:
    (place.directory / ".movescu.journal").unlink()
    os.truncate(place.files[1], 700)
    outcome = place.check(code=63)
    assert "no journal and no manifest" in outcome.log
    assert "1 changed" in outcome.output


def test_archive_tells_what_is_missing_and_extra(place: Place, tmp_path: Path) -> None:
    gone = place.files[4]
    gone.unlink()
    content = place.files[5].read_bytes()
    os.truncate(place.files[5], 700)
    told_once = {("missing", place.name(4)), ("changed", place.name(5))}
    assert place.findings(ask=True) == told_once
    place.files[5].write_bytes(content)
    (place.directory / ".movescu.journal").unlink()
    with Archive(tmp_path / "archive") as archive:
        place.archive = archive
        by_uid = {one.instance_uid: one for one in place.made}
        (uid,) = {uid for uid in by_uid if uid in gone.name}
        assert place.findings(ask=True) == {("missing", uid)}
    source = next(path for path in (tmp_path / "archive").iterdir() if uid not in path.name)
    source.unlink()
    with Archive(tmp_path / "archive") as archive:
        place.archive = archive
        kinds = sorted(kind for kind, _ in place.findings(ask=True))
        assert kinds == ["extra", "missing"]
        study = by_uid[uid].study_uid
        key = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
        assert ("missing", uid) in place.findings(*key, ask=True)


def test_given_keys_for_which_the_archive_lists_nothing_are_no_success(place: Place) -> None:
    nowhere = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.4")
    assert "the archive lists nothing for 1.2.3.4" in place.check(*nowhere, ask=True, code=63).log


def test_nothing_is_written_or_moved(place: Place) -> None:
    before = {path: path.stat().st_mtime_ns for path in place.directory.rglob("*")}
    place.check("--manifest", place.manifest, ask=True)
    assert {path: path.stat().st_mtime_ns for path in place.directory.rglob("*")} == before


def test_archive_that_is_not_there_is_61(place: Place) -> None:
    place.archive.close()
    place.check(ask=True, code=61)


def test_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert "'nowhere' is not a directory" in movescu("--check-files", "nowhere", folder=tmp_path, code=45).log
