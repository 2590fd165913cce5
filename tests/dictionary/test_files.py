"""Files of DCMDICTPATH define the names of keys and the VRs of implicit VR, as for DCMTK's programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import encoded
import pytest
from dcmconv import Job, convert_all
from hypothesis import given
from hypothesis import strategies as st
from identifiers import sent

from movescu.dataset.transcoder import Encoding, recode, scan
from movescu.dictionary import tags as dictionary
from movescu.dictionary import uids
from movescu.dictionary.files import add_lines, use_dictionaries
from movescu.errors import UsageError
from movescu.query.identifier import make_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN = [*Path("/usr/share").glob("libdcmtk*/dicom.dic"), *Path("/usr/share").glob("libdcmtk*/private.dic")]
needs_dcmtk = pytest.mark.skipif(
    shutil.which("dcmconv") is None or len(DEBIAN) != 2, reason="needs DCMTK's dcmconv and dictionaries (Debian: dcmtk)"
)
ELE = Encoding(uids.EXPLICIT_LITTLE)

ROWS = """# a comment
  # another, indented

(0010,0020)\tLO\tPatientID\t1\tDICOM
  (0010,0010)\tPN\tPatientName
(0010,0040)\tCS\tSex\t1-n
(0010,0040)\tSH\tPatientSex\t1
(0028,0106)\txs\tSmallestImagePixelValue\t1
(0028,3006)\tlt\tLUTData
(0014,3050)\tox\tDarkCurrentCounts
(7FE0,0010)\tpx\tPixelData
(0004,1200)\tup\tOffset\t1
(FFFE,E000)\tna\tItem\t1
(6000-60FF,0010)\tUS\tOverlayRows\t1
(6002-6002,0010)\tUL\tOther\t1
(6000-60FF,0010)\tSS\tOverlayRows\t1
(5000-o-50FF,1030)\tSH\tOdd
(0020,3100-31FF)\tCS\tEven
(0022,3100-u-31FF)\tIS\tAll
(0009,"ACME",01)\tDS\tFirst\t1\tPrivateTag
(0009,"ACME",1002)\tIS\tSecond\t2-2n
(0019-o-0029,"ACME",10-u-1F)\tUI\tThird\t3
(0009,1003)\tST\tNobodys
"""


@pytest.fixture(autouse=True)
def _standard_again() -> Iterator[None]:
    yield
    dictionary.use(None)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "some.dic"
    path.write_text(ROWS)
    return str(path)


VRS = {
    0x00100020: "LO",
    0x00100010: "PN",
    0x00100040: "SH",
    0x00280106: "US or SS",
    0x00283006: "US or SS or OW",
    0x00143050: "OB or OW",
    0x00041200: "UL",
    0xFFFEE000: None,
    0x60000010: "SS",
    0x60020010: "UL",
    0x601E0010: "SS",
    0x60011010: None,
    0x50011030: "SH",
    0x50001030: None,
    0x00203102: "CS",
    0x00203103: None,
    0x00223103: "IS",
    0x00080005: None,
    0x00091003: "ST",
    0x00091001: None,
    0x00100000: "UL",
    0x00090010: "LO",
}


def test_tag_has_the_vr_of_the_dictionary_file(rows: str) -> None:
    use_dictionaries(rows)
    assert {tag: dictionary.vr_of(tag) for tag in VRS} == VRS


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x00091001, "DS"),
        (0x0009FF01, "DS"),
        (0x00091002, "IS"),
        (0x00091102, None),
        (0x00291015, "UI"),
        (0x00391015, None),
    ],
)
def test_private_tag_has_the_vr_of_its_creator_and_block(rows: str, tag: int, vr: str | None) -> None:
    use_dictionaries(rows)
    assert dictionary.private_vr("ACME", tag) == vr
    assert dictionary.private_vr("OTHER", tag) is None


def test_keys_have_the_keywords_of_the_dictionary_file(rows: str) -> None:
    use_dictionaries(rows)
    keys = ["PatientSex=a", "OverlayRows=-1", "Other=5", '0009,01,"ACME"=1.5', "0009,1103=x"]
    with pytest.raises(UsageError, match=r"unknown tag: \(0009,1103\)"):
        make_identifier(keys)
    assert sent(make_identifier([*keys[:-1], "0009,1003=x"])) == b"".join(
        (
            encoded.el(0x00090010, "LO", b"ACME"),
            encoded.el(0x00091001, "DS", b"1.5 "),
            encoded.el(0x00091003, "ST", b"x "),
            encoded.el(0x00100040, "SH", b"a "),
            encoded.el(0x60000010, "SS", b"\xff\xff"),
            encoded.el(0x60020010, "UL", b"\5\0\0\0"),
        )
    )
    for unknown in ("Sex=1", "StudyInstanceUID=1.2", "0008,0052=STUDY", "First=1"):
        with pytest.raises(UsageError):
            make_identifier([unknown])


def test_later_files_override_earlier_ones(rows: str, tmp_path: Path) -> None:
    later = tmp_path / "later.dic"
    later.write_text('(0010,0020)\tSH\tPatientID\n(0008,0052)\tCS\tQueryRetrieveLevel\n(0009,"ACME",01)\tLO\tX\n')
    use_dictionaries(f"{rows}{os.pathsep}{os.pathsep}{later}")
    assert [dictionary.vr_of(tag) for tag in (0x00100020, 0x00100010, 0x00080052)] == ["SH", "PN", "CS"]
    assert dictionary.private_vr("ACME", 0x00091001) == "LO"


@pytest.mark.parametrize("path", [None, ""])
def test_standard_dictionary_applies_without_the_variable(path: str | None) -> None:
    use_dictionaries(path)
    assert dictionary.tag_of("StudyInstanceUID") == 0x0020000D
    assert dictionary.tag_of("PatientSex") == 0x00100040


WRONG = {
    "(0010,0020)\tLO": "too few fields: 2",
    "(0010,0020) LO PatientID": "too few fields: 1",
    "(0010,0020)\tLO\tA\t1\tB\tC": "too many fields: 6",
    "(0010,0020)\tZZ\tA": "bad VR field: ZZ",
    "(0010,0020)\tcs\tA": "bad VR field: cs",
    "0010,0020\tLO\tA": "bad tag field: 0010,0020",
    "(0010)\tLO\tA": "bad tag field: (0010)",
    "(0010,xx20)\tLO\tA": "bad tag field: (0010,xx20)",
    "(0010-x-0020,0020)\tLO\tA": "bad tag field",
    '(0009,"ACME,01)\tLO\tA': "bad tag field",
    "(0010,0020)\tLO\tA\tmany": "bad VM field: many",
}


@pytest.mark.parametrize("line", WRONG)
def test_invalid_line_is_logged_and_the_others_apply(
    line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "wrong.dic"
    path.write_text(f"# first\n{line}\n(0008,0052)\tCS\tLevel\n")
    use_dictionaries(str(path))
    assert dictionary.tag_of("Level") == 0x00080052
    (message,) = caplog.messages
    assert message.startswith(f"dictionary {path}, line 2: {WRONG[line]}")


def test_line_of_blanks_takes_linear_time(tmp_path: Path) -> None:
    """When blanks could match in two ways, these lines took minutes."""
    path = tmp_path / "blank.dic"
    path.write_text(f'(0008,{" " * 200_000}x)\tCS\tA\n( 0008 , 0052 )\tCS\tLevel\n( 0009 , "A B" , 01 )\tCS\tB\n')
    use_dictionaries(str(path))
    assert dictionary.tag_of("Level") == 0x00080052
    assert dictionary.private_vr("A B", 0x00091001) == "CS"


def test_unreadable_file_is_logged_and_the_others_apply(
    rows: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    use_dictionaries(os.pathsep.join((str(tmp_path / "nowhere"), str(tmp_path), rows)))
    assert dictionary.tag_of("PatientSex") == 0x00100040
    assert [message.rpartition(":")[2] for message in caplog.messages] == [
        " No such file or directory",
        " Is a directory",
    ]


@pytest.mark.parametrize("content", ["", "# nothing\n", "hello\n", None])
def test_path_without_usable_dictionary_is_an_error(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "some.dic"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match="no data dictionary loaded, check environment variable: DCMDICTPATH"):
        use_dictionaries(str(path))


@needs_dcmtk
def test_private_elements_are_written_as_by_dcmtk_with_its_dictionaries() -> None:
    use_dictionaries(os.pathsep.join(map(str, DEBIAN)))
    jobs = [Job(encoded.ILE, data, ("+te", "-p")) for data in private_objects()]
    elements = 0
    for job, theirs in zip(jobs, convert_all(jobs), strict=True):
        assert recode(job.data, uids.IMPLICIT_LITTLE, ELE) == theirs.data
        elements += job.data.count(b"\2\0\0\0ab")
    assert elements > 2500


def private_objects() -> Iterator[bytes]:
    """Return a data set for each creator of private.dic, with all its elements in the block stated there."""
    text = DEBIAN[1].read_text(encoding="latin-1")
    found: dict[str, set[tuple[int, int]]] = {}
    for group, creator, element in re.findall(
        r'^\(([0-9a-fA-F]{4})[^,]*,"([^"]+)",([0-9a-fA-F]+)\)', text, re.MULTILINE
    ):
        found.setdefault(creator, set()).add((int(group, 16), int(element, 16)))
    for creator, places in found.items():
        tags = sorted({group << 16 | (element if element >= 0x1000 else 0x1100 | element) for group, element in places})
        blocks = sorted({tag >> 16 << 16 | tag >> 8 & 0xFF for tag in tags} | {tag >> 16 << 16 | 0x11 for tag in tags})
        name = creator.encode() + b" " * (len(creator) & 1)
        both = [
            *((block, name) for block in blocks if block & 0x10000),
            *((tag, b"ab") for tag in tags if tag & 0x10000),
        ]
        yield encoded.encode(encoded.IDENTITY, encoded.IMPLICIT) + b"".join(
            encoded.el(tag, None, b"" if is_sequence(creator, tag) else value) for tag, value in sorted(both)
        )


def is_sequence(creator: str, tag: int) -> bool:
    return tag & 0xFFFF > 0xFF and dictionary.private_vr(creator, tag) == "SQ"


@needs_dcmtk
def test_tags_unknown_to_dcmtk_are_unknown_with_its_dictionaries() -> None:
    known = dictionary.tags().keys()
    use_dictionaries(os.pathsep.join(map(str, DEBIAN)))
    tags = sorted(tag for tag in known if tag > 0x00080000 and tag >> 16 != 0xFFFE and tag != 0x00287FE0)
    data = b"".join(encoded.el(tag, None, b"") for tag in tags)
    (theirs,) = convert_all([Job(encoded.ILE, data, ("+te", "-p"))])
    assert recode(data, uids.IMPLICIT_LITTLE, ELE) == theirs.data


@needs_dcmtk
def test_fast_path_uses_the_dictionary_file() -> None:
    data = encoded.encode(encoded.IDENTITY, encoded.IMPLICIT) + encoded.el(0x00080403, None, b"STUDY   ")
    assert not scan(data, uids.IMPLICIT_LITTLE, Encoding())[1]  # SequenceType or the like: blanks are stripped
    use_dictionaries(os.pathsep.join(map(str, DEBIAN)))
    assert scan(data, uids.IMPLICIT_LITTLE, Encoding())[1]  # UN: they are bytes
    dictionary.use(None)
    assert not scan(data, uids.IMPLICIT_LITTLE, Encoding())[1]


def command(path: str, *arguments: str) -> tuple[int, str]:
    """Run the command with DCMDICTPATH against a closed port of this machine."""
    words = [sys.executable, "-W", "error", "-m", "movescu", "127.0.0.1", "1", *arguments]
    environment = {**os.environ, "DCMDICTPATH": path}
    done = subprocess.run(words, env=environment, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stderr.decode()


def test_command_obeys_the_variable(rows: str, tmp_path: Path) -> None:
    assert command(rows, "-k", "Other=1")[0] == 61
    assert command(rows, "-k", "StudyInstanceUID=1")[0] == 1
    assert command("", "-k", "StudyInstanceUID=1")[0] == 61
    code, said = command(str(tmp_path / "nowhere"), "-k", "PatientID=1")
    assert code == 1
    assert f"E: cannot read dictionary {tmp_path}/nowhere: No such file" in said
    assert "error: no data dictionary loaded" in said


FIELD = st.sampled_from(
    ["(0010,0020)", "(6000-60FF,0010)", '(0009,"A",10)', "LO", "xs", "Name", "1-n", "\t", " ", "#", "x"]
)


@given(st.lists(st.lists(FIELD | st.text(max_size=5)).map("\t".join)))
def test_dictionary_reader_raises_nothing_for_any_line(lines: list[str]) -> None:
    rows = dictionary.Rows()
    add_lines(lines, "any", rows)
    rows.keyword_tags()
    rows.find(0x00100020)
