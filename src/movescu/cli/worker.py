"""``movescu-worker``: a worker of a cluster, which receives objects under one title until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import Any

from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode

_USAGE = """\
usage: movescu-worker TITLE SCHEDULER

Start a worker for movescu --cluster. TITLE is its AE title; the file of the
driver's --ae-pool lists it with host and port. SCHEDULER is the address of a Dask
scheduler, tls://host:port, or the file that it was given by --scheduler-file.
Dask's own settings name keys and certificates: DASK_DISTRIBUTED__COMM__TLS__CA_FILE,
..__WORKER__CERT, ..__WORKER__KEY, ..__CLIENT__CERT, ..__CLIENT__KEY.
Write plain: before SCHEDULER to allow connections without TLS.
"""


def run() -> None:
    """Run a worker with the arguments of the process, and exit; the console script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run a worker and return the exit code."""
    from movescu._runtime.version import VERSION

    if arguments in (["--help"], ["-h"]):
        streams.write(sys.stdout, _USAGE)
        return ExitCode.SUCCESS
    if arguments == ["--version"]:
        streams.write(sys.stdout, f"movescu-worker {VERSION}\n")
        return ExitCode.SUCCESS
    if len(arguments) != 2:
        streams.write(sys.stderr, _USAGE)
        return ExitCode.USAGE
    return _run(*arguments)


def _run(title: str, scheduler: str) -> int:
    from movescu.cohort.cluster.address import ClusterAddress
    from movescu.errors import MovescuError
    from movescu.retrieve.config import check_title

    try:
        check_title("title", title)
        where = ClusterAddress.parse(scheduler)
    except MovescuError as error:
        streams.write(sys.stderr, f"movescu-worker: {error}{f': {error.hint}' if error.hint else ''}\n")
        return ExitCode.USAGE
    if where.local:
        streams.write(sys.stderr, "movescu-worker: local workers are started by movescu --cluster local:N\n")
        return ExitCode.USAGE
    try:
        from movescu.cohort.cluster.engine import address_of, worker

        return asyncio.run(_served(worker, title, address_of(where)))
    except MovescuError as error:
        streams.write(sys.stderr, f"movescu-worker: {error}{f': {error.hint}' if error.hint else ''}\n")
        return ExitCode.CLUSTER_FAILED


async def _served(make: Any, title: str, address: str) -> int:  # noqa: ANN401 - of an untyped package
    """Serve until SIGTERM or SIGINT, or until the scheduler is gone."""
    one = await make(title, address)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    streams.write(sys.stderr, f"movescu-worker {title}: connected to {address}\n")
    finished = asyncio.ensure_future(one.finished())
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((finished, stopped), return_when=asyncio.FIRST_COMPLETED)
    gone = finished.done() and not stopping.is_set()
    with contextlib.suppress(Exception):
        await one.close()
    if gone:
        streams.write(sys.stderr, f"movescu-worker {title}: the scheduler at {address} is gone\n")
    return ExitCode.CLUSTER_FAILED if gone else ExitCode.SUCCESS
