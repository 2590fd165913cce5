"""Debian's Chromium without a window, driven by the DevTools protocol over two pipes (``--remote-debugging-pipe``).

A ``Tab`` has a profile of its own and notes each request and each error of its console. When it is closed without a
failure, it is held to having had none of the latter.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers
from effort import is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = 60.0  # seconds
SCREENSHOTS = Path(__file__).resolve().parents[2] / "screenshots"
"""Where pictures are kept for a person to look at."""

_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps"),
    *("--disable-extensions", "--no-proxy-server", "--remote-debugging-pipe"),
)
_KEYS = {"Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40, "Tab": 9, " ": 32, "/": 191, "End": 35, "Home": 36}


class Browser:
    """A running browser."""

    def __init__(self, profile: Path) -> None:
        peers.require("chromium")
        theirs_read, self._write = os.pipe()
        self._read, theirs_write = os.pipe()
        script = f'exec chromium "$@" 3<&{theirs_read} 4>&{theirs_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "chromium", *_ARGUMENTS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_read, theirs_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_read)
        os.close(theirs_write)
        self._numbers = itertools.count(1)
        self._results: dict[int, dict[str, Any]] = {}
        self._news = threading.Condition()
        self._ended = False
        self.tabs: dict[str, Tab] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        with open(self._read, "rb") as pipe:
            rest = b""
            while data := pipe.read1(1 << 20):
                *messages, rest = (rest + data).split(b"\0")
                for message in messages:
                    self._take(json.loads(message))
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            with self._news:
                self._results[message["id"]] = message
                self._news.notify_all()
        elif (tab := self.tabs.get(message.get("sessionId", ""))) is not None:
            tab.note(message["method"], message["params"])

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        with self._news:
            assert self._news.wait_for(lambda: number in self._results or self._ended, PATIENCE), f"{method} hangs"
            assert number in self._results, "the browser has ended"
            answer = self._results.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        """End the browser."""
        self.call("Browser.close")
        self._process.wait(PATIENCE)
        self._listener.join()
        os.close(self._write)

    @contextmanager
    def tab(
        self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False, ready: bool = True
    ) -> Iterator[Tab]:
        """Open a page in a profile of its own, and wait until its script has drawn it; not ``ready``: an empty one."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self.tabs[session] = Tab(self, session)
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                tab.call(f"{domain}.enable")
            scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            tab.call("Emulation.setEmulatedMedia", features=scheme)
            tab.resize(width, height)
            if ready:
                tab.go(url)
            yield tab
            assert not tab.errors, tab.errors
        finally:
            del self.tabs[session]
            self.call("Target.disposeBrowserContext", browserContextId=context)


class Tab:
    """A page. ``errors``: of its console; ``requests``: addresses that it asked for, except data and files."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []
        self.requests: list[str] = []

    def note(self, method: str, parameters: dict[str, Any]) -> None:
        """Note an event of the protocol."""
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol in this page."""
        return self._browser.call(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Load a page and wait until it is drawn."""
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.until("document.documentElement.dataset.ready")

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window, in pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def run(self, expression: str) -> Any:
        """Return the value of an expression, of a promise when it is kept."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        look = f"const look = () => {{ try {{ if ({condition}) return done(true); }} catch {{}} setTimeout(look, 5); }}"
        self.run(f"new Promise((done) => {{ {look}; look(); setTimeout(() => done(false), {PATIENCE * 500}); }})")
        assert self.run(f"Boolean({condition})"), f"never: {condition}\n{self.errors}"

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of all elements that a selector of CSS names."""
        found: list[str] = self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.innerText.trim())"
        )
        return found

    def click(self, selector: str, index: int = 0) -> None:
        """Click an element."""
        self.run(f"document.querySelectorAll({json.dumps(selector)})[{index}].click()")

    def press(self, *keys: str) -> None:
        """Press keys, by the names of ``KeyboardEvent.key``."""
        for key in keys:
            text = "\r" if key == "Enter" else key if len(key) == 1 else ""
            code = _KEYS.get(key) or ord(key.upper())
            down = {"type": "keyDown", "key": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
            self.call("Input.dispatchKeyEvent", **down)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Enter a text where the focus is."""
        self.call("Input.insertText", text=text)

    def focused(self) -> str:
        """Return the label or text of the focused element."""
        return str(self.run("(document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()"))

    def keep_picture(self, name: str) -> None:
        """Keep a picture of the page for a person to look at, by ``make test-all`` only: it takes half a second."""
        if is_whole():
            self.picture(name)

    def picture(self, name: str, *, whole: bool = True) -> bytes:
        """Keep a picture of the page, and return it as PNG; ``whole``: beyond the window."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        data = base64.b64decode(answer["data"])
        SCREENSHOTS.mkdir(exist_ok=True)
        (SCREENSHOTS / f"{name}.png").write_bytes(data)
        return data

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}}


def addresses(requests: Sequence[str]) -> list[str]:
    """Return the requests that are not of the page's own content."""
    return [request for request in requests if not request.startswith(("data:", "blob:", "about:"))]
