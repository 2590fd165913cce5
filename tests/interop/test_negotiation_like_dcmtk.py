"""What DCMTK's movescu and ours accept and propose, for every option that has a say in it, context by context.

As acceptor: both listen with the same options and are asked for the same associations. As requestor: what both send to
an archive is caught and compared, down to the bytes of the C-MOVE request. A script that names one of these options
must get the same objects, in the same encoding, from either program. Where ours takes more, the list stands here, with
the reason; ``docs/differences.md`` tells the user.
"""

from __future__ import annotations

import itertools
import random
import zlib
from typing import TYPE_CHECKING

import pytest
from command import dcmtk, movescu
from negotiating import KEY, answers, by_context, catch, requests

from movescu._runtime import version
from movescu._runtime.record import replace
from movescu.cli.options.table import OPTIONS
from movescu.dictionary.uids import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_MOVE,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    storage_classes,
)
from movescu.ul.negotiation import user_information
from movescu.ul.pdu import AssociateAC, AssociateRQ
from movescu.ul.user_information import CommonExtendedNegotiation, ExtendedNegotiation, RoleSelection, UserIdentity

if TYPE_CHECKING:
    from pathlib import Path

    from negotiating import Answer

CT = "1.2.840.10008.5.1.4.1.1.2"
STORAGE_SERVICE = "1.2.840.10008.4.2"
UNKNOWN = "1.2.826.0.1.3680043.8.498.1"

BEYOND_3_6_7 = {
    *("1.2.840.10008.5.1.4.43.1", "1.2.840.10008.5.1.4.44.1", "1.2.840.10008.5.1.4.45.1"),  # implant templates, 2014
    *("1.2.840.10008.5.1.4.38.1", "1.2.840.10008.5.1.4.39.1"),  # hanging protocols and color palettes
    *(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("6.3", "9.1.4", "9.100.1", "9.100.2", "11.12")),
    *(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("66.7", "66.8", "77.1.8", "77.1.9", "88.77")),
    *(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("200.1", "200.3", "200.7", "201.1")),
    *(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("481.23", "481.24", "481.25", "601.3", "601.4", "601.5")),
}
"""Storage classes of the standard that 3.6.7 does not take: most are younger than it, the others it leaves out."""

KNOWN_TO_3_6_7 = [
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 70, 80, 81, 90, 91, *range(100, 109))),
    "1.2.840.10008.1.2.5",
]
"""Transfer syntaxes that 3.6.7 takes by one option or another; ours takes all that there are by ``+xa``."""

OFFERED = [*TRANSFER_SYNTAXES, "1.2.840.113619.5.2", UNKNOWN]  # two of them private

PREFERENCES = [option for option in OPTIONS if option.field == "preferred"]


def both(tmp_path: Path, asked: list[AssociateRQ], *options: str) -> tuple[list[Answer], list[Answer]]:
    """The answers of DCMTK's program and of ours."""
    return answers(dcmtk, asked, *options, folder=tmp_path), answers(movescu, asked, *options, folder=tmp_path)


def assert_alike(
    asked: list[AssociateRQ], theirs: list[Answer], ours: list[Answer], *, all_syntaxes: bool = False
) -> None:
    """Hold each context's answer against DCMTK's; what is listed above may be accepted where DCMTK does not."""
    expected, found = by_context(asked, theirs), by_context(asked, ours)
    for (number, context_id), (result, syntax) in found.items():
        [context] = [c for c in asked[number].contexts if c.context_id == context_id]
        if context.abstract_syntax in BEYOND_3_6_7:
            assert expected[number, context_id][0] == 3, context
            assert result in (0, 4), context
        elif all_syntaxes and set(context.transfer_syntaxes) <= set(TRANSFER_SYNTAXES) - set(KNOWN_TO_3_6_7):
            assert expected[number, context_id][0] == 4, context
            assert result == 0, context
        else:
            assert (result, syntax) == expected[number, context_id], context


def orders(syntaxes: list[str]) -> list[list[str]]:
    """Syntaxes in their order, reversed, and in some others; and every two of them."""
    shuffle = random.Random(4).sample
    return [
        syntaxes,
        syntaxes[::-1],
        *(shuffle(syntaxes, len(syntaxes)) for _ in range(10)),
        *(shuffle(syntaxes, 3) for _ in range(40)),
        *([a, b] for a, b in itertools.permutations(syntaxes, 2)),
    ]


