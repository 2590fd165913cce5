"""Encoder and decoder of the file meta information (PS3.10 section 7.1)."""

from __future__ import annotations

import contextlib
import io

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu._runtime import version
from movescu.dataset.file_meta import decode_file_meta, encode_file_meta
from movescu.errors import DataSetError

CT = "1.2.840.10008.5.1.4.1.1.2"
ELE = "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("source", [None, "ARCHIVE", "ODD"])
def test_file_meta_is_read_by_pydicom(source: str | None) -> None:
    data = encode_file_meta(CT, "1.2.3", ELE, source)
    meta = pydicom.dcmread(io.BytesIO(data)).file_meta
    assert data[:128] == bytes(128)
    assert meta.FileMetaInformationGroupLength == len(data) - 144
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == CT
    assert meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert meta.TransferSyntaxUID == ELE
    assert meta.ImplementationClassUID == version.CLASS_UID
    assert meta.ImplementationVersionName == version.VERSION_NAME
    assert meta.get("SourceApplicationEntityTitle") == source
    assert len(data) % 2 == 0


def test_implementation_identification_is_valid() -> None:
    assert pydicom.uid.UID(version.CLASS_UID).is_valid
    assert 0 < len(version.VERSION_NAME) <= 16


def test_file_meta_survives_a_round_trip() -> None:
    data = encode_file_meta(CT, "1.2.3", ELE, "ARCHIVE")
    meta = decode_file_meta(data + b"\x08\0\5\0CS\0\0")
    assert meta is not None
    assert (meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid) == (CT, "1.2.3", ELE)
    assert meta.length == len(data)


def test_wrong_group_length_does_not_shift_the_data_set() -> None:
    data = bytearray(encode_file_meta(CT, "1.2.3", ELE))
    data[140:144] = b"\xff\0\0\0"
    meta = decode_file_meta(bytes(data))
    assert meta is not None
    assert meta.length == len(data)


def test_bare_data_set_has_no_file_meta() -> None:
    assert decode_file_meta(b"\x08\0\5\0CS\0\0") is None


@pytest.mark.parametrize("cut", [133, 137, 145, 170, -1])
def test_truncated_file_meta_is_an_error(cut: int) -> None:
    with pytest.raises(DataSetError):
        decode_file_meta(encode_file_meta(CT, "1.2.3", ELE)[:cut])


@pytest.mark.row("CVE-2026-3650")
@given(st.binary(max_size=200))
def test_file_meta_decoder_raises_only_data_set_errors(rest: bytes) -> None:
    with contextlib.suppress(DataSetError):
        decode_file_meta(bytes(128) + b"DICM\2\0" + rest)
