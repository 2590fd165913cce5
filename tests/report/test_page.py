"""The page of ``--html`` in a browser: what a person sees of a run, finds in it, and does next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from browser import addresses
from command import here
from setting import KEY, Setting

from movescu.events import EndEvent, EntryEvent, EntryState, ObjectEvent
from movescu.report.entry_table import EntryTable
from movescu.report.page import PageData, page_pieces
from movescu.report.summary import Summary
from movescu.retrieve.causes import cause_of_status
from movescu.retrieve.config import AE, Config

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import scripted
    from browser import Browser, Tab

pytestmark = pytest.mark.xdist_group("browser")

STATES = (EntryState.COMPLETE, EntryState.COMPLETE, EntryState.COMPLETE, EntryState.PARTIAL, EntryState.FAILED)
NO_ARCHIVE = ("-k", KEY, "127.0.0.1", 1)
HOSTILE = f"</script><script>document.title='broken'</script><img src=x onerror=alert(1)>\u202eelif.exe {'x' * 10_000}"


def entry(number: int, state: EntryState, **further: Any) -> EntryEvent:
    cause = None if state is EntryState.COMPLETE else cause_of_status(0xA801 if number % 2 else 0xC001)
    told: dict[str, Any] = (
        {} if cause is None else {"reason": cause.code, "words": cause.words, "fault": cause.fault.value}
    )
    told |= {} if cause is None else {"passing": cause.passing, "advice": cause.advice, "status": 0xA801}
    keys = ("QueryRetrieveLevel=STUDY", f"PatientID=P{number}", f"StudyInstanceUID=1.2.{number}")
    values = {"keys": keys, "stored": number % 7, "size": 1000 * number, "study_instance_uids": (f"1.2.{number}",)}
    return EntryEvent(row=number, state=state, **(values | told | further))  # type: ignore[arg-type]


def written(folder: Path, entries: Iterable[EntryEvent], labels: dict[str, dict[str, str]] | None = None) -> str:
    """Write the page of a list and return its address."""
    table = EntryTable()
    summary = Summary(Config(AE("archive.example.org", 104, title="ARCHIVE")), table)
    data = PageData(1.7e9, None)
    for one in entries:
        table.add(one)
        for number in range(one.stored):
            event = ObjectEvent(
                time=1.7e9 + one.row / 100 + number / 1000 if one.row else 0.0,
                row=one.row,
                sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
                sop_instance_uid=f"1.2.{one.row}.9.{number}",
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                study_instance_uid=f"1.2.{one.row}",
                series_instance_uid=f"1.2.{one.row}.1",
                size=5000 + number,
                seconds=0.01,
                status=0,
            )
            summary(event)
            data(event)
    summary(EndEvent(outcome="incomplete", stored=5, failed=0, size=123_456, seconds=65.4, exit_code=68))
    page = folder / "page.html"
    extra = data.values() | {"listed": True} | ({} if labels is None else {"labels": labels})
    page.write_text("".join(page_pieces(summary, table, extra)), encoding="utf-8")
    return page.as_uri()


def small(folder: Path) -> str:
    return written(folder, (entry(number, STATES[number % 5]) for number in range(1, 26)))


def rows(tab: Tab) -> list[int]:
    return [int(text) for text in tab.texts("#rows .opener")]


def test_page_says_what_is_there_and_what_to_do(browser: Browser, tmp_path: Path) -> None:
    with browser.tab(small(tmp_path)) as tab:
        assert tab.texts("h1") == ["Incomplete: 15 of 25 entries complete; 5 failed, 5 partial"]
        assert tab.run("document.title").startswith("Incomplete: 15 of 25")
        groups = tab.texts("#reasons > li")
        assert len(groups) == 2
        assert all("What to do: " in group for group in groups)
        assert "the archive does not know the move destination" in " ".join(groups)
        assert [text.split(":")[0] for text in tab.texts("figcaption")] == [
            "Objects and bytes",
            "Rate and refusals",
            "Sizes of objects",
        ]
        tab.keep_picture("page")


def test_page_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    url = small(tmp_path)
    with browser.tab(url) as tab:
        tab.click("#columns button", 4)
        tab.press("/")
        tab.type("p1")
        tab.until("document.querySelectorAll('#rows .entry').length < 25")
        assert addresses(tab.requests) == [url]


def test_entries_sort_by_each_column_both_ways(browser: Browser, tmp_path: Path) -> None:
    with browser.tab(small(tmp_path)) as tab:
        assert rows(tab) == list(range(1, 26))
        tab.click("[data-column=size]")
        tab.click("[data-column=size]")
        assert rows(tab) == list(range(25, 0, -1))
        assert tab.run("document.querySelector('[data-column=size]').parentNode.ariaSort") == "descending"
        tab.click("[data-column=state]")
        assert [text.split()[-1] for text in tab.texts("#rows .state")][:10] == ["failed"] * 5 + ["partial"] * 5
        for column in tab.run("[...document.querySelectorAll('#columns button')].map((one) => one.dataset.column)"):
            tab.click(f"[data-column={column}]")
            assert sorted(rows(tab)) == list(range(1, 26))


def test_entries_filter_by_words_states_and_reason(browser: Browser, tmp_path: Path) -> None:
    with browser.tab(small(tmp_path)) as tab:
        tab.click("#states input[value=failed]")
        assert rows(tab) == [4, 9, 14, 19, 24]
        assert tab.texts("#shown") == ["5 of 25 entries"]
        tab.run("document.querySelector('#words').focus()")
        tab.type("P19")
        tab.until("document.querySelectorAll('#rows .entry').length == 1")
        assert rows(tab) == [19]
        tab.press("Escape")
        assert len(rows(tab)) == 25
        tab.click("#reasons button")
        assert set(rows(tab)) < {3, 4, 8, 9, 13, 14, 18, 19, 23, 24}


def test_keyboard_reaches_everything(browser: Browser, tmp_path: Path) -> None:
    with browser.tab(small(tmp_path)) as tab:
        tab.press("/")
        assert tab.run("document.activeElement.id") == "words"
        tab.press("ArrowDown", "ArrowDown", "ArrowDown")
        assert tab.focused() == "Entry 3, partial"
        tab.press("Enter")
        assert tab.run("document.activeElement.ariaExpanded") == "true"
        [details] = tab.texts("#rows .details")
        assert "StudyInstanceUID\n1.2.3" in details
        assert "What to do\n" in details
        tab.press("Enter")
        assert tab.texts("#rows .details") == []
        tab.press("End")
        assert tab.focused() == "Entry 25, complete"
        tab.press("Tab", "Home", "ArrowUp")
        assert all(
            tab.run("[...document.querySelectorAll('button, input, select')].map((one) => one.tabIndex >= 0)")
        ), "reached by Tab"


def test_page_names_every_control_for_a_screen_reader(browser: Browser, tmp_path: Path) -> None:
    with browser.tab(small(tmp_path)) as tab:
        tab.click("#rows .opener")
        tree = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "searchbox", "combobox", "checkbox", "table", "columnheader", "image", "region"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in tree
        if not node.get("ignored") and node["role"]["value"] in roles
    ]
    assert not [role for role, name in named if not name and role != "table"]
    assert ("table", "Entries") in named
    assert ("checkbox", "failed (5)") in named
    assert ("searchbox", "Filter") in named


def test_ten_thousand_entries_are_sorted_filtered_and_opened(browser: Browser, tmp_path: Path) -> None:
    url = written(tmp_path, (entry(number, STATES[number % 5]) for number in range(1, 10_001)))
    with browser.tab(url) as tab:
        assert len(rows(tab)) == 200
        tab.click("[data-column=size]")
        tab.click("[data-column=size]")
        assert rows(tab)[:3] == [10_000, 9_999, 9_998]
        tab.click("#rows .opener")
        assert "1.2.10000.1" in tab.texts("#rows .details")[0]
        tab.press("/")
        tab.type("p777")
        tab.until("document.querySelectorAll('#rows .entry').length == 11")
        assert rows(tab)[-1] == 777
        tab.press("Escape")
        tab.click("#show-more")
        assert len(rows(tab)) >= 400


def test_text_of_an_archive_is_text(browser: Browser, tmp_path: Path) -> None:
    one = entry(1, EntryState.PARTIAL, stored=2, keys=(f"PatientName={HOSTILE}",), detail=HOSTILE)
    labels = {"1.2.1.1": {"patient": HOSTILE, "series": HOSTILE, "modality": "CT"}}
    with browser.tab(written(tmp_path, [one], labels)) as tab:
        assert tab.run("document.title").startswith("Incomplete: 0 of 1 entry")
        assert tab.run("document.querySelectorAll('script').length") == 3
        assert tab.run("document.querySelectorAll('img').length") == 0
        shown = " ".join(tab.texts("#rows"))
        assert HOSTILE.replace("\u202e", "U+202E")[:80] in shown
        assert "\u202e" not in shown
        assert tab.run(WIDE) == []
        tab.keep_picture("page-hostile")


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (1920, False), (1920, True)])
def test_page_fits_narrow_and_wide_light_and_dark(browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    with browser.tab(small(tmp_path), width=width, dark=dark) as tab:
        tab.click("#rows .opener", 3)
        assert tab.run(WIDE) == [], "no scrolling sideways"
        back, ink = tab.run(
            "[getComputedStyle(document.documentElement)].flatMap((style) => [style.backgroundColor, style.color])"
        )
        assert (luminance(back) < 0.2 < luminance(ink)) if dark else (luminance(ink) < 0.2 < luminance(back))
        assert tab.run(CONTRASTS) == []
        tab.keep_picture(f"page-{width}-{'dark' if dark else 'light'}")


def test_page_prints_entries_without_controls(browser: Browser, tmp_path: Path) -> None:
    with browser.tab(small(tmp_path)) as tab:
        tab.call("Emulation.setEmulatedMedia", media="print")
        assert tab.run("document.querySelector('#filter').offsetParent") is None
        assert len(tab.texts("#rows .entry")) == 25
        assert len(tab.call("Page.printToPDF")["data"]) > 10_000


def luminance(color: str) -> float:
    return sum(int(part) for part in color[4:-1].split(",")) / 765


WIDE = """
document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
    .filter((node) => node.getBoundingClientRect().right > innerWidth).map((node) => node.outerHTML.slice(0, 120))
