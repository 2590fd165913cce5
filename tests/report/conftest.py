"""One browser for all tests of pages, which run in one worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser import Browser

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()
