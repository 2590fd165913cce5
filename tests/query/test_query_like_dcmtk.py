"""Identifiers compared byte for byte with those of DCMTK's movescu, and text query files with its dump2dcm.

Many keys go with each run of DCMTK's program. Every difference stands in a table with its reason, and must be one.
"""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import peers
import pytest
import scripted
from dcmconv import data_set_of
from identifiers import sent, values

from movescu.dataset.values import elements
from movescu.dictionary import tags as dictionary
from movescu.errors import UsageError
from movescu.query.identifier import make_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

pytestmark = pytest.mark.skipif(shutil.which("dump2dcm") is None, reason="needs DCMTK (Debian: dcmtk)")

NUMBERS: tuple[str, ...] = (
    "0",
    "1",
    "-1",
    "1\\2\\3",
    "+5",
    " 3",
    "7 ",
    "12abc",
    "0x10",
    "1_0",
    "65535",
    "65536",
    "4294967296",
)
NUMBERS += ("9223372036854775807", "18446744073709551616", "-18446744073709551616", "99999999999999999999999", "-40000")
DECIMALS = (
    "1.5",
    "-1.5e3\\2",
    ".5",
    "5.",
    "1e400",
    "1e-400",
    "0.1",
    "inf",
    "-inf",
    "nan",
    "-nan",
    "infx",
    "1,5",
    "1e",
    "0x1",
)
HEXADECIMALS = ("0", "1\\2\\3", "ff", "0xff", "100", "12345678901", "-1", "+1", " 1", "1x", "ABCD\\0001")
TEXTS = ("", "A", "AB", "A ", "  A B  ", "A\\B", "A\\ B \\C", "a=b", "\\", "lower", "x" * 101, "A\tB", "*?")
UIDS = ("", "1.2", "1.2.3", " 1.2. 3 ", "1.2\\1.3 ", "01.a", "=CTImageStorage", "=LittleEndianExplicit", "1" * 70)
TAGS = ("(0010,0020)", "(10,20)", "( 0010, 0020)", "(0010,0020)\\(0020,000d)", "(0010,0020)x", "(001800,10630)")

# An element of each VR, and values for it.
VALUES: dict[str, tuple[str, tuple[str, ...]]] = {
    "AE": ("RetrieveAETitle", TEXTS),
    "AS": ("PatientAge", ("042Y", "x", "042Y\\043Y")),
    "AT": ("FrameIncrementPointer", TAGS),
    "CS": ("QueryRetrieveLevel", TEXTS),
    "DA": ("PatientBirthDate", ("20260131", "20260101-20260131", "no date", "2026.01.01", "-20260101 ")),
    "DS": ("PatientWeight", ("1.5", "1.5\\2", " 1.50 ", "x")),
    "DT": ("AcquisitionDateTime", ("20260131101010.5+0100", "x", "2026")),
    "FD": ("DiffusionBValue", DECIMALS),
    "FL": ("ApplicatorOpeningX", (*DECIMALS, "1e39", "-1e39", "1e-50")),
    "IS": ("InstanceNumber", ("1", "-1", "1\\2", "x", " 1 ")),
    "LO": ("PatientID", TEXTS),
    "LT": ("PatientComments", (*TEXTS, "A\nB")),
    "OB": ("EncapsulatedDocument", HEXADECIMALS),
    "OD": ("DoubleFloatPixelData", DECIMALS),
    "OF": ("FloatPixelData", DECIMALS),
    "OL": ("LongPrimitivePointIndexList", NUMBERS),
    "OV": ("ExtendedOffsetTable", NUMBERS),
    "OW": ("RedPaletteColorLookupTableData", HEXADECIMALS),
    "PN": ("PatientName", (*TEXTS, "Yamada^Tarou=A=B", "A^B^C^D^E")),
    "SH": ("AccessionNumber", TEXTS),
    "SL": ("ReferencePixelX0", NUMBERS),
    "SQ": ("ReferencedStudySequence", ("",)),
    "SS": ("TagAngleSecondAxis", NUMBERS),
    "ST": ("InstitutionAddress", TEXTS),
    "SV": ("SelectorSVValue", NUMBERS),
    "TM": ("StudyTime", ("101010", "10", "1010-1020", "x")),
    "UC": ("LongCodeValue", TEXTS),
    "UI": ("StudyInstanceUID", UIDS),
    "UL": ("RegionLocationMinX0", NUMBERS),
    "UR": ("URNCodeValue", ("http://x  ", "a b")),
    "US": ("Rows", NUMBERS),
    "UT": ("TextValue", TEXTS),
    "UV": ("SelectorUVValue", NUMBERS),
    "US or SS": ("SmallestImagePixelValue", ("1", "-1", "40000")),
    "US or OW": ("LUTData", ("1\\2", "ffff", "70000")),
    "OB or OW": ("WaveformData", ("1\\2", "100", "-1")),
}

