"""Thumbnails: what DCMTK renders, and a placeholder where a file does its worst."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom.data
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless

from movescu.report.thumbnails import Decoder, decoder_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

pytestmark = pytest.mark.xdist_group("thumbnails")

SAMPLES = Path(pydicom.data.__file__).parent / "test_files"
CLOSE = 3.0  # of 255, on average: the thumbnails are JPEG


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as running:
        yield running


def pixels_of(picture: dict[str, Any]) -> np.ndarray:
    assert "image" in picture, picture
    head, _, data = picture["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (image.width, image.height) == (picture["width"], picture["height"])
    assert max(image.size) <= 128
    return np.asarray(image.convert("RGB"), np.float64)


def rendered(file: Path, folder: Path, program: str, *options: str) -> np.ndarray:
    """Render a file with DCMTK."""
    target = folder / "reference.ppm"
    subprocess.run([program, *options, file, target], check=True)
    image = Image.open(target)
    image.thumbnail((128, 128), Image.Resampling.BOX)
    return np.asarray(image.convert("RGB"), np.float64)


@pytest.mark.parametrize(
    ("name", "program", "options"),
    [
        ("MR_small.dcm", "dcm2pnm", ["+Wi", "1"]),
        ("MR_small_bigendian.dcm", "dcm2pnm", ["+Wi", "1"]),
        ("MR_small_implicit.dcm", "dcm2pnm", ["+Wi", "1"]),
        ("MR_small_RLE.dcm", "dcm2pnm", ["+Wi", "1"]),
        ("MR_small_jpeg_ls_lossless.dcm", "dcml2pnm", ["+Wi", "1"]),
        ("693_J2KI.dcm", "", []),
        ("examples_overlay.dcm", "dcm2pnm", ["+Wi", "1", "-O"]),
        ("examples_palette.dcm", "dcm2pnm", []),
        ("examples_rgb_color.dcm", "dcm2pnm", []),
        ("examples_ybr_color.dcm", "dcmj2pnm", ["+F", "15"]),
        ("SC_ybr_full_422_uncompressed.dcm", "dcm2pnm", []),
        ("SC_rgb_rle_2frame.dcm", "dcm2pnm", ["+F", "1"]),
        ("SC_rgb_jpeg_dcmtk.dcm", "dcmj2pnm", []),
        ("SC_rgb_dcmtk_+eb+cy+s4.dcm", "dcmj2pnm", []),
        ("SC_rgb_jls_lossy_line.dcm", "dcml2pnm", []),
        ("examples_jpeg2k.dcm", "", []),
    ],
)
def test_thumbnail_is_what_dcmtk_renders(
    decoder: Decoder, tmp_path: Path, name: str, program: str, options: list[str]
) -> None:
    if program == "dcml2pnm":
        pytest.importorskip("jpeg_ls", reason="there is no wheel of pyjpegls for this interpreter")
    file = SAMPLES / name
    if not program:  # DCMTK has no JPEG 2000: decompressed by pydicom
        dataset = dcmread(file)
        dataset.decompress()
        file, program, options = tmp_path / name, "dcm2pnm", ["+Wi", "1"] if "WindowWidth" in dataset else []
        dataset.save_as(file)
    picture, reference = pixels_of(decoder.picture(str(SAMPLES / name))), rendered(file, tmp_path, program, *options)
    assert picture.shape == reference.shape
    assert np.abs(picture - reference).mean() < CLOSE


def test_monochrome1_and_signed_values_are_shown_as_dcmtk_does(decoder: Decoder, tmp_path: Path) -> None:
    file = tmp_path / "mono1.dcm"
    dataset = dcmread(SAMPLES / "CT_small.dcm")
    assert dataset.PixelRepresentation == 1
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.save_as(file)
    reference = rendered(file, tmp_path, "dcm2pnm", "+Wi", "1")
    assert np.abs(pixels_of(decoder.picture(str(file))) - reference).mean() < CLOSE


def test_lookup_table_is_preferred_to_a_window(decoder: Decoder, tmp_path: Path) -> None:
    file = tmp_path / "lut.dcm"
    dataset = dcmread(SAMPLES / "CT_small.dcm")
    dataset.WindowCenter, dataset.WindowWidth = 0, 1
    table = Dataset()
    table.LUTDescriptor = [4096, -1024, 16]
    table.LUTData = np.linspace(65535, 0, 4096).astype("<u2").tobytes()
    table["LUTData"].VR, table["LUTDescriptor"].VR = "OW", "SS"
    dataset.VOILUTSequence = [table]
    dataset.save_as(file)
    reference = rendered(file, tmp_path, "dcm2pnm", "+Wl", "1")
    assert np.abs(pixels_of(decoder.picture(str(file))) - reference).mean() < CLOSE


def deflated(data: bytes) -> bytes:
    """Blocks that may be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def test_bombs_and_broken_files_cost_a_placeholder(tmp_path: Path) -> None:
    inflated = tmp_path / "deflated.dcm"
    dataset = dcmread(SAMPLES / "MR_small.dcm", stop_before_pixels=True)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(inflated)
    head = inflated.read_bytes()
    start = 132 + 12 + int.from_bytes(head[140:144], "little")
    plain = zlib.decompress(head[start:], -15) + b"\xe0\x7f\x10\x00OW\0\0\xfe\xff\xff\xff"
    inflated.write_bytes(head[:start] + deflated(plain) + deflated(bytes(1 << 24)) * 40 + b"\x03\x00")

    huge = tmp_path / "huge.dcm"
    dataset = dcmread(SAMPLES / "examples_jpeg2k.dcm")
    assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
    dataset.Rows = dataset.Columns = 65535
    dataset.save_as(huge)

    text, empty = tmp_path / "text.dcm", tmp_path / "empty.dcm"
    text.write_text("not DICOM" * 1000)
    empty.touch()
    with Decoder(decoder_command(memory=640 << 20)) as decoder:
        assert decoder.picture(str(inflated))["why"] == decoder.picture(str(huge))["why"] == "too large to decode"
        for file in (text, empty, tmp_path / "none.dcm", SAMPLES / "MR_truncated.dcm"):
            assert decoder.picture(str(file))["why"]
        assert "image" in decoder.picture(str(SAMPLES / "MR_small.dcm"))


