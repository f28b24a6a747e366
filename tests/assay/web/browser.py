"""A real browser, by Chromium's DevTools protocol over a pipe: nothing to install beside it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip
WAIT_S = 60


def chromium() -> str | None:
    """The program, if there is one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One tab. ``complaints`` are what the console was told: errors of the script, refusals by the policy."""

    def __init__(self, profile: Path) -> None:
        program = chromium()
        assert program is not None
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        words = " ".join((program, *OPTIONS, f"--user-data-dir='{profile}'", "about:blank"))
        line = f"exec {words} 3<&{theirs_in} 4>&{theirs_out}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(["bash", "-c", line], pass_fds=(theirs_in, theirs_out), **quiet)
        os.close(theirs_in)
        os.close(theirs_out)
        self._rest = b""
        self._number = 0
        self._session = ""
        self.complaints: list[str] = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.command(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def command(self, method: str, **parameters: Any) -> Any:
        """What the browser answers. Raises RuntimeError when it refuses."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") != self._number:
                self._note(told)
            elif "error" in told:
                raise RuntimeError(f"{method}: {told['error']['message']}")
            else:
                return told["result"]

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)

    def go(self, url: str) -> None:
        """Load a page to its end."""
        self.command("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        done = self.command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{script}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until the expression is true, on whatever page the browser is led to."""
        why = json.dumps(f"never: {condition}")
        look = (
            f"new Promise((done, fail) => {{ const end = Date.now() + {WAIT_S * 1000}; const look = () => "
            f"({condition}) ? done() : Date.now() > end ? fail({why}) : setTimeout(look, 20); look() }})"
        )
        while True:
            try:
                self.run(look)
            except RuntimeError as err:
                if "navigated" in str(err) or "context" in str(err):  # the page was left while it was asked
                    continue
                raise
            return

    def choose_files(self, selector: str, files: Sequence[Path]) -> None:
        """As a person does in the dialog that a file field opens."""
        field = self.command("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        names = [str(file) for file in files]
        self.command("DOM.setFileInputFiles", files=names, objectId=field["result"]["objectId"])

    def screenshot(self, is_whole_page: bool = True) -> bytes:
        """A PNG."""
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole_page)
        return base64.b64decode(shot["data"])

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise RuntimeError(f"the browser ended with status {self._process.wait()}")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, told: Any) -> None:
        if told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["params"]["exceptionDetails"]))
        if told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["params"]["entry"]["text"])


def sign_in(browser: Browser, url: str, key: str) -> None:
    """On Assay's first page, with a key."""
    browser.go(f"{url}/")
    browser.run(f"document.querySelector('#key').value = {json.dumps(key)}")
    browser.run("document.querySelector('form').requestSubmit()")
    browser.wait("location.pathname === '/cases'")


def claim(browser: Browser, brand: str, model: str) -> None:
    """On the page of a new case: a model that is typed in."""
    browser.run("document.querySelector('#known').value = 'other'")
    browser.run("document.querySelector('#known').dispatchEvent(new Event('change'))")
    browser.run(f"document.querySelector('#brand').value = {json.dumps(brand)}")
    browser.run(f"document.querySelector('#model').value = {json.dumps(model)}")
