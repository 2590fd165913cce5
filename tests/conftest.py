"""Hooks of all tests: a failed test shows the logs of the servers that ran, and pynetdicom's known fault fails no run.

The servers themselves are started by ``peers``, files are made and compared by ``corpus``, both in ``tests/support``,
which ``pyproject.toml`` puts on the path of pytest and mypy: tests import them as plain modules.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import without

without.begin()  # before anything of movescu is imported

import effort  # noqa: E402 - as above
import peers  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from hypothesis.internal import constants_ast  # noqa: E402
from hypothesis.internal.conjecture import providers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Generator

PROGRAMS = {
    *("Orthanc", "dump2dcm", "echoscu", "findscu", "getscu", "img2dcm", "storescp", "storescu", "xml2dcm", "tcpdmatch"),
    *("chromium", "strace", "openssl", "zsh", "fish", "ip", "mandoc", "man", "setpriv", "prlimit", "unshare"),
    *("slurmctld", "slurmd", "sbatch", "systemd-analyze"),
}
"""Of Debian, beside those of DCMTK that begin with dcm.

``make test`` installs them and sets MOVESCU_PEERS=required; elsewhere tests that need one are skipped.
"""


for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:  # as below nohup, or in the background of a script: inherited by all
        signal.signal(number, handler)

if shutil.which("dcmqrscp") is None:  # then echoscu must not be pynetdicom's, which has other options
    own = os.path.dirname(sys.executable)
    os.environ["PATH"] = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if one != own)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, Any, pytest.TestReport]:
    """Skip a test that finds a program of Debian missing, unless all have to be there; add the logs of servers.

    Of servers that a fixture holds; those of a ``with`` block have added a note already.
    """
    report: pytest.TestReport = yield
    missing = _missing_program(call.excinfo.value) if report.failed and call.excinfo else ""
    if missing and os.environ.get("MOVESCU_PEERS") != "required":
        report.outcome = "skipped"
        report.longrepr = (report.location[0], report.location[1] or 0, f"Skipped: {missing}")
    elif report.failed:
        report.sections += [(f"server {peer.name}", peer.log_tail()) for peer in peers.running]
    return report


def _missing_program(error: BaseException) -> str:
    """Return which program is not installed, empty if the error is another."""
    if isinstance(error, BaseExceptionGroup):
        return _missing_program(error.exceptions[0])
    if isinstance(error, peers.MissingError):
        return str(error)
    name = os.path.basename(str(getattr(error, "filename", ""))) if isinstance(error, FileNotFoundError) else ""
    for note in getattr(error, "__notes__", ()):  # of an archive in another thread
        name = name or "".join(re.findall(r"No such file or directory: '([\w.-]+)'", note)[:1])
    return f"{name} is not installed" if name in PROGRAMS or name.startswith("dcm") else ""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--whole``."""
    parser.addoption("--whole", action="store_true", help="run every case of the tests marked sampled, too")


def _left_out(items: list[pytest.Item]) -> set[pytest.Item]:
    """Return the cases that the samples of long matrices do not have; the same ones in each run.

    Of each test, the cases with the lowest digests are tried: one in n, one at least, of all axes alike.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled") is not None:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out: set[pytest.Item] = set()
    for same in cases.values():
        marker = same[0].get_closest_marker("sampled")
        assert marker is not None
        same.sort(key=lambda case: blake2b(case.name.encode()).digest())
        left_out.update(same[-(-len(same) // marker.args[0]) :])
    return left_out


DEBIAN_12 = {"dcmtk": ("dcmqrscp", "v3.6.7 "), "orthanc": ("Orthanc", " 1.10.1")}
"""Package -> a program of it, and what its ``--version`` has."""


@cache
def _is_of_debian_12(package: str) -> bool:
    program, version = DEBIAN_12[package]
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return True  # the test says what it lacks
    return version in shown


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test about another version of a peer than the one that is installed."""
    for mark in item.iter_markers("debian_12"):
        if not _is_of_debian_12(mark.args[0]):
            pytest.skip(f"about the {mark.args[0]} of Debian 12")


def _group(item: pytest.Item) -> str:
    """Return what one worker is to run all tests of: a module's fixtures that start servers or shells, empty if none.

    Each worker that gets one of their tests would start them.
    """
    if not isinstance(item, pytest.Function) or not {"interop", "cli"} & {*item.path.parts}:
        return ""
    parameters = item.callspec.indices if hasattr(item, "callspec") else {}
    fixtures = item._fixtureinfo.name2fixturedefs
    shared = sorted(name for name, (*_, last) in fixtures.items() if last.scope == "module")
    return "-".join([item.path.stem, *(f"{name}{parameters.get(name, '')}" for name in shared)]) if shared else ""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``sampled`` does, and repeat a failed test once if pynetdicom sends objects to us in it.

    And if its port was taken: ports are reserved, but the kernel may still have given one to a program of this machine
    that is not of the tests. No other test is repeated. By pytest-rerunfailures.
    """
    if not config.getoption("--whole"):
        left_out = _left_out(items)
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=[*left_out])
    for item in items:
        if item.get_closest_marker("xdist_group") is None and (group := _group(item)):
            item.add_marker(pytest.mark.xdist_group(group))
        if any(os.environ.get(without.VARIABLE) in mark.args for mark in item.iter_markers("not_without")):
            item.add_marker(pytest.mark.skip(reason="about what this run is without"))
        if item.get_closest_marker("pynetdicom_sender"):
            item.add_marker(pytest.mark.flaky(reruns=1))
        else:
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["already in use"]))


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, None]:
    """Note failed tests by the names that ``--last-failed`` looks for, without the group that pytest-xdist appends."""
    yield
    cache = getattr(session.config, "cache", None)  # None with -p no:cacheprovider
    if cache is not None and not hasattr(session.config, "workerinput"):
        failed: dict[str, bool] = cache.get("cache/lastfailed", {})
        cache.set("cache/lastfailed", {re.sub(r"@[\w-]+$", "", name): True for name in failed})


def pytest_configure(config: pytest.Config) -> None:
    """Set how much is tried of each property, before the modules of the tests are imported."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        without.begin_processes()  # the workers of pytest-xdist are none of those that lack something
    if config.getoption("--whole"):
        os.environ[effort.VARIABLE] = "whole"
    elif hasattr(providers, "_get_local_constants"):
        # Values are drawn from the constants of our sources, too: to read them all takes seconds in each worker.
        none = constants_ast.Constants()
        providers._get_local_constants = lambda: none
    # With more workers than processors, making an input or running an example can take long without any fault.
    settings.register_profile(
        "suite", deadline=None, max_examples=effort.examples(100), suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("suite")
