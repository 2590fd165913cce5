from __future__ import annotations

from movescu.retrieval.config import RetrieveOptions


def test_an_empty_move_destination_is_not_replaced_by_our_own_title() -> None:
    assert RetrieveOptions("archive", 104, move_destination="").destination == ""
    assert RetrieveOptions("archive", 104).destination == "MOVESCU"
