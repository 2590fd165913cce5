"""The programs to compare: how to run each as the receiver of one C-MOVE or C-GET, and the cost of a run.

These are ours, DCMTK's movescu and getscu as installed and with ``TCP_NODELAY=1`` in their environment ("tuned"),
pynetdicom's movescu, and the floors: ``floor.py``, and curl, which fetches the same bytes by HTTP/1.1.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import sender

from movescu.dictionary.uids import EXPLICIT_LITTLE, STUDY_ROOT_MOVE
from movescu.dimse.messages import CMoveRQ, CStoreRSP, encode_command
from movescu.ul.negotiation import AcceptorPolicy, answer, propose, user_information
from movescu.ul.pdu import AssociateRQ, PDataTF, PresentationDataValue, ProposedContext, ReleaseRP, ReleaseRQ

HERE = Path(__file__).parent
TMPFS = "/dev/shm"
DEBIAN = "/usr/bin/python3"


def interpreter() -> str:
    """Return the interpreter that runs the receivers: Debian's, which users have, if it runs what is installed here.

    Another one before it on the PATH may have been built without optimization, and take a quarter more.
    """
    version = f"import sys; print(sys.version_info[:2] == {tuple(sys.version_info[:2])})"
    same = Path(DEBIAN).exists() and subprocess.run(
        [DEBIAN, "-c", version], capture_output=True, text=True, check=False
    )
    return DEBIAN if same and same.stdout.strip() == "True" else sys.executable


PYTHON = interpreter()


@dataclass(frozen=True)
class Cost:
    """Cost of a run: ``seconds`` from the first object to the last response, processor seconds and peak KiB."""

    seconds: float
    processor: float
    peak: int


@dataclass(frozen=True)
class Receiver:
    """A program and its options."""

    name: str
    program: str
    options: tuple[str, ...] = ()
    module: tuple[str, ...] = ("-m", "movescu")

    def command(self, port: int, folder: str, archive: tuple[str, int], aet: str, keys: tuple[str, ...]) -> list[str]:
        """Return the command line of a retrieve by Study Root."""
        common = ["-S", "-aet", "BENCH", "-aec", aet, *keys, archive[0], str(archive[1])]
        if self.program == "pynetdicom":
            common[common.index("-aet") + 1 :] = ["BENCH", "-aec", aet, "-aem", "BENCH", *keys, *map(str, archive)]
            python = [PYTHON, "-m", "pynetdicom", "movescu", "-q", "--store", "--store-port", str(port)]
            return [*python, "-od", folder, *common]
        if self.program.startswith("getscu"):
            return ["getscu", "-od", folder, *common]
        if self.program == "ours by C-GET":
            return [PYTHON, *self.module, "--retrieve", "get", "-od", folder, *self.options, *common]
        start = [_dcmtk()] if self.program.startswith("dcmtk") else [PYTHON, *self.module]
        return [*start, "+P", str(port), "-od", folder, *self.options, *common]

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the process."""
        tuned = {"TCP_NODELAY": "1"} if self.program in ("dcmtk tuned", "getscu tuned") else {}
        paths = {"PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), sysconfig.get_path("purelib")])}
        return {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"} | tuned | paths


def _dcmtk() -> str:
    found = shutil.which("movescu", path="/usr/bin:/usr/local/bin")
    if found is None:
        raise SystemExit("DCMTK's movescu is not installed (Debian: dcmtk)")
    return found


def profiled(report: Path) -> Receiver:
    """Return our program under the standard library's profiler, which writes the time of its threads to ``report``."""
    return Receiver("ours, profiled", "ours", module=(str(HERE / "profiled.py"), str(report)))


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with sender.socket.socket() as probe:
        probe.bind((sender.HOST, 0))
        return int(probe.getsockname()[1])


def run_minimal(receiver: Receiver, work: sender.Work, folder: str, pdu: int) -> Cost:
    """Receive from the minimal sender; ``pdu`` is the largest PDU that the receiver announces, in bytes."""
    if receiver.program == "curl":
        return run_curl(receiver, work, folder)
    port = free_port()
    archive = sender.Archive(work, port)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        if receiver.program == "floor":
            command, stdin = (
                [PYTHON, str(HERE / "floor.py")],
                json.dumps(_floor(work, port, archive, place, pdu)),
            )
        else:
            keys = ("-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.3")
            command = receiver.command(port, place, (sender.HOST, archive.port), "ANY", keys)
            if receiver.program != "pynetdicom":
                command[-2:-2] = ["-pdu", str(pdu)]
            stdin = ""
        cost = _measure(command, receiver.environment, place, stdin)
        seconds = archive.finish()
        count = _files(place)
    if count != work.count and "--ignore" not in receiver.options:
        raise SystemExit(f"{receiver.name}: {count} files instead of {work.count}")
    return Cost(seconds, cost.processor, cost.peak)


def run_curl(receiver: Receiver, work: sender.Work, folder: str) -> Cost:
    """Fetch the same objects by HTTP/1.1, over one connection."""
    server = sender.WebServer(work)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        urls = f"http://{sender.HOST}:{server.port}/[1-{work.count}]"
        cost = _measure(["curl", "--silent", "--output", f"{place}/#1", urls], receiver.environment, place)
        seconds = server.finish()
        count = _files(place)
    if count != work.count:
        raise SystemExit(f"{receiver.name}: {count} files instead of {work.count}")
    return Cost(seconds, cost.processor, cost.peak)


def run_server(
    receiver: Receiver, server: tuple[str, int, str], port: int, study: str, count: int, folder: str
) -> Cost:
    """Receive a study from a real server (host, port, AE title); the whole process is timed."""
    keys = ("-k", "0008,0052=STUDY", "-k", f"0020,000d={study}")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        cost = _measure(receiver.command(port, place, server[:2], server[2], keys), receiver.environment, place)
        found = _files(place)
    if found != count:
        raise SystemExit(f"{receiver.name}: {found} files instead of {count}")
    return cost


def _files(folder: str) -> int:
    """Count the objects below a folder."""
    return sum(not name.startswith(".movescu-") for _, _, names in os.walk(folder) for name in names)


# Runs a command and writes its peak to a file: measured from here, the peak would include this program's own.
_PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def _measure(command: list[str], environment: dict[str, str], folder: str, stdin: str = "") -> Cost:
    """Run a command in a folder: with +B, DCMTK stores there, whatever -od says."""
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile("r") as peak:
        cost = _run([sys.executable, "-S", "-c", _PEAK, peak.name, *command], environment, folder, stdin)
        return Cost(time.perf_counter() - start, cost, int(peak.read()))


def _run(command: list[str], environment: dict[str, str], folder: str, stdin: str) -> float:
    """Run a command to its end. Return the processor seconds."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=errors, stderr=errors
        )
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        process.stdin.write(stdin.encode())
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command[5:])} ended with {process.returncode}:\n{errors.read().decode()}")
    return usage.ru_utime + usage.ru_stime


def _floor(work: sender.Work, port: int, archive: sender.Archive, folder: str, pdu: int) -> dict[str, object]:
    """Return the input of the floor: constant bytes, and the length of a message."""
    store_rq = AssociateRQ("ANY", "SENDER", (ProposedContext(1, sender.CT, (work.syntax.uid,)),), user_information(0))
    policy = AcceptorPolicy(lambda _: True, (work.syntax,), pdu)
    move_rq = AssociateRQ("ANY", "FLOOR", propose([STUDY_ROOT_MOVE], [EXPLICIT_LITTLE]), user_information(16384))
    response = encode_command(CStoreRSP(1, 0, sender.CT, "1.2.826.0.1.000000000000"))
    move = [(3, encode_command(CMoveRQ(STUDY_ROOT_MOVE, 1, "FLOOR"))), (2, sender.element(8, 0x52, b"CS", b"STUDY"))]
    constants = {
        "associate_rq": move_rq.encode(),
        "move_rq": b"".join(PDataTF((PresentationDataValue(1, control, data),)).encode() for control, data in move),
        "associate_ac": answer(store_rq, policy).encode(),
        "store_rsp": PDataTF((PresentationDataValue(1, 3, response),)).encode(),
        "release_rq": ReleaseRQ().encode(),
        "release_rp": ReleaseRP().encode(),
    }
    return {
        "constants": {name: data.hex() for name, data in constants.items()},
        "host": sender.HOST,
        "port": port,
        "archive": archive.port,
        "folder": folder,
        "length": sender.message_length(work, pdu),
        "associations": work.associations,
    }
