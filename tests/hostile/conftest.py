"""Every test with a hostile peer takes place in a sandbox, and is held to the invariants when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from get_station import GetStation
from hypothesis import settings
from invariants import Invariants
from setting import Setting
from station import Station

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


settings.register_profile("long", max_examples=20_000, deadline=None)


@pytest.fixture(autouse=True)
def sandbox(tmp_path: Path) -> Iterator[Invariants]:
    """The output directory, and all around it."""
    watched = Invariants(tmp_path)
    yield watched
    watched.check()


@pytest.fixture
def station(sandbox: Invariants) -> Iterator[Station]:
    """A storage SCP over the sandbox."""
    made = Station(sandbox.received)
    yield made
    made.close()


@pytest.fixture(params=[Station, GetStation], ids=["move", "get"])
def either(request: pytest.FixtureRequest, sandbox: Invariants) -> Iterator[Station]:
    """The same, and a client that retrieves by C-GET: for what arrives over an association, whoever requested it."""
    made: Station = request.param(sandbox.received)
    yield made
    made.close()


@pytest.fixture
def setting(sandbox: Invariants) -> Setting:
    """Objects to send, and a command to retrieve them into the sandbox."""
    made = Setting(sandbox.outer)
    sandbox.begin()  # its port is held by a socket for the rest of the process
    return made
