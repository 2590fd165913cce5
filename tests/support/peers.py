"""Real DICOM servers for the tests: DCMTK's dcmqrscp and storescp, Orthanc, and pynetdicom's qrscp.

Each launcher is a context manager that starts one server on a reserved port of 127.0.0.1 and in a temporary directory
of its own, yields it once it has answered a C-ECHO, and kills its whole process group at the end. Nothing here has a
fixed port or file name, so tests run side by side. A server's output stands in ``Peer.log()``; it is added as a note to
an exception that leaves the ``with`` block, and ``conftest.py`` shows it with every failed test that has a server up.

Servers run as their makers ship them: ``TCP_NODELAY`` is taken out of their environment (DCMTK and Orthanc read it)
unless a test asks for it, because a stock sender's Nagle delays are a thing movescu has to cope with.
"""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Address = tuple[str, int]

HOST = "127.0.0.1"
START_SECONDS = 30.0  # a loaded machine with two test workers; an idle one needs 0.1 to 0.6 s
STARTS = 3  # on other ports each time
STOP_SECONDS = 10.0  # until the kernel has buried a killed process group
LOAD_SECONDS = 300.0
LOG_TAIL = 4000
DCMTK_VARIABLES = {"TCP_NODELAY", "TCP_BUFFER_LENGTH", "DCMDICTPATH"}  # what DCMTK reads from its environment

P = TypeVar("P", bound="Peer")

running: list[Peer] = []
"""Every server that is up at the moment: ``conftest.py`` shows their logs with a failed test."""

_reserved: list[socket.socket] = []


def free_port() -> int:
    """Reserve a TCP port of this machine for the rest of this process.

    The reservation is a bound socket that never listens. Linux lets a server with ``SO_REUSEADDR`` (every server here
    sets it, and so must ours) bind the same port beside it and listen, but gives the port to nobody who asks for any
    free one: neither ``bind`` to port 0 in another process nor ``connect``. So there is no moment in which another test
    can take it, and until the server listens a connection to it is refused.

    It is reserved on all addresses, of IPv6 too: a server that listens on all of them finds its port taken by any
    connection that leaves from it, such as a browser's to ``::1`` or to another machine.
    """
    reservation = socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reservation.family == socket.AF_INET6:
        reservation.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    reservation.bind(("", 0))
    _reserved.append(reservation)
    port: int = reservation.getsockname()[1]
    return port


@atexit.register
def _give_ports_back() -> None:
    while _reserved:
        _reserved.pop().close()


class PeerError(Exception):
    """A server did not start, or did not do what a test asked of it."""


class MissingError(PeerError):
    """A program is not installed."""


@dataclass(eq=False)
class Peer:
    """A running server: where it listens, what it is called, and the folder that goes when it stops."""

    name: str
    aet: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    lifeline: int  # a pipe's end that every process of the server holds the other end of; at end of file all are gone
    start_seconds: float = 0.0
    host: str = HOST

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens once it is up."""
        return (self.port,)

    @property
    def address(self) -> Address:
        """Host and port, as a launcher's ``destinations`` wants them."""
        return self.host, self.port

    def log(self) -> str:
        """Everything the server wrote to standard output and standard error."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def log_tail(self) -> str:
        """The end of the log, under a heading, for a failure message."""
        return f"end of the log of {self.name} ({self.aet} on port {self.port}):\n{self.log()[-LOG_TAIL:]}"

    def echo(self) -> bool:
        """Whether the server accepts an association and answers C-ECHO."""
        command = ["echoscu", "-q", "-to", "5", "-ta", "5", "-td", "5", "-aec", self.aet, self.host, str(self.port)]
        return _run(command).returncode == 0

    def load(self, files: Iterable[Path]) -> None:
        """Send files with DCMTK's dcmsend, each in its own transfer syntax; raises unless all were stored.

        dcmsend and not storescu, for it proposes what each file is encoded in, so one call takes a mixed lot.
        """
        paths = [str(file) for file in files]
        command = ["dcmsend", "-v", "-dn", "-nuc", "-aec", self.aet, self.host, str(self.port), *paths]
        result = _run(command)
        # Its exit code is 0 even where the server refused objects.
        stored = re.search(r"with status SUCCESS *: (\d+)", result.stdout)
        if result.returncode or not stored or int(stored[1]) != len(paths):
            raise PeerError(f"dcmsend could not load {self.name} (exit code {result.returncode}):\n{result.stdout}")

    def wait_until_up(self) -> None:
        """Return after the first C-ECHO; raise when the process ends before, or is too slow."""
        begun = time.monotonic()
        while not (all(map(_listens, self.ports)) and self.echo()):
            if self._exited(within=0.01):
                raise PeerError(f"{self.name} ended with exit code {self.process.returncode}; {self.log_tail()}")
            if time.monotonic() - begun > START_SECONDS:
                raise PeerError(f"{self.name} gave no answer in {START_SECONDS} s; {self.log_tail()}")
        self.start_seconds = time.monotonic() - begun

    def stop(self) -> None:
        """Kill the process group and wait until no process of it is left.

        At once by SIGKILL: what it stored is thrown away anyway, and Orthanc takes three seconds to end by SIGTERM.
        """
        if not self._all_gone(within=0):  # else the group's number may be another's by now
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        survivors = not self._all_gone(STOP_SECONDS)
        os.close(self.lifeline)
        if survivors:
            raise PeerError(f"a process of {self.name} outlived SIGKILL")

    def _all_gone(self, within: float) -> bool:
        return bool(select.select([self.lifeline], [], [], within)[0])

    def _exited(self, within: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(within)
        return self.process.returncode is not None


@dataclass(eq=False)
class DcmQrScp(Peer):
    """DCMTK's archive."""

    def load(self, files: Iterable[Path]) -> None:
        """Copy files into the storage area and register them with DCMTK's dcmqridx.

        Not by C-STORE: a stock dcmqrscp answers each one 44 ms late (its own Nagle delay), and writes it anew. So what
        it sends is what was loaded, and a thousand objects are there after a second.
        """
        area = self.folder / "area"
        first = len(list(area.iterdir()))
        copies = [shutil.copyfile(file, area / f"{n}.dcm") for n, file in enumerate(files, first)]
        result = _run(["dcmqridx", str(area), *map(str, copies)])
        if result.returncode or re.search(r"^[EF]: ", result.stdout, re.MULTILINE):
            raise PeerError(f"dcmqridx could not register files (exit code {result.returncode}):\n{result.stdout}")


