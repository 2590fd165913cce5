"""Associations between two retrieves: none is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from movescu.cohort.client import Client
from movescu.errors import PeerError
from movescu.retrieve.config import AE, Config, Request
from movescu.retrieve.idle_associations import IdleAssociations
from movescu.testing import Archive

if TYPE_CHECKING:
    from pathlib import Path


def test_each_association_is_closed_though_the_archive_confirms_the_release_of_none(tmp_path: Path) -> None:
    with Archive(tmp_path, {}) as archive:
        config = Config(AE(archive.host, archive.port), request=Request(model="STUDY"))
        idle = IdleAssociations()
        with Client.configured(config, None) as client:
            open_ones = [client.association() for _ in range(3)]
            for association in open_ones:
                association.open()
                idle.add(association, config)
            archive.close()
            with pytest.raises(PeerError):
                idle.release()
            assert not any(association.is_open for association in open_ones)