"""
"""Elements that reach beyond the window, if it can be scrolled sideways."""

CONTRASTS = """
(() => {
  const part = (value) => { value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const parsed = (color) => color.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = parsed(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
  };
  const bad = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.offsetParent || node.closest("noscript, .skip")) continue;
    const [one, other] = [light(parsed(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    if ((one + 0.05) / (other + 0.05) < 4.5) bad.push(node.outerHTML.slice(0, 80));
  }
  return bad;
})()
"""
"""Elements whose text has a contrast of less than 4.5 (WCAG 2.2, 1.4.3)."""


def test_lists_to_run_again_are_those_of_failed(browser: Browser, tmp_path: Path) -> None:
    entries = [entry(number, STATES[number % 5], columns=(("site", 'a "b"'),)) for number in range(1, 26)]
    table = EntryTable()
    for one in entries:
        table.add(one)
    catch = "URL.createObjectURL = (blob) => { window.saved = blob.text(); return 'blob:nothing'; }; 0"
    with browser.tab(written(tmp_path, entries)) as tab:
        tab.run(catch)
        tab.run("HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; }; 0")
        tab.click("#save-again")
        assert tab.run("window.saved") == "".join(table.failed_lines())
        assert tab.run("window.savedAs") == "again.csv"


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    inside = text.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    data: dict[str, Any] = json.loads(inside)
    return data


def test_command_writes_the_page_of_what_it_received(browser: Browser, tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    first, second, third = setting.made

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        setting.send([first, second])
        session.respond(0xB000, completed=2, failed=1, failed_uids=[third.instance_uid], comment="tape robot is down")
        session.expect_release()

    page = tmp_path / "page.html"
    setting.run(script, "--html", page, code=68)
    data = data_of(page)
    labels = data["page"]["labels"][first.series_uid]
    assert (labels["modality"], labels["patient"], labels["date"]) == ("CT", "Test^Patient", "20240229")
    assert data["report"]["entries"][0]["reason"]
    with browser.tab(page.as_uri()) as tab:
        assert tab.texts("h1") == ["Incomplete: 2 objects; the archive could not deliver some objects"]
        assert tab.texts("#rows .opener") == ["1"]
        assert "CT" in tab.texts("#rows .details")[0]
        assert len(tab.texts("#reasons > li")) == 1


def test_page_to_standard_output_excludes_other_output(tmp_path: Path) -> None:
    outcome = here(*NO_ARCHIVE, "--html", "-", "--report", "-", folder=tmp_path, code=1)
    assert "only one of --report and --html can go to standard output" in outcome.log


def test_missing_library_is_named_before_the_first_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("movescu.report.page.find_spec", lambda _: None)
    outcome = here(*NO_ARCHIVE, "--html", tmp_path / "page.html", folder=tmp_path, code=1)
    assert "pip install 'movescu[report]'" in outcome.log


def test_data_of_the_page_are_those_of_the_report(tmp_path: Path) -> None:
    small(tmp_path)
    report = data_of(tmp_path / "page.html")["report"]
    assert report["counts"]["complete"] == 15
    assert len(report["entries"]) == 25
    assert report["exit_code"] == 68