# Other ways to name an element.
NAMES = (
    *("8,52=A", "0x0008,0X52=A", " 0010,0020=A", "0010,0020 =A", "10, 20=A", "10,+20=A", "00100010,20=A", "10,20X=A"),
    *(
        "10,20,30=A",
        "10,20=A=B",
        "0010,0010",
        "PatientName",
        "OverlayRows=3",
        "6002,0010=3",
        "6000,3000=1",
        "5000,3000=1",
    ),
    *("0009,0010=ACME", "0009,00ff", "0007,0010=x", "ffff,0010=x", "0008,0000=7", "0009,0000=3", "0002,0010=1.2"),
    *("RETIRED_OtherPatientIDs=A", "RETIRED_CurveDimensions=1", "RETIRED_Arbitrary=A", "0020,3104=b", "1010,0004=1"),
    *(
        "0014,3050=1",
        "0028,1101=1\\2\\3",
        "0040,A30A=1.5",
        "0072,0065=a",
        "0008,0001=5",
        "PixelData=1\\2",
        "0000,0002=1.2",
    ),
)
KEYS = [*(f"{name}={value}" for name, values in VALUES.values() for value in values), *NAMES]

REFUSED = (
    *(
        "Rows=",
        "Rows=abc",
        "Rows=1\\",
        "Rows=\\1",
        "Rows=1\\\\2",
        "Rows=--1",
        "Rows=- 1",
        "0018,9087=.",
        "0018,9087=abc",
    ),
    *("0018,9087=1\\", "0028,0009=0018,1063", "0028,0009=PatientID", "0028,0009=(0018,1063)\\", "0042,0011=zz"),
    *("0042,0011=1\\zz", "PixelData=zz", "PixelData=1\\", "0066,0040=x", "0072,0080=1", "ReferencedStudySequence=1"),
    *(
        "PatientsNam=A",
        " PatientID=1",
        "PatientID =1",
        "patientid=1",
        "0008",
        "0010 ,0020=a",
        "=x",
        "",
        "10,zz=1",
        "0x0x10,20=1",
    ),
    *("0009,0100=x", "0009,1001=x", "0009,000f=x", "0010,0003=x", "fffe,e000=", "fffe,e0dd=", "ffff,ffff=x", "OB=1"),
    *("StudyInstanceUID==Foo", "StudyInstanceUID==CTImageStorage\\1.2"),
)

DIFFERENT = {
    "(0010,0020)=A": "tags as people write them",
    "00100020=A": "tags as people write them",
    "OtherPatientIDs=A": "the standard's keyword of a retired element",
    "PatientsName=A": "the name before 2011",
    "NameOfPhysicianReadingStudy=A": "the name before 2011",
    '0029,10,"SIEMENS CSA HEADER"=1\\2': "private elements with their creator",
    "ReferencedStudySequence[0].StudyInstanceUID=1.2": "elements of items",
    "PatientName=Gr\u00fcn": "SpecificCharacterSet is set",
    "7fe0,0003=1": "newer than the dictionary of 3.6.7",
    "GenericGroupLength=1": "a name of DCMTK's, not the standard's",
    "PrivateCreator=A": "a name of DCMTK's, not the standard's",
    "fffc,fffc=00": "padding is no key",
}
SENT_OTHERWISE = {
    "PatientName=Gr\u00fcn",
    "GenericGroupLength=1",
    "PrivateCreator=A",
    '0029,10,"SIEMENS CSA HEADER"=1\\2',  # DCMTK reads up to 0029,0010 and drops the rest of the name
}


def sent_by_dcmtk(keys: Sequence[str], folder: Path) -> tuple[int, str, bytes]:
    """Return the exit code, the error, and the identifier that the archive receives."""

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        received.append(session.identifier)
        session.respond()
        session.expect_release()

    received: list[bytes] = []
    with scripted.archive(script) as archive:
        options = [word for key in keys for word in ("-k", key)]
        code, error = run_dcmtk(*options, *archive.address, folder=folder)
    return code, error, received[0]


