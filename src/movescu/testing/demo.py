"""``make demo``: retrieve a study from the test archive into a folder, with the real command.

The archive has pydicom's sample files. A C-FIND chooses the study, ``movescu`` retrieves it in a process of its own,
and pydicom reads and lists the files.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from movescu.dataset.transcoder import values_of
from movescu.dictionary.uids import EXPLICIT_LITTLE, STUDY_ROOT_FIND, uid_name
from movescu.dimse.exchange import Exchange
from movescu.query.identifier import make_identifier
from movescu.services.find import FindSCU
from movescu.testing.archive import Archive
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Silence
from movescu.transport.sockets import connect
from movescu.ul.negotiation import propose, user_information
from movescu.ul.pdu import AssociateRQ

OUTPUT: Final = Path("demo-output")
PAGE: Final = Path("demo-page.html")
AE_TITLE: Final = "DEMO"

_PATIENT: Final = "Doe*"
_STUDY_INSTANCE_UID: Final = 0x0020000D
_NUMBER_OF_STUDY_RELATED_INSTANCES: Final = 0x00201208
_SILENCE: Final = Silence(30.0, "the archive is silent")


class Study(NamedTuple):
    """A match of the C-FIND; ordered by the number of its objects."""

    objects: int
    uid: str


def main() -> int:
    """Run the demonstration. Return the exit code: 0 if every object of the study arrived."""
    with Archive(_sample_files()) as archive:
        _say(f"Archive {archive.ae_title} on {archive.host} port {archive.port} has {len(archive)} objects.")
        study = max(_find_studies(archive), default=None)
        if study is None:
            _say(f"The archive has no study of {_PATIENT}: this version of pydicom has other sample files.")
            return 1
        _say(f"C-FIND: study {study.uid} of {_PATIENT} has {study.objects} objects.\n")
        code = _retrieve(archive, study)
    received = _list_output()
    _say(f"\n{received} of {study.objects} objects arrived; movescu ended with exit code {code}.")
    if PAGE.exists():
        _say(f"A page shows them: {PAGE.resolve().as_uri()}")
    else:
        _say("Install Jinja2, NumPy and Pillow (pip install 'movescu[report]') to get a page as well.")
    return 0 if code == 0 and received == study.objects else 1


def _sample_files() -> Path:
    import pydicom.data  # slow to load, and only the demonstration needs it

    return Path(pydicom.data.__file__).parent / "test_files"


def _find_studies(archive: Archive) -> list[Study]:
    """Query the archive for the studies of the demonstration's patients."""
    keys = [
        "QueryRetrieveLevel=STUDY",
        f"PatientName={_PATIENT}",
        "StudyInstanceUID",
        "NumberOfStudyRelatedInstances",
    ]
    request = AssociateRQ(
        called_ae_title=archive.ae_title,
        calling_ae_title=AE_TITLE,
        contexts=propose([STUDY_ROOT_FIND], [EXPLICIT_LITTLE]),
        user_information=user_information(16384),
    )
    connection = Connection.request(connect(archive.host, archive.port, 30.0), request, 30.0)
    scu = FindSCU(Exchange(connection), connection.contexts[1])
    scu.request(make_identifier(keys).encode(EXPLICIT_LITTLE), _SILENCE)
    matches = [values_of(r.identifier, EXPLICIT_LITTLE) for r in scu.responses(_SILENCE) if r.identifier]
    connection.release(_SILENCE)
    return [
        Study(int(match[_NUMBER_OF_STUDY_RELATED_INSTANCES]), match[_STUDY_INSTANCE_UID].decode().rstrip("\0"))
        for match in matches
    ]


def _retrieve(archive: Archive, study: Study) -> int:
    """Run the command. Return its exit code."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    PAGE.unlink(missing_ok=True)
    port = _free_port()
    archive.destinations[AE_TITLE] = ("127.0.0.1", port)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study.uid}"]
    own = ["--aetitle", AE_TITLE, "--port", str(port), "--output-directory", str(OUTPUT)]
    has_page = all(find_spec(name) is not None for name in ("jinja2", "numpy", "PIL"))
    own += ["--html", str(PAGE), "--thumbnails"] if has_page else []
    peer = ["--call", archive.ae_title, archive.host, str(archive.port)]
    command = [sys.executable, "-m", "movescu", "-v", "--study", *own, *keys, *peer]
    _say(f"$ {subprocess.list2cmdline(command) if os.sep != '/' else shlex.join(command)}\n")
    return subprocess.run(command, check=False).returncode  # noqa: S603 - a list of arguments, all of them ours


def _free_port() -> int:
    """Return a port that is free now; in theory another program may take it before the command does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _list_output() -> int:
    """Print a line for each received file. Return their number."""
    import pydicom

    files = sorted(OUTPUT.iterdir())
    _say(f"\n{OUTPUT}/")
    for file in files:
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        name, modality = str(dataset.get("PatientName", "")), str(dataset.get("Modality", ""))
        size = file.stat().st_size
        _say(f"  {name:<20} {modality:<3} {uid_name(str(dataset.SOPClassUID)):<24} {size:>9,} bytes  {file.name}")
    return len(files)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
