"""PS3.8 table 9-10 against a second transcription: for each state, every event with its action and next state."""

from __future__ import annotations

import pytest
from wire import acceptance, feed, machines, p_data, request

from movescu.errors import LocalProtocolError
from movescu.ul.association import Association
from movescu.ul.pdu import AssociateRJ, ReleaseRP
from movescu.ul.state_table import ACTIONS, TRANSITIONS, Effect, Event, State

# Written down column by column from PS3.8 2024 table 9-10: state -> {event: "action next states"}; absent is blank.
_UNEXPECTED = "AA-8 13"
_ABORTED = "AA-3 1"
_LOST = "AA-4 1"
_USER_ABORT = "AA-1 13"

COLUMNS: dict[int, dict[int, str]] = {
    1: {1: "AE-1 4", 5: "AE-5 2"},
    2: {**dict.fromkeys((3, 4, 10, 12, 13, 19), "AA-1 13"), 6: "AE-6 3 13", 16: "AA-2 1", 17: "AA-5 1", 18: "AA-2 1"},
    3: {
        **dict.fromkeys((3, 4, 6, 10, 12, 13, 19), _UNEXPECTED),
        7: "AE-7 6",
        8: "AE-8 13",
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    4: {2: "AE-2 5", 15: "AA-2 1", 17: _LOST},
    5: {
        3: "AE-3 6",
        4: "AE-4 1",
        **dict.fromkeys((6, 10, 12, 13, 19), _UNEXPECTED),
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    6: {
        **dict.fromkeys((3, 4, 6, 13, 19), _UNEXPECTED),
        9: "DT-1 6",
        10: "DT-2 6",
        11: "AR-1 7",
        12: "AR-2 8",
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    7: {
        **dict.fromkeys((3, 4, 6, 19), _UNEXPECTED),
        10: "AR-6 7",
        12: "AR-8 9 10",
        13: "AR-3 1",
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    8: {
        **dict.fromkeys((3, 4, 6, 10, 12, 13, 19), _UNEXPECTED),
        9: "AR-7 8",
        14: "AR-4 13",
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    9: {
        **dict.fromkeys((3, 4, 6, 10, 12, 13, 19), _UNEXPECTED),
        14: "AR-9 11",
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    10: {
        **dict.fromkeys((3, 4, 6, 10, 12, 19), _UNEXPECTED),
        13: "AR-10 12",
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    11: {
        **dict.fromkeys((3, 4, 6, 10, 12, 19), _UNEXPECTED),
        13: "AR-3 1",
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    12: {
        **dict.fromkeys((3, 4, 6, 10, 12, 13, 19), _UNEXPECTED),
        14: "AR-4 13",
        15: _USER_ABORT,
        16: _ABORTED,
        17: _LOST,
    },
    13: {
        **dict.fromkeys((3, 4, 10, 12, 13), "AA-6 13"),
        6: "AA-7 13",
        16: "AA-2 1",
        17: "AR-5 1",
        18: "AA-2 1",
        19: "AA-7 13",
    },
}


@pytest.mark.row("16")
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_table_has_every_cell_of_the_standard(state: State) -> None:
    assert {int(event): cell for event in Event if (cell := written(state, event))} == COLUMNS[state]


def written(state: State, event: Event) -> str:
    """A cell of the table as ``COLUMNS`` has it, empty if it is blank."""
    name = TRANSITIONS.get((state, event))
    return "" if name is None else f"{name} {' '.join(str(int(s)) for s in ACTIONS[name].next_states)}"


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_blank_cell_is_a_local_error_and_changes_nothing(state: State) -> None:
    for event in Event:
        if event not in COLUMNS[state]:
            machine = Association()
            machine.state = state
            with pytest.raises(LocalProtocolError, match=f"{event.name} is not allowed in Sta{int(state)}"):
                machine._perform(event, pdu=ReleaseRP())
            assert (machine.state, machine.data_to_send(), machine.closed) == (state, b"", False)


@pytest.mark.parametrize(
    "primitive",
    [
        lambda m: m.associate_accept(acceptance()),
        lambda m: m.associate_reject(AssociateRJ(1, 1, 1), 0.0),
        lambda m: m.associate_request(request()),
        lambda m: m.release_response(0.0),
        lambda m: m.artim_expired(0.0),
        lambda m: m.transport_connected(0.0),
    ],
    ids=["accept", "reject", "request", "release-response", "artim", "connected"],
)
def test_primitive_out_of_order_is_refused_and_sends_nothing(primitive: object) -> None:
    requestor, _ = machines()
    assert callable(primitive)
    with pytest.raises(LocalProtocolError):
        primitive(requestor)
    assert (requestor.state, requestor.data_to_send()) == (State.STA6, b"")


def test_fast_path_may_bypass_the_table() -> None:
    """P-DATA-TF in Sta6 only indicates and stays: what ``Association`` takes for granted when it skips the table."""
    action = ACTIONS[TRANSITIONS[State.STA6, Event.P_DATA_TF_PDU]]
    assert action.effects == (Effect.INDICATE,)
    assert action.next_states == (State.STA6,)


def test_fast_path_keeps_the_state() -> None:
    _, acceptor = machines()
    assert feed(acceptor, p_data((1, 2, b"data")).encode()) == [("Fragment", 1, 2, b"data")]
    assert (acceptor.state, acceptor.data_to_send(), acceptor.artim_deadline) == (State.STA6, b"", None)


def test_actions_have_the_effects_of_tables_9_6_to_9_9() -> None:
    """The effects of each action, as short as the standard has them."""
    expected = {
        "AE-1": "connect",
        "AE-2": "send",
        "AE-3": "indicate",
        "AE-4": "indicate close",
        "AE-5": "start_artim",
        "AE-6": "stop_artim judge",
        "AE-7": "send",
        "AE-8": "send start_artim",
        "DT-1": "send",
        "DT-2": "indicate",
        "AR-1": "send",
        "AR-2": "indicate",
        "AR-3": "indicate close",
        "AR-4": "send start_artim",
        "AR-5": "stop_artim",
        "AR-6": "indicate",
        "AR-7": "send",
        "AR-8": "indicate",
        "AR-9": "send",
        "AR-10": "indicate",
        "AA-1": "send_user_abort start_artim",
        "AA-2": "stop_artim close",
        "AA-3": "indicate close",
        "AA-4": "indicate_provider_abort",
        "AA-5": "stop_artim",
        "AA-6": "",
        "AA-7": "send_provider_abort",
        "AA-8": "send_provider_abort indicate_provider_abort start_artim",
    }
    assert {name: " ".join(e.name.lower() for e in action.effects) for name, action in ACTIONS.items()} == expected