def run_dcmtk(*arguments: object, folder: Path) -> tuple[int, str]:
    command = [peers.dcmtk_movescu(), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=peers.quick_environment(), capture_output=True, check=False, timeout=60
    )
    return done.returncode, done.stderr.decode("utf-8", "surrogateescape").partition("error: ")[2].rstrip("\n")


def batches(keys: Iterable[str]) -> list[list[str]]:
    """Spread keys over as few runs as the repeated elements allow."""
    result: list[tuple[set[int], list[str]]] = []
    for key in keys:
        (tag,) = values(make_identifier([key]))
        batch = next((batch for batch in result if tag not in batch[0]), None)
        if batch is None:
            batch = (set(), [])
            result.append(batch)
        batch[0].add(tag)
        batch[1].append(key)
    return [batch for _, batch in result]


@pytest.mark.debian_12("dcmtk")
def test_archive_gets_the_same_bytes_for_every_key(tmp_path: Path) -> None:
    taken = [key for key in KEYS if key not in REFUSED]
    lots = batches(taken)
    assert len(taken) > 300
    assert all(dictionary.vr_of(dictionary.tag_of(name) or 0) == vr for vr, (name, _) in VALUES.items())
    for keys in lots:
        code, error, identifier = sent_by_dcmtk(keys, tmp_path)
        assert (code, error) == (0, "")
        mine, theirs = (list(elements(data)) for data in (sent(make_identifier(keys)), identifier))
        assert [row for row in mine if row not in theirs] == [row for row in theirs if row not in mine] == []
        assert sent(make_identifier(keys)) == identifier


def test_key_refused_by_dcmtk_is_refused_with_the_same_message(tmp_path: Path) -> None:
    def refusal(key: str) -> tuple[int, str]:
        return run_dcmtk("-k", key, "127.0.0.1", "1", folder=tmp_path)

    keys = [key for key in REFUSED if key != "Rows="]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(refusal, keys))
    for key, (code, error) in zip(keys, answers, strict=True):
        with pytest.raises(UsageError) as raised:
            make_identifier([key])
        assert (code, error) == (1, str(raised.value)), key


@pytest.mark.parametrize("key", DIFFERENT, ids=str.encode)
@pytest.mark.debian_12("dcmtk")
def test_listed_differences_exist(key: str, tmp_path: Path) -> None:
    if key in SENT_OTHERWISE:
        theirs: bytes | None = sent_by_dcmtk([key], tmp_path)[2]
    elif key.startswith("fffc"):
        theirs = b"the send breaks"
    else:
        assert run_dcmtk("-k", key, "127.0.0.1", "1", folder=tmp_path)[0] == 1
        theirs = None
    try:
        mine: bytes | None = sent(make_identifier([key]))
    except UsageError:
        mine = None
    assert mine != theirs


def test_left_of_equal_keys_counts_in_any_spelling(tmp_path: Path) -> None:
    keys = ["PatientID=1", "0010,0020=2", "StudyInstanceUID=3", "10,20=4", "0020,000d=5", "QueryRetrieveLevel=STUDY"]
    assert sent_by_dcmtk(keys, tmp_path)[2] == sent(make_identifier(keys))