@dataclass(eq=False)
class StoreScp(Peer):
    """DCMTK's storescp: a third party that objects are moved to."""

    @property
    def received(self) -> list[Path]:
        """The files it has stored, sorted by name."""
        return sorted((self.folder / "received").iterdir())


@dataclass(eq=False)
class Orthanc(Peer):
    """Orthanc with its REST interface. It accepts C-FIND and C-MOVE from everyone.

    How to make it open several associations to one destination at once:

    - Each C-MOVE is served over one association of its own, whatever it asks for. In the stock, synchronous mode
      several C-MOVEs run side by side only if they come over several associations (``DicomThreadsCount``, stock 4).
    - With ``SynchronousCMove`` false each C-MOVE-RQ becomes a background job: four requests, one after the other over
      one association, make four associations at once (``ConcurrentJobs``, here 4, stock 2). Mind that each request is
      then answered with success at once, while the objects are still on their way.
    - ``send_at_once`` needs no C-MOVE: it starts one job per study, series or instance through the REST interface.
    """

    http_port: int = 0

    @property
    def ports(self) -> tuple[int, ...]:
        """It answers C-ECHO before it listens for HTTP."""
        return (self.port, self.http_port)

    def rest(self, method: str, path: str, body: object = None) -> Any:  # JSON can be anything
        """One REST call; a body of bytes is sent as it is, anything else as JSON. Returns the JSON of the answer."""
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=LOAD_SECONDS)
        try:
            return _rest(connection, method, path, body)
        finally:
            connection.close()

    def load(self, files: Iterable[Path]) -> None:
        """Upload files through the REST interface, over one connection."""
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=LOAD_SECONDS)
        try:
            for file in files:
                _rest(connection, "POST", "/instances", file.read_bytes())
        finally:
            connection.close()

    def set_destination(self, aet: str, address: Address) -> None:
        """Make an AE title known, or change its address, while Orthanc runs."""
        self.rest("PUT", f"/modalities/{aet}", [aet, *address])

    def send_at_once(self, aet: str, uids: Sequence[str]) -> list[str]:
        """Send what these UIDs name to a destination, one association each, all at once; returns the jobs' IDs."""
        request = {"Synchronous": False, "Permissive": False}
        return [
            self.rest("POST", f"/modalities/{aet}/store", {**request, "Resources": [self._resource(uid)]})["ID"]
            for uid in uids
        ]

    def wait_for_jobs(self, jobs: Iterable[str]) -> list[str]:
        """The end states (``Success``, ``Failure``) of jobs, once all have ended."""
        deadline = time.monotonic() + LOAD_SECONDS
        return [self._end_state(job, deadline) for job in jobs]

    def _end_state(self, job: str, deadline: float) -> str:
        while time.monotonic() < deadline:
            state = str(self.rest("GET", f"/jobs/{job}")["State"])
            if state in ("Success", "Failure"):
                return state
            if self._exited(within=0.02):  # Orthanc cannot be asked to report a job's end
                break
        raise PeerError(f"job {job} of Orthanc did not end; {self.log_tail()}")

    def _resource(self, uid: str) -> str:
        found = self.rest("POST", "/tools/lookup", uid.encode())
        if len(found) != 1:
            raise PeerError(f"Orthanc knows {len(found)} resources with UID {uid}")
        return str(found[0]["ID"])