@pytest.mark.parametrize("option", PREFERENCES, ids=lambda option: option.short)
@pytest.mark.sampled(6)
@pytest.mark.debian_12("dcmtk")
def test_each_preference_takes_what_dcmtks_takes_in_the_transfer_syntax_that_dcmtks_chooses(
    option: object, tmp_path: Path
) -> None:
    option = next(entry for entry in PREFERENCES if entry is option)
    assert isinstance(option.value, tuple)
    first = option.value[0].uid
    asked = requests(
        [
            *((uid, [first]) for uid in storage_classes()),
            *((CT, [syntax]) for syntax in OFFERED),
            *((CT, order) for order in orders(KNOWN_TO_3_6_7)),
            *((uid, order) for uid in (VERIFICATION, UNKNOWN, PATIENT_ROOT_FIND) for order in (OFFERED[:4], [first])),
        ]
    )
    assert len(asked) > 4  # more contexts than an association has: nothing is carried over to the next one
    assert_alike(asked, *both(tmp_path, asked, option.short), all_syntaxes=option.short == "+xa")


@pytest.mark.parametrize("options", [(), ("+xa",)], ids=["default", "+xa"])
@pytest.mark.debian_12("dcmtk")
def test_every_class_in_every_transfer_syntax_is_answered_as_dcmtks_answers_it(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    offered = OFFERED if options else [*OFFERED[:6], OFFERED[-1]]
    asked = requests((uid, [syntax]) for uid in storage_classes() for syntax in offered)
    assert_alike(asked, *both(tmp_path, asked, *options), all_syntaxes=bool(options))


def test_short_and_a_long_name_of_a_preference_are_the_same_to_both(tmp_path: Path) -> None:
    asked = requests((CT, [syntax]) for syntax in OFFERED)
    long = answers(movescu, asked, "--prefer-lossless", folder=tmp_path)
    assert_alike(asked, answers(dcmtk, asked, "--prefer-lossless", folder=tmp_path), long)
    assert by_context(asked, long) == by_context(asked, answers(movescu, asked, "+xs", folder=tmp_path))


def odd_requests() -> dict[str, AssociateRQ]:
    """Requests whose contexts are plain, and all around them is not."""
    [plain] = requests([(CT, [EXPLICIT_LITTLE.uid]), (VERIFICATION, [IMPLICIT_LITTLE.uid]), (UNKNOWN, OFFERED[:9])])
    said = plain.user_information
    items = {
        "role of SCU": {"role_selections": (RoleSelection(CT, scu_role=True, scp_role=False),)},
        "role of SCP": {"role_selections": (RoleSelection(CT, scu_role=False, scp_role=True),)},
        "both roles, and one of a class that is not proposed": {
            "role_selections": tuple(RoleSelection(uid, scu_role=True, scp_role=True) for uid in (CT, "1.2.3"))
        },
        "extended negotiation": {"extended_negotiations": (ExtendedNegotiation(CT, bytes((2, 0, 3, 0, 1, 0))),)},
        "common extended negotiation": {
            "common_extended_negotiations": (CommonExtendedNegotiation(CT, STORAGE_SERVICE, ("1.2.3",)),)
        },
        "a window of operations": {"asynchronous_operations": (7, 3)},
        "a user, and no answer wanted": {"user_identity": UserIdentity(1, b"someone")},
        "a user, and an answer wanted": {"user_identity": UserIdentity(2, b"someone", b"-", True)},  # noqa: FBT003 - the item's fields
        "no limit": {"maximum_length": 0},
        "no implementation": {"implementation_class_uid": "", "implementation_version_name": ""},
    }
    return {
        **{name: replace(plain, user_information=replace(said, **fields)) for name, fields in items.items()},  # type: ignore[arg-type] # each field with its own type
        "another title": replace(plain, called_ae_title="SOMEONE ELSE", calling_ae_title="who?"),
        "another application context": replace(plain, application_context="1.2.3"),
        "another version of the protocol": replace(plain, protocol_version=2),
        "two versions of the protocol": replace(plain, protocol_version=3),
    }


def test_what_else_a_request_brings_changes_nothing_about_its_contexts(tmp_path: Path) -> None:
    asked = odd_requests()
    theirs, ours = both(tmp_path, list(asked.values()))
    for name, request, their, our in zip(asked, asked.values(), theirs, ours, strict=True):
        if isinstance(their, AssociateAC):
            assert_alike([request], [their], [our])
            assert isinstance(our, AssociateAC)
            assert our.user_information.maximum_length == their.user_information.maximum_length, name
            assert our.user_information.extended_negotiations == their.user_information.extended_negotiations, name
            assert our.user_information.user_identity_response == their.user_information.user_identity_response, name
        else:
            assert our == their, name
    # 3.6.7 has no answer to these two; ours is that of PS3.7 D.3.3.3 and D.3.3.4.
    informations = {
        name: (their.user_information, our.user_information)
        for name, their, our in zip(asked, theirs, ours, strict=True)
        if isinstance(their, AssociateAC) and isinstance(our, AssociateAC)
    }
    assert not any(their.asynchronous_operations or their.role_selections for their, _ in informations.values())
    windows = {name: our.asynchronous_operations for name, (_, our) in informations.items()}
    assert {name for name, window in windows.items() if window} == {"a window of operations"}
    roles = {name: our.role_selections for name, (_, our) in informations.items() if our.role_selections}
    assert roles == {
        "role of SCU": (RoleSelection(CT, scu_role=True, scp_role=False),),
        "role of SCP": (RoleSelection(CT, scu_role=False, scp_role=False),),
        "both roles, and one of a class that is not proposed": (RoleSelection(CT, scu_role=True, scp_role=False),),
    }


@pytest.mark.debian_12("dcmtk")
def test_context_that_offers_more_transfer_syntaxes_than_dcmtk_reads_is_answered(tmp_path: Path) -> None:
    [fifty] = requests([(CT, OFFERED[:50])])
    [more] = requests([(CT, OFFERED[:51])])
    theirs, ours = both(tmp_path, [fifty, more])
    assert_alike([fifty], theirs[:1], ours[:1])
    assert theirs[1] is None  # closed without an answer
    assert by_context([more], ours[1:]) == by_context([fifty], ours[:1])


@pytest.mark.parametrize("size", [4096, 16384, 131072])
def test_largest_pdu_is_announced_to_senders_as_dcmtks_announces_it(size: int, tmp_path: Path) -> None:
    asked = requests([(CT, [EXPLICIT_LITTLE.uid])])
    [[their], [our]] = both(tmp_path, asked, "-pdu", str(size))
    assert isinstance(their, AssociateAC)
    assert isinstance(our, AssociateAC)
    assert our.user_information.maximum_length == their.user_information.maximum_length == size


PROPOSALS: dict[str, tuple[str, ...]] = {
    "default": (),
    **{option.short: (option.short,) for option in OPTIONS if option.field in ("proposed", "model")},
    "titles": ("-aet", "ME", "-aec", "ARCHIVE"),
    "titles and a destination": ("-aet", "ME", "-aec", "ARCHIVE", "-aem", "SOMEONE"),
    "titles of 16 characters": ("-aet", "SIXTEEN_LETTERS_", "-aec", "ABCDEFGHIJKLMNOP"),
    "titles of more": ("-aet", "SIXTEEN_LETTERS_AND_MORE", "-aec", "SIXTEEN_LETTERS_TOO", "-aem", "abcdefghijklmnopq"),
    "titles with blanks": ("-aet", "MY TITLE", "-aec", "YOUR TITLE", "-aem", "THEIR TITLE"),
    "a title of odd length for the destination": ("-aem", "ODD"),
    "smallest PDU": ("-pdu", "4096"),
    "odd PDU": ("-pdu", "30001"),
    "largest PDU": ("-pdu", "131072"),
    "several keys": ("-S", "-k", "0020,000D=1.2.3", "-k", "PatientID=1", "-k", "PatientName=A^B", "-k", "0008,0018="),
    "keys not in their order": ("-S", "-k", "0020,000E=1.2.3.4", "-k", "0020,000D=1.2.3", "-k", "0010,0020=X"),
    "a list of UIDs": ("-S", "-k", "0020,000D=1.2.3\\1.2.4\\1.2.5"),
    "keys of many kinds": (
        *("-k", "StudyDate=20200101-20201231", "-k", "0028,0010=512", "-k", "SliceThickness=1.5"),
        *("-k", "PatientSize=1.80", "-k", "0018,9087=1000.5", "-k", "OtherPatientNames=A^B\\C^D"),
    ),
    "keys in big endian": ("-xb", "-k", "0028,0010=512", "-k", "0020,000D=1.2.3"),
    "keys deflated": ("-xd", "-k", "0028,0010=512", "-k", "0020,000D=1.2.3"),
    "keys in implicit VR": ("-xi", "-k", "0028,0010=512", "-k", "0020,000D=1.2.3"),
}


@pytest.mark.parametrize("what", PROPOSALS)
@pytest.mark.sampled(2)
def test_archive_is_asked_as_dcmtks_asks_it(what: str, tmp_path: Path) -> None:
    options = (*KEY, *PROPOSALS[what])
    theirs, ours = catch(dcmtk, *options, folder=tmp_path), catch(movescu, *options, folder=tmp_path)
    assert ours.request.user_information.implementation_class_uid == version.CLASS_UID
    said = replace(
        theirs.request.user_information,
        implementation_class_uid=version.CLASS_UID,
        implementation_version_name=ours.request.user_information.implementation_version_name,
    )
    assert ours.request == replace(theirs.request, user_information=said)
    assert ours.command == theirs.command
    if ours.request.contexts[1].transfer_syntaxes[0] == DEFLATED_LITTLE.uid:  # deflate has many true answers
        assert len(ours.identifier) % 2 == 0
        assert inflated(ours.identifier) == inflated(theirs.identifier)
    else:
        assert ours.identifier == theirs.identifier


def inflated(identifier: bytes) -> bytes:
    """The data set of an identifier that is deflated; a byte of padding may follow (PS3.5 A.5)."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(identifier)


@pytest.mark.parametrize(("word", "value"), [("low", 2), ("medium", 0), ("high", 1)])
def test_archive_is_told_the_priority(word: str, value: int, tmp_path: Path) -> None:
    command = catch(movescu, *KEY, "--priority", word, folder=tmp_path).command
    usual = catch(movescu, *KEY, folder=tmp_path).command
    priority = bytes.fromhex("0000 0007 02000000".replace(" ", ""))
    assert command.partition(priority)[2][:2] == value.to_bytes(2, "little")
    assert command.replace(priority + value.to_bytes(2, "little"), priority + bytes(2)) == usual


def test_fastest_pdu_is_announced_on_both_sides_when_asked_for(tmp_path: Path) -> None:
    assert catch(movescu, *KEY, "-pdu", "auto", folder=tmp_path).request.user_information.maximum_length == 131072
    [answer] = answers(movescu, requests([(CT, [EXPLICIT_BIG.uid])]), "--max-pdu", "auto", folder=tmp_path)
    assert isinstance(answer, AssociateAC)
    assert answer.user_information.maximum_length == 131072


NEGOTIATED: dict[tuple[str, ...], tuple[ExtendedNegotiation, ...]] = {
    (): (),
    ("--relational",): (ExtendedNegotiation(PATIENT_ROOT_MOVE, b"\1"),),
    ("--enhanced-conversion",): (ExtendedNegotiation(PATIENT_ROOT_MOVE, b"\0\1"),),
    ("--relational", "--enhanced-conversion", "-S"): (ExtendedNegotiation(STUDY_ROOT_MOVE, b"\1\1"),),
}
"""PS3.4 C.5.2.1: byte 1 relational retrieval, byte 2 enhanced multi-frame image conversion."""


@pytest.mark.parametrize("options", NEGOTIATED, ids=" ".join)
def test_relational_retrieval_and_conversion_are_negotiated_for_the_class_that_is_used(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    information = catch(movescu, *KEY, *options, folder=tmp_path).request.user_information
    assert information == replace(user_information(16384), extended_negotiations=NEGOTIATED[options])
