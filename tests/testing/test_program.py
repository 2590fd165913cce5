"""``python -m movescu.testing`` and the demonstration, run as their users run them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
import peers
import pydicom
import pytest

from movescu import testing
from movescu.testing import demo
from movescu.testing.demo_objects import write_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-W", "error", "-m", "movescu.testing"]


def test_program_serves_a_folder_until_sigterm(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, instances=2, size=2048)
    with peers.storescp(tcp_nodelay=True) as third:
        destination = f"THIRD={third.host}:{third.port}"
        command = [*COMMAND, str(tmp_path), "--ae-title", "DEMO", "--destination", destination]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as archive:
            try:
                assert archive.stdout
                line = archive.stdout.readline()
                assert line.startswith("DEMO with 2 objects listens on 127.0.0.1 port ")
                keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={made[0].study_uid}"]
                client = [peers.dcmtk_movescu(), "-S", "-aem", "THIRD", *keys, "127.0.0.1", line.split()[-1]]
                assert subprocess.run(client, check=False, timeout=30).returncode == 0
                archive.send_signal(signal.SIGTERM)
                _, errors = archive.communicate(timeout=20)
            finally:
                archive.kill()
        assert archive.returncode == 0
        assert not errors
        assert len(third.received) == 2


def test_port_in_use_is_named(tmp_path: Path) -> None:
    with peers.storescp(tcp_nodelay=True) as other:
        command = [*COMMAND, str(tmp_path), "--port", str(other.port)]
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert result.returncode == 1
    assert f"cannot listen on port {other.port}" in result.stderr
    assert "Traceback" not in result.stderr


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as archive:
        try:
            yield archive
        finally:
            archive.kill()


def test_folder_without_objects_is_served_with_a_warning(tmp_path: Path) -> None:
    with running(str(tmp_path)) as archive:
        assert archive.stderr
        assert archive.stderr.readline().startswith(f"W: {tmp_path} has no DICOM files")


def test_demonstration_on_ipv6_prints_commands_that_work(tmp_path: Path) -> None:
    own = peers.free_port()
    with running("--demo", "--address", "::1", "--port", "0", "--destination", f"ME=[::1]:{own}") as archive:
        assert archive.stdout
        *_, command = (archive.stdout.readline() for _ in range(4))
        assert command.split()[0] == "movescu"
        retrieve = [sys.executable, "-m", *shlex.split(command)]
        assert subprocess.run(retrieve, check=False, cwd=tmp_path, timeout=60).returncode == 0
    assert len(list(tmp_path.iterdir())) > 1


@pytest.mark.parametrize("destination", ["THIRD", "THIRD=host", "=host:104", "THIRD=host:port"])
def test_malformed_destination_is_refused(tmp_path: Path, destination: str) -> None:
    command = [*COMMAND, str(tmp_path), "--destination", destination]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert "is not AET=HOST:PORT" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["folder", "--demo"]])
def test_program_serves_either_a_folder_or_the_demonstration(arguments: list[str]) -> None:
    result = subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert "give either a FOLDER or --demo" in result.stderr


def test_objects_of_the_demonstration_can_be_read_and_converted(tmp_path: Path) -> None:
    write_objects(tmp_path)
    files = sorted(tmp_path.iterdir())
    corpus.check_readable(files)
    assert {"1.2.3.1.1", "1.2.3.1.2", "1.2.4.1.1", "1.2.5.1.1", "1.2.6.1.12", "1.2.6.2.8"} < {f.name for f in files}
    compressed = pydicom.dcmread(tmp_path / "1.2.5.1.1")
    assert compressed.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    assert compressed.pixel_array.tobytes() == pydicom.dcmread(tmp_path / "1.2.4.1.1").PixelData


def test_demonstration_works_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert demo.main() == 0
        output = capfd.readouterr().out
        assert "-m movescu " in output
        files = list((tmp_path / "demo-output").iterdir())
        assert len(files) > 3
        assert f"\n{len(files)} of {len(files)} objects arrived" in output
        assert f"A page shows them: {(tmp_path / 'demo-page.html').as_uri()}\n" in output
        corpus.check_readable(files)
        for file in files:
            [line] = [line for line in output.splitlines() if line.endswith(file.name)]
            assert "Doe^" in line
            assert f"{file.stat().st_size:,} bytes" in line


def test_demonstration_fails_if_the_retrieve_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The archive does not know the demonstration's AE title: exit code 69, and an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_free_port", lambda: 0)
    assert demo.main() == 1
    assert "0 of" in capfd.readouterr().out


def test_example_of_the_package_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New users copy the example of the docstring."""
    assert testing.__doc__
    lines = [line[4:] for line in testing.__doc__.splitlines() if line.startswith("    ")]
    example = "\n".join(lines).replace("11112", str(peers.free_port()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    (tmp_path / "dicom-files").mkdir()
    made = corpus.make_study(tmp_path / "dicom-files", instances=4, size=2048)
    exec(example, {})  # noqa: S102 - our own docstring
    for instance in made:
        assert corpus.dataset_equal(instance.path, tmp_path / f"CT.{instance.instance_uid}")
