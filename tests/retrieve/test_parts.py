"""Which studies and series a retrieve proves complete, as a program asks its handle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import corpus
import peers
import pytest

import movescu
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance


@pytest.fixture
def made(tmp_path: Path) -> list[Instance]:
    (tmp_path / "archive").mkdir()
    return corpus.make_study(tmp_path / "archive", studies=2, series=2, instances=3, size=2000)


@pytest.fixture
def archive(tmp_path: Path, made: list[Instance]) -> Iterator[Archive]:
    assert made
    with Archive(tmp_path / "archive", {"MOVESCU": (peers.HOST, peers.free_port())}) as running:
        yield running


def proven(archive: Archive, level: str, keys: movescu.Keys, *, verify: bool = True) -> dict[str, set[str]]:
    ae = movescu.AE(archive.host, archive.port, archive.ae_title)
    port = archive.destinations["MOVESCU"][1]
    retry, timeouts = movescu.Retry(verify=verify), movescu.Timeouts(linger=0.1)
    with movescu.Client(ae, listen=port, to=movescu.Memory(), retry=retry, timeouts=timeouts) as client:
        handle = client.start(keys)
        return {part.uid: set(part.sop_instance_uids) for part in handle.proven(level)}


def of(made: list[Instance], **fields: str) -> set[str]:
    return {one.instance_uid for one in made if all(getattr(one, name) == uid for name, uid in fields.items())}


def test_retrieve_of_a_patient_proves_its_studies_and_series(archive: Archive, made: list[Instance]) -> None:
    keys = {"PatientID": made[0].patient_id}
    studies, series = {one.study_uid for one in made}, {one.series_uid for one in made}
    assert proven(archive, "STUDY", keys) == {uid: of(made, study_uid=uid) for uid in studies}
    assert proven(archive, "SERIES", keys) == {uid: of(made, series_uid=uid) for uid in series}


def test_retrieve_proves_nothing_above_its_level(archive: Archive, made: list[Instance]) -> None:
    series = {"StudyInstanceUID": made[0].study_uid, "SeriesInstanceUID": made[0].series_uid}
    image = {**series, "SOPInstanceUID": made[0].instance_uid}
    assert not proven(archive, "STUDY", series)
    assert proven(archive, "SERIES", series).keys() == {made[0].series_uid}
    assert not proven(archive, "SERIES", image)


def test_incomplete_retrieve_and_one_without_a_list_prove_nothing(archive: Archive, made: list[Instance]) -> None:
    keys = {"StudyInstanceUID": made[0].study_uid}
    assert not proven(archive, "STUDY", keys, verify=False)
    archive.faults = Faults(drop_every=6)
    assert not proven(archive, "SERIES", keys), "the series that is whole is part of a request that is not"
