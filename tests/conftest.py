"""What all tests share: a failed test shows the logs of the servers that were up.

The servers themselves are started by ``peers``, files are made and compared by ``corpus``, both in ``tests/support``,
which ``pyproject.toml`` puts on the path of pytest and mypy: tests import them as plain modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import peers
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, pytest.TestReport]:
    """Servers that a fixture holds are up when its test fails; those of a ``with`` block have added a note already."""
    report: pytest.TestReport = yield
    if report.failed:
        report.sections += [(f"server {peer.name}", peer.log_tail()) for peer in peers.running]
    return report
