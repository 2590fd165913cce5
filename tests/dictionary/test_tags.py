"""The data dictionary gives the VR of elements in implicit VR and the tags of ``-k`` keywords."""

from __future__ import annotations

import subprocess
import sys

import pydicom.datadict
import pytest
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._private_dict import private_dictionaries

from movescu.dictionary import tags as dictionary


@pytest.mark.parametrize(
    ("tag", "vr", "keyword", "vm"),
    [
        (0x00100010, "PN", "PatientName", "1"),
        (0x00080008, "CS", "ImageType", "2-n"),
        (0x00280106, "US or SS", "SmallestImagePixelValue", "1"),
        (0x00281200, "US or SS or OW", "GrayLookupTableData", "1-n"),
        (0x7FE00010, "OB or OW", "PixelData", "1"),
        (0x60003000, "OB or OW", "OverlayData", "1"),
        (0x601E0010, "US", "OverlayRows", "1"),
        (0x50040010, "US", "NumberOfPoints", "1"),
        (0x002031A2, "CS", "SourceImageIDs", "1-n"),
        (0x002804F2, "LO", "CoefficientCoding", "1-n"),
        (0x00280868, "AT", "ImageDataLocation", "1-n"),
        (0x1000ABC2, "US", "HuffmanTableSize", "1"),
        (0x10101234, "US", "ZonalMap", "1-n"),
        (0x00100000, "UL", None, None),
        (0x00290000, "UL", None, None),
        (0x00290010, "LO", None, None),
        (0x002900FF, "LO", None, None),
        (0x0029000F, None, None, None),
        (0x00291010, None, None, None),
        (0x60013000, None, None, None),
        (0x00100011, None, None, None),
        (0x00080202, None, None, None),
        (0xFFFEE000, None, None, None),
    ],
)
def test_tag_has_the_vr_keyword_and_multiplicity_of_the_standard(
    tag: int, vr: str | None, keyword: str | None, vm: str | None
) -> None:
    assert (dictionary.vr_of(tag), dictionary.keyword_of(tag), dictionary.vm_of(tag)) == (vr, keyword, vm)


def test_dictionary_has_every_element_of_the_standard() -> None:
    for tag, (vr, vm, _, _, keyword) in DicomDictionary.items():
        if keyword and vr != "NONE":
            assert (dictionary.vr_of(tag), dictionary.vm_of(tag)) == (vr, vm)
            assert dictionary.tag_of(keyword) == tag
            assert dictionary.keyword_of(tag) == keyword


def test_dictionary_has_every_repeating_element() -> None:
    for pattern, (vr, _, _, _, keyword) in RepeatersDictionary.items():
        tag = int(pattern.replace("x", "2"), 16)
        assert (dictionary.vr_of(tag), dictionary.keyword_of(tag)) == (vr, keyword)
        assert pydicom.datadict.dictionary_VR(tag) == vr


@pytest.mark.parametrize("keyword", ["patientname", "PatientsName", "", "PatientName ", "RETIRED_CurveData"])
def test_keyword_is_found_only_if_exact(keyword: str) -> None:
    assert dictionary.tag_of(keyword) is None


def test_keyword_of_a_repeating_element_stands_for_the_first() -> None:
    assert dictionary.tag_of("OverlayRows") == 0x60000010


@pytest.mark.parametrize(
    ("name", "uid"),
    [
        ("CTImageStorage", "1.2.840.10008.5.1.4.1.1.2"),
        ("ExplicitVRLittleEndian", "1.2.840.10008.1.2.1"),
        ("LittleEndianExplicit", "1.2.840.10008.1.2.1"),
        ("NoSuchUID", None),
    ],
)
def test_uid_is_found_by_its_keyword_and_by_dcmtks_name(name: str, uid: str | None) -> None:
    assert dictionary.uid_of(name) == uid


@pytest.mark.parametrize(
    ("creator", "tag", "vr"),
    [
        ("SIEMENS CSA HEADER", 0x00291010, "OB"),
        ("SIEMENS CSA HEADER", 0x0029E108, "CS"),
        ("GEMS_ACQU_01", 0x00191002, "SL"),
        ("SIEMENS CSA HEADER", 0x00311010, None),
        ("SIEMENS CSA HEADER", 0x002910FE, None),
        ("ACME", 0x00291010, None),
    ],
)
def test_private_element_is_found_by_its_creator_in_any_block(creator: str, tag: int, vr: str | None) -> None:
    assert dictionary.private_vr(creator, tag) == vr
    assert dictionary.knows_creator(creator) == (creator != "ACME")


def test_dictionary_has_every_private_element() -> None:
    count = 0
    for creator, rows in private_dictionaries.items():
        for key, row in rows.items():
            if key[4:6] == "xx" and "x" not in key[:4] + key[6:] and row[0] != "UN":
                found = dictionary.private_vr(creator, int(key.replace("xx", "10"), 16))
                assert found == row[0].replace("OB_OW", "OB or OW")
                count += 1
    assert count > 8000


def test_start_does_not_load_the_dictionary() -> None:
    """``movescu --version`` reads none of it, and the first look-up is fast."""
    script = (
        f"import sys, time\nsys.path.insert(0, {dictionary.__file__.rpartition('movescu')[0]!r})\n"
        "from movescu.dictionary import tags as dictionary\n"
        "assert not {'pathlib', 'importlib.resources'} & sys.modules.keys()\n"
        "assert dictionary.tags.cache_info().currsize == 0\n"
        "start = time.process_time()\ndictionary.vr_of(0x00100010)\nprint(time.process_time() - start)"
    )
    command = [sys.executable, "-IS", "-c", script]
    times = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(3)]
    assert min(times) < 0.02