@contextmanager
def dcmqrscp(
    destinations: Mapping[str, Address] | None = None,
    *,
    aet: str = "DCMQRSCP",
    flags: Sequence[str] = (),
    tcp_nodelay: bool = False,
) -> Iterator[DcmQrScp]:
    """DCMTK's archive. Its move destinations are fixed at the start.

    Stock, it takes and sends uncompressed objects only. One compressed transfer syntax for both ways is chosen by its
    pair of options, such as ``flags=["+xs", "-xs"]`` for JPEG lossless, ``["+xw", "-xw"]`` for JPEG 2000; an archive
    that is so set up can send objects in that syntax, not uncompressed ones to a receiver that prefers it.
    """
    table = enumerate((destinations or {}).items())
    hosts = [f"host{number} = ({name}, {host}, {port})" for number, (name, (host, port)) in table]

    def start(folder: Path) -> DcmQrScp:
        port = free_port()
        area = folder / "area"
        area.mkdir()
        config = folder / "dcmqrscp.cfg"
        config.write_text(
            f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 64\n"
            "HostTable BEGIN\n" + "".join(f"{line}\n" for line in hosts) + "HostTable END\n"
            "VendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\n{aet} {area} RW (500, 1024mb) ANY\nAETable END\n"
        )
        command = ["dcmqrscp", "-v", "-c", str(config), *flags, str(port)]
        process, lifeline = spawn(command, folder, tcp_nodelay=tcp_nodelay)
        return DcmQrScp("dcmqrscp", aet, port, folder, process, lifeline)

    with up("dcmqrscp", start) as peer:
        yield peer


@contextmanager
def orthanc(
    destinations: Mapping[str, Address] | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    aet: str = "ORTHANC",
    tcp_nodelay: bool = False,
) -> Iterator[Orthanc]:
    """Orthanc without plugins; ``overrides`` are settings of its JSON configuration. See the class for more."""

    def start(folder: Path) -> Orthanc:
        port, http_port = free_port(), free_port()
        config = {
            "DicomAet": aet,
            "DicomPort": port,
            "HttpPort": http_port,
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "TemporaryDirectory": str(folder),
            "Plugins": [],
            "DicomModalities": {name: [name, *address] for name, address in (destinations or {}).items()},
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowMove": True,
            "ConcurrentJobs": 4,
            "JobsHistorySize": 1000,
            "SaveJobs": False,
            "SyncStorageArea": False,  # loading a thousand objects would else wait for the disk as often
            **(overrides or {}),
        }
        (folder / "orthanc.json").write_text(json.dumps(config, indent=2))
        process, lifeline = spawn(["Orthanc", str(folder / "orthanc.json")], folder, tcp_nodelay=tcp_nodelay)
        return Orthanc("Orthanc", aet, port, folder, process, lifeline, http_port=http_port)

    with up("orthanc", start) as peer:
        yield peer


@contextmanager
def qrscp(
    destinations: Mapping[str, Address] | None = None, *, aet: str = "QRSCP", flags: Sequence[str] = ()
) -> Iterator[Peer]:
    """pynetdicom's archive, out of this environment. Its move destinations are fixed at the start.

    It takes an object without a patient ID with success and forgets it, sends explicit VR objects as implicit VR where
    it has both of a class, and drops group lengths and trailing padding: load it with made objects of one transfer
    syntax, or compare with these in mind.
    """

    def start(folder: Path) -> Peer:
        port = free_port()
        sections = [f"[{name}]\naddress: {host}\nport: {port}\n" for name, (host, port) in (destinations or {}).items()]
        (folder / "qrscp.ini").write_text(
            f"[DEFAULT]\nae_title: {aet}\nport: {port}\nbind_address: {HOST}\nmax_pdu: 16382\nacse_timeout: 30\n"
            f"dimse_timeout: 30\nnetwork_timeout: 30\ninstance_location: {folder / 'instances'}\n"
            f"database_location: {folder / 'index.sqlite'}\nlog_identifier: False\n" + "".join(sections)
        )
        command = [sys.executable, "-m", "pynetdicom", "qrscp", "-c", str(folder / "qrscp.ini"), *flags]
        process, lifeline = spawn(command, folder)
        return Peer("pynetdicom qrscp", aet, port, folder, process, lifeline)

    with up("qrscp", start) as peer:
        yield peer


