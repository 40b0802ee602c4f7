"""The stock tool of OpenSSF Model Signing, as its users run it."""

import subprocess
import sys

__all__ = ["model_signing"]


def model_signing(*arguments):
    """Run `model_signing`; the finished process, with its output as text."""
    command = [sys.executable, "-W", "ignore", "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
