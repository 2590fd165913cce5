"""What an entry has lost to another worker's object of the same UID."""

from __future__ import annotations

from typing import TYPE_CHECKING

import corpus

from movescu.cohort.replaced_objects import REPLACED, SharedObject, loss_of

if TYPE_CHECKING:
    from pathlib import Path


def test_entry_has_an_object_only_if_its_file_is_of_one_of_its_studies(tmp_path: Path) -> None:
    [made] = corpus.make_study(tmp_path, instances=1, size=100)
    here = SharedObject("key", (made.study_uid,), made.instance_uid, made.path.name)
    assert loss_of(here, (), str(tmp_path)) == ""
    assert loss_of(here._replace(studies=("1.2", made.study_uid)), (), str(tmp_path)) == ""
    assert loss_of(here._replace(studies=("1.2",)), (made.study_uid,), str(tmp_path)) == REPLACED
    assert loss_of(here._replace(path="gone"), (), str(tmp_path)) == REPLACED


def test_keys_tell_the_study_where_the_archive_listed_none(tmp_path: Path) -> None:
    [made] = corpus.make_study(tmp_path, instances=1, size=100)
    unlisted = SharedObject("key", (), made.instance_uid, made.path.name)
    assert loss_of(unlisted, (made.study_uid,), str(tmp_path)) == ""
    assert loss_of(unlisted, ("1.2",), str(tmp_path)) == REPLACED
    assert loss_of(unlisted, (), str(tmp_path)), "a patient's entry, say: whose object it is, nobody knows"