def test_file_that_no_decoder_survives_costs_a_placeholder(tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, sys, time\n"
        "from movescu.report import thumbnail_worker as worker\n"
        "real = worker.thumbnail\n"
        "def thumbnail(path):\n"
        "    if 'crash' in path: os.abort()\n"
        "    if 'hang' in path: time.sleep(3600)\n"
        "    return real(path)\n"
        "worker.serve(sys.stdin.buffer, sys.stdout.buffer, thumbnail)\n"
    )
    with Decoder((sys.executable, str(worker)), seconds=0.5) as decoder:
        assert decoder.picture("hang.dcm") == {"why": "takes too long to decode"}
    with Decoder((sys.executable, str(worker))) as decoder:
        assert decoder.picture("crash.dcm") == {"why": "crashes its decoder"}
        assert "image" in decoder.picture(str(SAMPLES / "MR_small.dcm"))


def test_values_of_functional_groups_are_those_of_the_frame(decoder: Decoder, tmp_path: Path) -> None:
    """A frame's own window and rescale (PS3.3 C.7.6.16), here of the middle one of three."""
    plain = dcmread(SAMPLES / "CT_small.dcm")
    plain.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain.WindowCenter, plain.WindowWidth = 40, 400
    file = tmp_path / "plain.dcm"
    plain.save_as(file)
    expected = pixels_of(decoder.picture(str(file)))
    groups = []
    for center in (-5000, 40, 5000):
        group, window, rescale = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, 400
        rescale.RescaleSlope, rescale.RescaleIntercept = plain.RescaleSlope, plain.RescaleIntercept
        group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [window], [rescale]
        groups.append(group)
    for name in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        delattr(plain, name)
    plain.PerFrameFunctionalGroupsSequence = groups
    plain.NumberOfFrames, plain.PixelData = 3, plain.PixelData * 3
    plain.save_as(file)
    assert np.abs(pixels_of(decoder.picture(str(file))) - expected).mean() < CLOSE
