"""Chromium without a screen, told what to do over its DevTools protocol (https://chromedevtools.github.io)."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from patience import PATIENCE

__all__ = ["CHROMIUM", "Page", "open_page"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """A page in a browser; messages are JSON with a zero byte behind each, over two pipes.

    Attributes:
        problems: what the page said on its console as an error or a warning, and what it was refused.
        requests: the addresses that it asked for.
    """

    def __init__(self, commands, replies):
        self._commands, self._replies = commands, replies
        self._number, self._session, self._target = 0, None, None
        self._rest = b""
        self.problems, self.requests = [], []

    def call(self, method, **parameters):
        """Call a method; its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == number:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']}")
                return reply["result"]
            self._note(reply)

    def wait_for(self, event):
        """Read on to an event."""
        while (reply := self._next()).get("method") != event:
            self._note(reply)

    def _next(self):
        while b"\0" not in self._rest:
            data = os.read(self._replies, 1 << 16)
            if not data:
                raise RuntimeError("the browser went away")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, reply):
        method, found = reply.get("method"), reply.get("params", {})
        if method == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.problems.append(str(found["args"]))
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(found["exceptionDetails"]))
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.problems.append(found["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])

    def go(self, path, *, width=1200, height=900, dark=False, scale=1):
        """Open a file or an address in a window of this size."""
        self._session = None
        if self._target:
            self.call("Target.closeTarget", targetId=self._target)
        self._target = target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path if "://" in str(path) else Path(path).as_uri())
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page, or what its promise comes to."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def screenshot(self, path):
        """Write a picture of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def open_page():
    """Start a browser; it goes with the block."""
    (to_read, commands), (replies, to_write) = os.pipe(), os.pipe()

    def connect():  # the browser reads commands from descriptor 3 and answers on 4
        os.dup2(to_read, 13)
        os.dup2(to_write, 14)
        os.dup2(13, 3)
        os.dup2(14, 4)

    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ]
        process = subprocess.Popen(
            [CHROMIUM, *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=connect,  # noqa: PLW1509 - Popen itself cannot give descriptors other numbers
            close_fds=False,
        )
        os.close(to_read)
        os.close(to_write)
        try:
            yield Page(commands, replies)
        finally:
            with suppress(Exception):
                process.terminate()
            process.wait(PATIENCE)
            os.close(commands)
            os.close(replies)
