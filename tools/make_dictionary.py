"""Make the dictionary files of ``src/movescu/dictionary/data`` from pydicom's public and private dictionaries.

Run ``python tools/make_dictionary.py`` with pydicom and DCMTK 3.6.7 installed. It writes ``tags.txt``,
``keywords.txt``, ``repeaters.txt``, ``private.txt`` and ``uids.txt``; ``movescu.dictionary.tags`` describes and reads
them. The names that DCMTK's tools print instead of UIDs come from DCMTK itself.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import pydicom
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._private_dict import private_dictionaries
from pydicom._uid_dict import UID_dictionary

DATA = Path(__file__).resolve().parent.parent / "src" / "movescu" / "dictionary" / "data"
SOURCE = f"# Made by tools/make_dictionary.py from pydicom {pydicom.__version__}; do not edit.\n"

# How the private dictionary spells an ambiguous VR, and how PS3.6 does.
AMBIGUOUS = {"OB_OW": "OB or OW"}


def write(name: str, lines: list[str]) -> None:
    """Write one data file, below a line that names its source."""
    DATA.joinpath(name).write_text(SOURCE + "".join(line + "\n" for line in lines), encoding="utf-8")
    print(f"{name}: {len(lines)} lines")


def public() -> None:
    """Write the elements of PS3.6, without the rows that it only reserves, which have no keyword."""
    rows = {tag: row for tag, row in DicomDictionary.items() if row[4] and row[0] != "NONE"}
    by_vr: dict[str, list[int]] = defaultdict(list)
    for tag, row in sorted(rows.items()):
        by_vr[row[0]].append(tag)
    write("tags.txt", [f"{vr}\t{''.join(f'{tag:08x}' for tag in tags)}" for vr, tags in sorted(by_vr.items())])
    write("keywords.txt", [f"{tag:08x} {row[1]} {row[4]}" for tag, row in sorted(rows.items())])
    write("repeaters.txt", [f"{tag.lower()}\t{row[0]}\t{row[1]}\t{row[4]}" for tag, row in RepeatersDictionary.items()])


def private() -> None:
    """Write, for each creator and VR, group and last byte of the elements; UN has no information and is left out.

    pydicom has the block as ``xx`` in most rows, and as the block of its source in some; the former have precedence.
    """
    lines = []
    for creator, rows in sorted(private_dictionaries.items()):
        found: dict[str, str] = {}
        for key, row in sorted(rows.items(), key=lambda item: (item[0][4:6] != "xx", item[0])):
            vr = AMBIGUOUS.get(row[0], row[0])
            if vr != "UN" and "x" not in key[:4] + key[6:]:
                found.setdefault((key[:4] + key[6:]).lower(), vr)
        by_vr: dict[str, list[str]] = defaultdict(list)
        for place, vr in found.items():
            by_vr[vr].append(place)
        if by_vr:
            lines.append("\t".join([creator, *(f"{vr}={''.join(sorted(p))}" for vr, p in sorted(by_vr.items()))]))
    write("private.txt", lines)


def dcmtk_names(uids: list[str]) -> list[str]:
    """Return DCMTK's names of UIDs; an empty one if DCMTK has none."""
    text = "".join(f"(fffe,e000) -\n(0008,0018) UI [{uid}]\n(fffe,e00d) -\n" for uid in uids)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "uids.dump", Path(folder) / "uids.dcm"
        source.write_text(f"(0040,0100) SQ\n{text}(fffe,e0dd) -\n", encoding="utf-8")
        subprocess.run(["dump2dcm", "-q", "-F", source, target], check=True)  # noqa: S603, S607 - a tool for developers
        dumped = subprocess.run(["dcmdump", "-q", "-f", "+L", target], check=True, capture_output=True, text=True)  # noqa: S603, S607 - as above
    values = re.findall(r"\(0008,0018\) UI (\S+)", dumped.stdout)
    return [value[1:] if value.startswith("=") else "" for value in values]


def uids() -> None:
    """Write the UIDs of PS3.6 with their keywords, and with DCMTK's names if they differ."""
    rows = [(uid, row[4]) for uid, row in UID_dictionary.items()]
    named = zip(rows, dcmtk_names([uid for uid, _ in rows]), strict=True)
    lines = [" ".join(dict.fromkeys(filter(None, (uid, keyword, name)))) for (uid, keyword), name in named]
    write("uids.txt", [line for line in lines if " " in line])


if __name__ == "__main__":
    public()
    private()
    uids()
