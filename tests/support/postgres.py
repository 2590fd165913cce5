"""A private PostgreSQL server for the tests: Debian's, on a Unix socket of its own, one for each process of tests.

It can be killed, stopped, continued and started again. Each journal has a schema of its own there.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from functools import cache
from typing import Any

import peers

PATIENCE = 30.0
_READY = "database system is ready to accept connections"
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # what a process wrote stays when it is killed
    "shared_buffers": "4MB",
    "max_connections": "30",
    "autovacuum": "off",
    "jit": "off",
    "max_wal_senders": "0",
}


class Postgres:
    """A server; its folder goes with it."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="movescu-postgres-")
        self._data = os.path.join(self.folder, "data")
        self._journals = 0
        self.log = ""
        """Its log since it was started."""
        self._as = _user()
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        options = ["-U", "movescu", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        made = [_program("initdb"), "-D", self._data, *options]
        subprocess.run(made, check=True, capture_output=True, cwd=self.folder, **self._as)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self.log = ""
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        self._process = subprocess.Popen(
            [_program("postgres"), "-D", self._data, "-k", self.folder, *settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            start_new_session=True,
            **self._as,
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, ready), daemon=True)
        self._reader.start()
        if not ready.wait(PATIENCE) or self._process.poll() is not None:
            raise peers.PeerError(f"PostgreSQL has not started:\n{self.log}")

    def _read(self, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        """Read the log, to the end of the last process that has it."""
        assert process.stderr is not None
        with process.stderr as log:
            for line in log:
                self.log += line.decode(errors="replace")
                if _READY in self.log:
                    ready.set()
        ready.set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, each of which has a process group of its own."""
        assert self._process is not None
        processes = [self._process.pid, *_children_of(self._process.pid)]
        for one in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, number)

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        assert self._process is not None
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()

    def restore(self) -> None:
        """Have it run, if it was killed or stopped."""
        assert self._process is not None
        self.signal(signal.SIGCONT)
        if self._process.poll() is not None or not self._accepts():
            self.kill()
            self.start()

    def _accepts(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def close(self) -> None:
        """Kill it, and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, schema: str = "") -> str:
        """Return the URL of the database, or of a schema."""
        return f"postgresql://movescu@/postgres?host={self.folder}" + (schema and f"&options=-csearch_path%3D{schema}")

    def schema(self) -> str:
        """Return the name of a new schema."""
        self._journals += 1
        name = f"journal{self._journals}"
        self.execute(f"CREATE SCHEMA {name}")
        return name

    def journal(self) -> str:
        """Return the URL of a new journal."""
        return self.url(self.schema())

    def execute(self, statement: str, url: str = "") -> list[Any]:
        """Execute a statement, beside the runs; return its rows."""
        import psycopg

        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            result = connection.execute(statement.encode())
            return result.fetchall() if result.description else []


@cache
def server() -> Postgres:
    """Return the server of this process, which starts it when it is first needed."""
    started = Postgres()
    atexit.register(started.close)
    return started


def _program(name: str) -> str:
    """Return the path of a program of PostgreSQL: Debian keeps them off the PATH."""
    found = shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
    if found is None:
        raise peers.MissingError(f"{name} (PostgreSQL) is not installed")
    return found


def _user() -> dict[str, Any]:
    """Return the user to run it as: it refuses to run as root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise peers.MissingError("there is no user to run PostgreSQL as")


def _children_of(parent: int) -> list[int]:
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
            if int(file.read().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.split("/")[2]))
    return found
