from __future__ import annotations

from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dimse.messages import CStoreRQ
from movescu.retrieve.tally import Tally
from movescu.services.store import Received
from movescu.storage.incoming_object import Incoming
from movescu.ul.negotiation import Context

CT = "1.2.840.10008.5.1.4.1.1.2"


def incoming(uid: str) -> Incoming:
    return Incoming(CStoreRQ(CT, 1, uid), Context(1, CT, EXPLICIT_LITTLE), "SENDER")


def test_an_object_that_failed_and_came_again_is_no_failure() -> None:
    tally = Tally()
    tally.count(Received(incoming("1.1"), 10, 0xA700))
    tally.count(Received(incoming("1.1"), 10, 0xA700))
    tally.count(Received(incoming("1.2"), 10, 0xC000))
    assert (tally.stored, tally.failed, tally.arrived) == (0, 2, 2)
    tally.count(Received(incoming("1.1"), 10, 0))
    assert (tally.stored, tally.failed, tally.arrived) == (1, 1, 2)
    assert list(tally.failures) == ["1.2"]


def test_what_broke_off_and_came_again_is_whole() -> None:
    tally = Tally()
    tally.count_broken_off(incoming("1.1"))
    tally.count_broken_off(incoming("1.2"))
    tally.count(Received(incoming("1.1"), 10, 0))
    assert tally.broken_off == {"1.2"}


def test_a_flood_of_failures_does_not_fill_the_memory() -> None:
    tally = Tally()
    for number in range(3000):
        tally.count(Received(incoming(f"1.{number}"), 10, 0xA700))
        tally.count_broken_off(incoming(f"2.{number}"))
    assert tally.failed == 3000
    assert len(tally.failures) == len(tally.broken_off) == 1000
