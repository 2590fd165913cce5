"""What a command is told of a request and of its first object."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from movescu.cohort.command_template import parse_command
from movescu.cohort.hook_document import keys_of, patient_id_of
from movescu.query.identifier import make_identifier

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=str,
)
@pytest.mark.parametrize(("character_set", "patient_id"), [(None, "P 1"), ("ISO_IR 100", "Pä"), ("ISO_IR 192", "病1")])
def test_patient_id_of_a_file_is_decoded(
    tmp_path: Path, syntax: str, character_set: str | None, patient_id: str
) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set
    inner = Dataset()
    inner.PatientID = "of another"
    dataset.ReferencedStudySequence = [inner]
    dataset.PatientID = patient_id
    dataset.PixelData = bytes(200000)
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "file", enforce_file_format=True)
    assert patient_id_of(str(tmp_path / "file")) == patient_id


def test_patient_id_that_cannot_be_found_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no DICOM")
    assert not patient_id_of(str(tmp_path / "file"))
    assert not patient_id_of(str(tmp_path / "missing"))


def test_keys_are_told_by_keyword_and_decoded() -> None:
    keys = ["QueryRetrieveLevel=STUDY", "PatientName=Müller^Jörg", "StudyInstanceUID=1.2\\1.3", "AccessionNumber="]
    assert keys_of(make_identifier(keys)) == {
        "SpecificCharacterSet": "ISO_IR 192",
        "QueryRetrieveLevel": "STUDY",
        "PatientName": "Müller^Jörg",
        "StudyInstanceUID": "1.2\\1.3",
    }


def test_backslashes_of_paths_of_windows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    text = rf'{sys.executable} "C:\Program Files\convert.py" C:\out\{{study_uid}} \\server\{{count}}'
    monkeypatch.setattr("os.sep", "\\")
    words = parse_command("--on-study", "STUDY", text).arguments({"study_uid": "1.2", "count": "3"})
    assert words == [sys.executable, r"C:\Program Files\convert.py", r"C:\out\1.2", r"\\server\3"]


def test_values_stay_within_their_words_and_are_replaced_once() -> None:
    command = parse_command("--on-study", "STUDY", """sh -c 'echo "$@"' "a b{patient_id}" {{count}}{count}""")
    values = {"patient_id": "'; rm -rf / {count} \\", "count": "2"}
    assert command.arguments(values) == ["sh", "-c", 'echo "$@"', "a b'; rm -rf / {count} \\", "{count}2"]
