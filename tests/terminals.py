"""A program on a terminal of its own, as a person starts it, and what it shows there."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading

from patience import PATIENCE, wait_for

__all__ = ["OnTerminal"]

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


class OnTerminal:
    """A program whose standard input, output and error are a terminal.

    Args:
        command: the program and its arguments.
        size: columns and rows.
        options: of `subprocess.Popen`.
    """

    def __init__(self, command, size=(80, 24), **options):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, **options
        )
        os.close(slave)
        self.raw = ""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            try:
                part = os.read(self._master, 65536)
            except OSError:  # Linux's way to say that the other side has closed
                return
            if not part:
                return
            self.raw += part.decode(errors="replace")

    @property
    def text(self):
        """Everything that was shown so far, without colours and movements."""
        return _CONTROL.sub("", self.raw)

    def wait_for(self, pattern):
        """Wait until a pattern was shown after a screen was drawn anew; its last match."""
        what = f"{pattern!r} on the screen"
        text = wait_for(lambda: self.text, what, lambda text: re.search(pattern, text), process=self.process)
        return list(re.finditer(pattern, text))[-1]

    def end(self, number=None):
        """Send a signal, if one is given, and wait for the end; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._thread.join(PATIENCE)
        return code

    def close(self):
        """Let nothing run on."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
