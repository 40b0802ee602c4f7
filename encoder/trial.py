"""Try a model folder in a process of its own, before a program that must not die uses it.

The child loads the folder, encodes texts, scores them with the model's heads and checks that all numbers are
finite, within limits of memory and computing time. Whatever the model does there, it does to the child. It
runs at a lower priority, so the records keep flowing meanwhile.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoder.errors import MillstreamError, ModelFormatError, TransientError

__all__ = ["TrialLimits", "main", "try_model"]

_PROGRAM = "import sys; sys.path[:] = {path!r}; from encoder.trial import main; main()"
_NICE = 5
_SHOWN = 300  # characters of what a child says that failed
_TEXTS = [
    *("", " ", "a", "card declined at the gate", "Card DECLINED, twice!", "\x00\ufffd\U0010ffff\u200b"),
    *("e\u0301\u0327 İ ﷺ ﬁ 中文 안녕 مرحبا नमस्ते ▁Ġ", "[MASK] <s> </s> [UNK] <unk> <|endoftext|>", "🏳️‍🌈"),
    *("a" * 2000, "▁" * 500, " " * 2000, "中" * 500, "1" * 500, "!" * 500, "\n\t" * 200),
    "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; logname= uid=0 rhost=10.0.0.1",
]


@dataclass(frozen=True)
class TrialLimits:
    """What a trial may use.

    Attributes:
        memory: bytes, besides what Python and its libraries use before the model is loaded and three times
            the size of the folder.
        cpu_seconds: of computing; compiling all kernels, where none is cached, needs 20.
        seconds: until the child is killed; far more than it needs on a busy machine.
    """

    memory: int = 1 << 30
    cpu_seconds: int = 120
    seconds: float = 900.0


def try_model(folder: Path, limits: TrialLimits | None = None) -> None:
    """Load a model folder in a child process and encode texts there.

    Args:
        folder: the model folder.
        limits: what the child may use.

    Raises:
        ModelFormatError: the model cannot be used, gives numbers that are not finite, or exceeds the limits.
        TransientError: the child could not run, or did not end in time; the model may be sound.
    """
    limits = limits or TrialLimits()
    program = _PROGRAM.format(path=[os.path.abspath(entry) for entry in sys.path])  # noqa: PTH100 - "" is here
    arguments = [str(folder), str(limits.memory), str(limits.cpu_seconds)]
    try:
        done = subprocess.run(  # noqa: S603 - this Python and this module
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.seconds,
            # Arrow's own allocator reserves a gigabyte, which would count.
            env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"the trial of {folder} did not end in {limits.seconds:g} s") from error
    except OSError as error:
        raise TransientError(f"no process could be started to try {folder}: {error}") from error
    if done.returncode < 0:
        raise ModelFormatError(
            f"{folder} killed the process that tried it (signal {-done.returncode}{_hint(-done.returncode)})"
        )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ModelFormatError(f"{folder} failed its trial: {said[-1][:_SHOWN]}")


def _hint(signal: int) -> str:
    reasons = {6: "a library gave up", 9: "it needed too much memory or time", 24: "it needed too much time"}
    return f": {reasons[signal]}" if signal in reasons else ""


def main() -> None:
    """The child: limit this process, then use the model."""
    folder, memory, cpu_seconds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.nice(_NICE)
    _sacrifice()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    import encoder.encoder  # noqa: F401 - so that its memory does not count

    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    most = _data_bytes() + 3 * size + memory
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        _use(folder)
    except (MillstreamError, MemoryError) as error:
        sys.exit(str(error) or type(error).__name__)


def _sacrifice() -> None:
    """If the container's memory runs out, the kernel kills this process and not the one that waits."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _data_bytes() -> int:
    """The bytes that `RLIMIT_DATA` counts so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))


def _use(folder: Path) -> None:
    """Encode texts and score them."""
    from encoder.encoder import Encoder

    encoder = Encoder.load(folder, threads=1)
    numbers: list[Any] = [encoder.encode(_TEXTS, dtype="float16"), vectors := encoder.encode(_TEXTS)]
    numbers += [part for outcome in encoder.heads(vectors, _TEXTS) for part in outcome]
    _check_finite(numbers)


def _check_finite(numbers: Iterable[Any]) -> None:
    import numpy as np

    if not all(np.isfinite(part).all() for part in numbers):
        raise ModelFormatError("it gives numbers that are not finite")
