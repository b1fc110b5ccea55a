"""A real browser, by Chromium's own protocol over a pipe: it needs no driver and no port."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    "--remote-debugging-pipe",
)

# The page scrolls smoothly otherwise, and where things stand would depend on the moment.
_STILL = {"prefers-reduced-motion": "reduce"}


class Browser:
    """One page of a browser that is running."""

    def __init__(self, read: IO[bytes], write: IO[bytes]) -> None:
        self._read, self._write = read, write
        self._session: str | None = None
        self._number = 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self._prefer(_STILL)

    def call(self, method: str, **parameters: Any) -> Any:
        """The browser's answer; what it tells of meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        content = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "the browser is gone"
            content += byte
        found: dict[str, Any] = json.loads(content)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        if method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.errors.append(str(told["args"]))
        if method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(told["entry"]["text"])
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a file and wait until it has been."""
        self.call("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def run(self, script: str) -> Any:
        """The value of a script, once it is settled."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        code = {"Enter": 13, "Tab": 9, " ": 32}[key]
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)

    def screen(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the window, and which colours its user prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = "dark" if dark else "light"
        self._prefer(_STILL | {"prefers-color-scheme": scheme})

    def _prefer(self, given: Mapping[str, str]) -> None:
        features = [{"name": name, "value": value} for name, value in given.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self) -> bytes:
        """The page as a PNG, as far down as it goes."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; tests that need one skip where there is none."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium here to look at the page with (Debian's package: chromium)")
    commands, answers = os.pipe(), os.pipe()

    def fds() -> None:
        # Chromium reads commands from 3 and answers on 4.
        os.dup2(commands[0], 10), os.dup2(answers[1], 11)
        os.dup2(10, 3), os.dup2(11, 4)

    process = subprocess.Popen(
        [path, *_FLAGS, f"--user-data-dir={folder}"],
        preexec_fn=fds,
        close_fds=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands[0])
    os.close(answers[1])
    with os.fdopen(answers[0], "rb") as read, os.fdopen(commands[1], "wb") as write:
        try:
            yield Browser(read, write)
        finally:
            process.terminate()
            process.wait(30)
