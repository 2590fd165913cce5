from __future__ import annotations

from typing import Any

import pytest
from pydicom.uid import JPEG2000Lossless

from movescu.dictionary.uids import EXPLICIT_LITTLE, TRANSFER_SYNTAXES
from movescu.errors import UsageError
from movescu.retrieve.config import AE, Config, Receive, Request, Retry, Timeouts


def test_config_keeps_an_empty_move_destination() -> None:
    assert Config(AE("archive", 104), destination="").move_destination == ""
    assert Config(AE("archive", 104)).move_destination == "MOVESCU"


@pytest.mark.parametrize(
    ("text", "ae"),
    [
        ("ARCHIVE@pacs:104", AE("pacs", 104, "ARCHIVE")),
        ("pacs:104", AE("pacs", 104)),
        ("A@B@[::1]:11112", None),
        ("ARCHIVE@[::1]:11112", AE("::1", 11112, "ARCHIVE")),
        ("pacs", None),
        ("pacs:x", None),
        ("::1:104", None),
        ("@pacs:104", None),
        ("pacs:99999", None),
    ],
)
def test_ae_is_parsed_or_refused(text: str, ae: AE | None) -> None:
    if ae is None and text != "A@B@[::1]:11112":
        with pytest.raises(UsageError):
            AE.parse(text)
    elif ae is not None:
        assert AE.parse(text) == ae
        assert AE.parse(str(ae)) == ae


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: AE("pacs", "104"), "port '104'"),  # type: ignore[arg-type]
        (lambda: AE("", 104), "host ''"),
        (lambda: AE("pacs", 0), "port 0"),
        (lambda: AE("pacs", 104, "SEVENTEEN LETTERS"), "17 characters"),
        (lambda: AE("pacs", 104, "  "), "blank"),
        (lambda: AE("pacs", 104, "M\u00dcNCHEN"), "characters that are not allowed"),
        (lambda: AE("pacs", 104, "A\\B"), "characters that are not allowed"),
        (lambda: Timeouts(connect="30"), "timeout connect '30'"),  # type: ignore[arg-type]
        (lambda: Timeouts(linger=None), "timeout linger None"),  # type: ignore[arg-type]
        (lambda: Timeouts(dimse=-1), "timeout dimse -1"),
        (lambda: Retry(retries=-1), "retries -1"),
        (lambda: Retry(pause=None), "pause None"),  # type: ignore[arg-type]
        (lambda: Receive(70000), "listen 70000"),
        (lambda: Receive(0, transfer_syntaxes="1.2.3"), "'1.2.3' is not the UID of a transfer syntax"),
        (lambda: Receive(0, transfer_syntaxes=5), "transfer_syntaxes 5"),  # type: ignore[arg-type]
        (lambda: Receive(0, transfer_syntaxes=()), "transfer_syntaxes is empty"),
        (lambda: Request(model="study"), "model 'study'"),
        (lambda: Request(transfer_syntaxes=["all"]), "'all' is not the UID"),
    ],
)
def test_value_that_cannot_be_used_is_refused_and_named(make: Any, named: str) -> None:
    with pytest.raises(UsageError, match=named.replace("\\", ".")):
        make()


def test_transfer_syntaxes_are_named_by_uid() -> None:
    own = Receive(0, transfer_syntaxes=[JPEG2000Lossless, EXPLICIT_LITTLE])
    assert [one.name for one in own.accepted] == [
        "JPEG 2000 Image Compression (Lossless Only)",
        "Explicit VR Little Endian",
    ]
    assert set(Receive(0, transfer_syntaxes="all").accepted) == set(TRANSFER_SYNTAXES.values())
    assert Request(transfer_syntaxes=EXPLICIT_LITTLE.uid).proposed == (EXPLICIT_LITTLE,)
