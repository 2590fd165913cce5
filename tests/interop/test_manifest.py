"""``--manifest``: what ``sha256sum -c`` finds right, with layouts, after ``--resume``, and for odd names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
from command import movescu, running

from movescu.errors import UsageError
from movescu.report.manifest import Manifest, digests_of
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance


class Place(NamedTuple):
    """An archive with two studies, and the output directory."""

    archive: Archive
    made: list[Instance]
    received: Path
    port: int

    def arguments(self, study: int, *options: object) -> list[object]:
        uid = list(dict.fromkeys(one.study_uid for one in self.made))[study]
        keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}"]
        return [*keys, "+P", self.port, *options, self.archive.host, self.archive.port]

    def files(self) -> set[str]:
        found = (path for path in self.received.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path.relative_to(self.received)) for path in found} - {"SHA256SUMS"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, studies=2, series=2, instances=5, size=20000)
    port = peers.free_port()
    with Archive(folder, {"MOVESCU": (peers.HOST, port)}) as archive:
        yield Place(archive, made, received, port)


def checked(manifest: Path) -> set[str]:
    """Have sha256sum check a manifest from its directory; return the names in it."""
    command = ["sha256sum", "--check", "--strict", "--quiet", manifest.name]
    result = subprocess.run(command, check=False, cwd=manifest.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return {line[66:] for line in manifest.read_text().splitlines()}


@pytest.mark.parametrize("options", [(), ("--layout", "study"), ("+B",), ("+td", "+g", "-e"), ("-F",)], ids=" ".join)
def test_manifest_has_every_stored_object(place: Place, options: tuple[str, ...]) -> None:
    movescu(*place.arguments(0, "--manifest", "SHA256SUMS", *options), folder=place.received)
    assert checked(place.received / "SHA256SUMS") == place.files()
    assert len(place.files()) == 10


@pytest.mark.parametrize("layout", ["flat", "study"])
def test_manifest_of_a_resumed_retrieve_has_objects_of_both_runs(place: Place, layout: str) -> None:
    options = ["--manifest", "SHA256SUMS", "--layout", layout]
    place.archive.faults = Faults(fail_every=3)
    movescu(*place.arguments(0, *options), folder=place.received, code=68)
    assert len(checked(place.received / "SHA256SUMS")) == 7
    place.archive.faults = Faults()
    movescu(*place.arguments(0, *options, "--resume"), folder=place.received)
    movescu(*place.arguments(1, *options), folder=place.received)
    assert checked(place.received / "SHA256SUMS") == place.files()
    assert len(place.files()) == 20


@pytest.mark.not_without("locks", "windows")  # temporary files of killed runs stay for a day then
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_manifest_after_a_killed_run_has_what_the_run_had_stored(place: Place, tmp_path: Path, layout: str) -> None:
    rows = tmp_path / "rows"
    rows.write_text("\n".join(dict.fromkeys(one.study_uid for one in place.made)))
    options = ["--resume", "--manifest", "SHA256SUMS", "--layout", layout, "-v"]
    arguments = ["-S", "--list", rows, "+P", place.port, *options, place.archive.host, place.archive.port]
    place.archive.faults = Faults(pause=0.02)
    with running(*arguments, folder=place.received) as command:
        command.await_log("received store request", 13)
        command.signal(signal.SIGKILL)
        command.end()
    assert not (place.received / "SHA256SUMS").exists()
    movescu(*arguments, folder=place.received)
    assert checked(place.received / "SHA256SUMS") == place.files()
    assert len(place.files()) == 20


def test_lines_of_unchanged_files_are_kept_and_those_of_missing_files_left_out(place: Place) -> None:
    options = ["--manifest", "SHA256SUMS", "--resume"]
    movescu(*place.arguments(0, *options), folder=place.received)
    first, second, *_ = sorted(place.files())
    manifest = place.received / "SHA256SUMS"
    kept = manifest.read_text().replace(manifest.read_text()[:64], "0" * 64)
    manifest.write_text(kept)
    (place.received / second).unlink()
    outcome = movescu(*place.arguments(1, *options), folder=place.received)
    lines = manifest.read_text().splitlines()
    assert lines[0] == f"{'0' * 64}  {first}", "it says what was stored, whatever has become of it"
    manifest.write_text("".join(f"{line}\n" for line in lines[1:]))
    assert checked(manifest) == place.files() - {first}
    assert f"left out of the manifest: {second}: No such file" in outcome.log


def test_file_that_is_not_what_the_manifest_has_is_no_success_until_it_is_stored_again(
    place: Place, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    options = ["--manifest", "SHA256SUMS", "--resume"]
    movescu(*place.arguments(0, *options), folder=place.received)
    name = min(place.files())
    manifest, damaged = place.received / "SHA256SUMS", place.received / name
    lines, content = manifest.read_text(), damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # a pixel
    outcome = movescu(*place.arguments(1, *options), folder=place.received)
    assert f"has other digests of {name}:" in outcome.log
    for _ in range(2):  # the evidence is not used up
        outcome = movescu(*place.arguments(0, *options, "--report", report), folder=place.received, code=63)
        assert json.loads(report.read_text())["outcome"] == "incomplete"
        assert f"incomplete: the manifest {manifest} has other digests of {name}: delete" in outcome.log
        assert set(lines.splitlines()) <= set(manifest.read_text().splitlines())
    damaged.unlink()
    movescu(*place.arguments(0, *options), folder=place.received)
    assert checked(manifest) == place.files()
    damaged.write_bytes(b"")
    movescu(*place.arguments(0, *options[:2]), folder=place.received)  # stores each object anew
    assert damaged.read_bytes() == content
    assert checked(manifest) == place.files()


def test_files_of_a_folder_that_was_renamed_into_place_are_looked_at(place: Place, tmp_path: Path) -> None:
    options = ["--layout", "study", "--manifest", tmp_path / "sums", "--resume"]
    movescu(*place.arguments(0, *options[:2]), folder=place.received)
    study = place.received / place.made[0].study_uid
    other = study.rename(tmp_path / "other")  # before the manifest was written, unlike the folder's rename
    for path in other.rglob("*.dcm"):
        path.write_bytes(path.read_bytes().replace(b"Test^Patient", b"Real^Patient"))
    movescu(*place.arguments(0, *options), folder=place.received)
    study.rename(tmp_path / "first")
    other.rename(study)
    outcome = movescu(*place.arguments(0, *options), folder=place.received, code=63)
    assert "and 5 more: delete these files" in outcome.log


def test_manifest_elsewhere_has_paths_from_its_own_directory(place: Place, tmp_path: Path) -> None:
    movescu(*place.arguments(0, "--manifest", tmp_path / "sums"), folder=place.received)
    assert checked(tmp_path / "sums") == {f"received/{name}" for name in place.files()}


@pytest.mark.parametrize("name", ["back\\slash", "line\nfeed", "carriage\rreturn", "\\n", "d\udcff", "-x", " y "])
def test_odd_names_are_escaped_as_sha256sum_does(tmp_path: Path, name: str) -> None:
    received = tmp_path / name
    received.mkdir()
    (received / "CT.1").write_bytes(b"object")
    for _ in range(2):
        with Manifest(str(tmp_path / "sums"), str(received)) as manifest:
            manifest.add("CT.1")
            manifest.write()
        command: list[str | bytes] = ["sha256sum", "--", os.fsencode(f"{name}/CT.1")]
        sums = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
        assert (tmp_path / "sums").read_bytes() == sums.stdout


def test_file_that_is_no_manifest_is_not_replaced(place: Place) -> None:
    (place.received / "notes").write_text("mine\n")
    outcome = movescu(*place.arguments(0, "--manifest", "notes"), folder=place.received, code=1)
    assert "exists and is not a manifest" in outcome.log
    assert (place.received / "notes").read_text() == "mine\n"
    outcome = movescu(*place.arguments(0, "--manifest", "nowhere/sums"), folder=place.received, code=40)
    assert "its directory does not exist" in outcome.log
    with pytest.raises(UsageError):
        Manifest("/dev/null", str(place.received))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
def test_fifo_is_no_manifest_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "SUMS")
    for use in (Manifest, digests_of):
        with pytest.raises(UsageError, match="not a regular file"):
            use(str(tmp_path / "SUMS"), str(tmp_path))


def test_manifest_is_whole_before_a_command_runs(place: Place) -> None:
    options = ["--verify", "--manifest", "SHA256SUMS", "--on-study", "rm -r {directory}", "--layout", "study"]
    outcome = movescu(*place.arguments(0, *options), folder=place.received)
    assert len((place.received / "SHA256SUMS").read_text().splitlines()) == 10
    assert "left out" not in outcome.log


def test_digest_of_another_run_stands_for_a_file_that_it_has_stored(tmp_path: Path) -> None:
    file, path = tmp_path / "CT.1", str(tmp_path / "SUMS")
    for content in (b"pixels", b"pixelz"):
        file.write_bytes(content)
        with Manifest(path, str(tmp_path)) as first, Manifest(path, str(tmp_path)) as second:
            first.add("CT.1", stored=False)
            second.add("CT.1")
        assert second.write()
        assert first.write()
    assert checked(tmp_path / "SUMS") == {"CT.1"}
