"""The programs in ``examples`` do what they say, against a small archive."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import corpus
import documents
import peers
import pytest

from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance

PATIENCE = 60.0


@pytest.fixture
def made(tmp_path: Path) -> list[Instance]:
    (tmp_path / "archive").mkdir()
    return corpus.make_study(tmp_path / "archive", studies=2, series=2, instances=3, size=2048)


@pytest.fixture
def archive(tmp_path: Path, made: list[Instance]) -> Iterator[Archive]:
    assert made
    with Archive(tmp_path / "archive", {"ME": (peers.HOST, peers.free_port())}) as running:
        yield running


def run(name: str, archive: Archive, *arguments: object, more: tuple[object, ...] = (), code: int = 0) -> str:
    place = ("ARCHIVE", archive.host, archive.port, "--own-title", "ME", "--port", archive.destinations["ME"][1])
    script = documents.ROOT / "examples" / f"{name}.py"
    command = [sys.executable, "-W", "error", str(script), *map(str, (*arguments, *place, *more))]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == code, ran.stderr
    return ran.stdout


def test_cohort_comes_into_folders_and_is_gone_on_with(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    cohort, images = tmp_path / "cohort.csv", tmp_path / "images"
    images.mkdir()
    studies = dict.fromkeys(f"{one.patient_id},{one.study_uid}" for one in made)
    cohort.write_text("PatientID,StudyInstanceUID\n" + "".join(f"{line}\n" for line in studies))
    assert "6 stored, 0 already there" in run("cohort", archive, cohort, images)
    found = sorted(path.relative_to(images) for path in images.rglob("*.dcm"))
    assert [path.name.removesuffix(".dcm") for path in found] == sorted(one.instance_uid for one in made)
    assert found[0].parts[0] == made[0].patient_id
    assert "0 stored, 6 already there" in run("cohort", archive, cohort, images)


def test_series_is_an_array_without_any_file(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    told = run("arrays", archive, made[0].study_uid, made[0].series_uid)
    assert told.startswith("(3, 32, 32) uint16")
    assert {path.name for path in tmp_path.iterdir()} == {"archive"}


def test_proxy_brings_a_study_from_one_archive_into_another(archive: Archive, made: list[Instance]) -> None:
    with Archive(ae_title="OTHER") as other:
        told = run("forward", archive, made[0].study_uid, more=("--to", "OTHER", other.host, other.port))
        assert told == "complete: 6 objects are in OTHER\n"
        assert sorted(other.sop_instance_uids) == sorted(one.instance_uid for one in made[:6])