@contextmanager
def storescp(
    *, aet: str = "STORESCP", flags: Sequence[str] = ("+xa", "+B"), tcp_nodelay: bool = False
) -> Iterator[StoreScp]:
    """DCMTK's storescp, one process per association. By these flags it takes every transfer syntax and writes data sets
    as they come.
    """

    def start(folder: Path) -> StoreScp:
        port = free_port()
        (folder / "received").mkdir()
        options = ["-v", "--fork", "-aet", aet, "-od", str(folder / "received"), *flags]
        process, lifeline = spawn(["storescp", *options, str(port)], folder, tcp_nodelay=tcp_nodelay)
        return StoreScp("storescp", aet, port, folder, process, lifeline)

    with up("storescp", start) as peer:
        yield peer


def dcmtk_movescu() -> str:
    """DCMTK's command, the oracle; not ours of the same name, which an active virtual environment puts before it."""
    ours = Path(sys.executable).parent
    elsewhere = os.pathsep.join(part for part in os.get_exec_path() if Path(part) != ours)
    found = shutil.which("movescu", path=elsewhere)
    if found is None:
        raise MissingError("DCMTK's movescu is not installed (Debian: package dcmtk)")
    return found


def quick_environment() -> dict[str, str]:
    """The environment for DCMTK tools that only load or ask: without Nagle's algorithm, so without its waits."""
    return {**_stock_environment(), "TCP_NODELAY": "1"}


def _stock_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in DCMTK_VARIABLES}


def require(*programs: str) -> None:
    """Raise ``MissingError`` unless some programs are installed; the test is skipped then."""
    for program in programs:
        if shutil.which(program) is None:
            raise MissingError(f"{program} is not installed")


def spawn(command: Sequence[str], folder: Path, *, tcp_nodelay: bool = False) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server as the leader of a new process group, its output in ``folder/log``; with its lifeline."""
    require(command[0], "dcmqrscp")  # by DCMTK's tools it is asked whether it is up
    lifeline, held_by_server = os.pipe()
    try:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*_die_with_us(), *command],
                cwd=folder,
                env=quick_environment() if tcp_nodelay else _stock_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[held_by_server],
                start_new_session=True,
            )
    except OSError:
        os.close(lifeline)
        raise
    finally:
        os.close(held_by_server)
    return process, lifeline


def _die_with_us() -> list[str]:
    """A prefix that has the kernel kill the server when a test worker is killed and can clean nothing up.

    The signal comes at the end of the thread that started the server, so it is for the main thread only.
    """
    if threading.current_thread() is threading.main_thread() and (setpriv := shutil.which("setpriv")):
        return [setpriv, "--pdeathsig", "KILL", "--"]
    return []


@contextmanager
def up(name: str, start: Callable[[Path], P]) -> Iterator[P]:
    """A server that ``start`` starts in the folder given to it, once it answers; on other ports if one is taken."""
    for attempts_left in range(STARTS - 1, -1, -1):
        with tempfile.TemporaryDirectory(prefix=f"movescu-{name}-") as folder, _running(start(Path(folder))) as peer:
            try:
                peer.wait_until_up()
            except PeerError:
                if attempts_left and "already in use" in peer.log():
                    continue
                raise
            yield peer
            return


@contextmanager
def _running(peer: P) -> Iterator[P]:
    running.append(peer)
    try:
        yield peer
    except BaseException as error:
        error.add_note(peer.log_tail())
        raise
    finally:
        running.remove(peer)
        peer.stop()


def _listens(port: int) -> bool:
    """Whether anybody listens on a port of IPv4, as Linux tells it: no connection is made to find out."""
    with suppress(OSError):
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()
        return any(f":{port:04X} " in line.split(maxsplit=2)[1] + " " and line.split()[3] == "0A" for line in lines[1:])
    return True


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        env=quick_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=LOAD_SECONDS,
    )


def _rest(connection: http.client.HTTPConnection, method: str, path: str, body: object) -> Any:  # JSON
    payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection.request(method, path, payload)
    response = connection.getresponse()
    answer = response.read()
    if response.status >= http.client.BAD_REQUEST:
        raise PeerError(f"Orthanc answered {response.status} to {method} {path}: {answer[:500]!r}")
    return json.loads(answer) if answer.strip() else None
