from __future__ import annotations

from typing import Any

import pytest

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
        (lambda: Request(model="study"), "model 'study'"),
    ],
)
def test_value_that_cannot_be_used_is_refused_and_named(make: Any, named: str) -> None:
    with pytest.raises(UsageError, match=named.replace("\\", ".")):
        make()
