"""Hooks of all tests: a failed test shows the logs of the servers that ran, and pynetdicom's known fault fails no run.

The servers themselves are started by ``peers``, files are made and compared by ``corpus``, both in ``tests/support``,
which ``pyproject.toml`` puts on the path of pytest and mypy: tests import them as plain modules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import peers
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, pytest.TestReport]:
    """Add the logs of servers that a fixture holds; those of a ``with`` block have added a note already."""
    report: pytest.TestReport = yield
    if report.failed:
        report.sections += [(f"server {peer.name}", peer.log_tail()) for peer in peers.running]
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Repeat a failed test once if pynetdicom sends objects to us in it, or if its port was taken, and no other.

    By pytest-rerunfailures. Ports are reserved, but in a run of thousands of tests one is taken nevertheless.
    """
    for item in items:
        if item.get_closest_marker("pynetdicom_sender"):
            item.add_marker(pytest.mark.flaky(reruns=1))
        else:
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["Address already in use"]))


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, None]:
    """Note failed tests by the names that ``--last-failed`` looks for, without the group that pytest-xdist appends."""
    yield
    cache = getattr(session.config, "cache", None)  # None with -p no:cacheprovider
    if cache is not None and not hasattr(session.config, "workerinput"):
        failed: dict[str, bool] = cache.get("cache/lastfailed", {})
        cache.set("cache/lastfailed", {re.sub(r"@[\w-]+$", "", name): True for name in failed})


# With more workers than processors, making an input or running an example can take long without any fault.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