# Text that both read, as whole files.
DUMPS = {
    "the manual's example": """
        # request all images for the patient with ID=PAT001
        (0008,0052) CS [PATIENT] # QueryRetrieveLevel
        (0010,0020) LO [PAT001] # PatientID
        """,
    "values": """
        (0008,0005) CS [ISO_IR 100]
        (0008,0016) UI =MRImageStorage # 26, 1 SOPClassUID
        ( 00 08 , 0018 )UI[1.2.3] junk
        (0008,0061) CS CT\\MR#comment
        (0010,0020) [a]b] c]  # foo ] bar
        (0010,0021)\tLO abc def   # c
        (0010,0010) PN (no value available)
        (0010,1010) AS []
        (0010,4000) LT  [ leading\\nline ]
        (0028,0010) US 256\\1
        (0028,0011) US [3]
        (0028,0106) SS -1
        (0028,0009) AT (3004,000c)\\( 0028 , 0010 )
        (0018,9087) FD 1.5\\2e3
        (0018,605a) .1
        (0028,1201) OW 0102\\0304
        (0042,0011) OB 01\\02\\03
        (0066,0040) OL 1\\2
        (0072,0082) SV -1
        (10,22) text
        """,
    "out of order and twice": "(0020,000d) UI [1.2]\n(0010,0020) LO [B]\n(0010,0020) LO [A]\n(0008,0052) CS STUDY\n",
    "internal VRs": "(0028,0106) xs 7\n(0014,3050) ox 01\\02\n(0028,0006) ?? 3\n(0008,0062) na =CTImageStorage\n",
    "VRs other than the dictionary's": "(0010,0020) SH [A]\n(0009,0010) LO [ACME]\n(0009,1001) SH [x]\n"
    "(0009,1002) UN 1\\2\n",
    "sequences": """
        (0008,0052) CS [STUDY]
        (0040,0100) SQ (Sequence with explicit length #=2)   # 64, 1
          (fffe,e000) na (Item with explicit length #=2)     # 28, 1 Item
            (0040,0001) AE [AA4]
            (0040,0008) SQ
            (fffe,e000) -
            (0008,0100) SH x
            (fffe,e00d) -
            (fffe,e0dd) -
          (fffe,e00d) na (ItemDelimitationItem for re-encoding)
          (fffe,e000)
          (fffe,e00d)
        (fffe,e0dd) na (SequenceDelimitationItem for re-encod.)
        (0008,1110) SQ
        (fffe,e0dd)
        """,
    "group lengths and file meta": "(0002,0010) UI =LittleEndianExplicit\n(0008,0000) UL 1\n"
    "(0008,0052) CS STUDY\r\n(0010,0010)PN\n",
    "a value from a file": "(0008,0052) CS [IMAGE]\n(0042,0011) OB =value\n(0028,1201) OW =value\n",
}
BROKEN = {
    "no tag": "(0008,0052) CS [STUDY]\nPatientID = 1\n",
    "open bracket": "(0010,0020) LO [A\n",
    "a picture": "(0010,0020) LO <A>\n",
    "no number": "\n(0028,0010) US x\n",
    "no UID": "(0008,0016) UI =Foo\n",
    "no file": "(0042,0011) OB =nowhere\n",
    "no end of an item": "(0040,0100) SQ\n(fffe,e000)\n(0040,0001) AE A\n(fffe,e0dd)\n",
    "no end of a sequence": "(0040,0100) SQ\n(fffe,e000)\n(fffe,e00d)\n",
    "no item": "(0040,0100) SQ\n(0040,0001) AE A\n(fffe,e0dd)\n",
    "a lone end": "(fffe,e0dd)\n",
    "a lone item": "(fffe,e000)\n",
}


def dumped(text: str, folder: Path) -> tuple[str, bytes | None]:
    """Return the file of a text, and the data set that dump2dcm makes of it, None if it refuses it."""
    source, target = folder / "query.dump", folder / "query.dcm"
    source.write_text(text)
    (folder / "value").write_bytes(b"123")
    command = ["dump2dcm", "-q", "+te", str(source), str(target)]
    subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=60)  # it ends with 0 in any case
    return str(source), data_set_of(target.read_bytes())[1] if target.exists() else None


@pytest.mark.parametrize("name", DUMPS)
def test_text_becomes_the_data_set_that_dump2dcm_makes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, theirs = dumped(DUMPS[name], tmp_path)
    assert theirs is not None
    assert sent(make_identifier([], source)) == sent(make_identifier([], str(tmp_path / "query.dcm")))
    assert values(make_identifier([], source))


@pytest.mark.parametrize("name", BROKEN)
def test_text_that_dump2dcm_refuses_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    source, theirs = dumped(BROKEN[name], tmp_path)
    assert theirs is None
    with pytest.raises(UsageError, match=r"line [1-4]: "):
        make_identifier([], source)


def test_examples_of_dcmtk_are_read_as_by_dump2dcm(tmp_path: Path) -> None:
    examples = sorted(Path("/usr/share/doc/dcmtk/examples").glob("wlist*/**/*.dump"))
    for example in examples:
        source, theirs = dumped(example.read_text(), tmp_path)
        assert theirs is not None
        assert sent(make_identifier([], source)) == sent(make_identifier([], str(tmp_path / "query.dcm"))), example
    if not examples:
        pytest.skip("DCMTK's examples are not installed")


LOST = ("(0008,0060) CT\n", "(0010,0010) SMITH\n", "(0010,0020) DAVID\n")


@pytest.mark.parametrize("text", LOST)
def test_value_of_capitals_is_not_mistaken_for_a_vr(text: str, tmp_path: Path) -> None:
    source, theirs = dumped(text, tmp_path)
    (value,) = values(make_identifier([], source)).values()
    assert value.decode().strip() == text.split()[1]
    assert theirs is None or value not in theirs
