"""The size of the sample: as many texts as the teacher reads in a given time."""

import time
from collections.abc import Sequence

from distill.corpus_fit.sample import MIN_TEXTS
from distill.teacher.sentences import SentenceTeacher
from encoder.errors import ConfigurationError

__all__ = ["MAX_SAMPLE", "TIME_BUDGET", "affordable", "check_budget"]

TIME_BUDGET = 1800.0
"""How long the teacher may read by default, in seconds."""

MAX_SAMPLE = 1_000_000
"""The largest sample that is drawn without being asked for."""

_WARM_UP, _PROBE = 32, 512  # texts


def check_budget(sample: int | None, seconds: float | None) -> None:
    """Check the two ways to say how large the sample is.

    Raises:
        ConfigurationError: both are given, or the time is not above 0.
    """
    if sample is not None and seconds is not None:
        raise ConfigurationError("give `sample` or `time_budget`, not both: each says how many texts to use")
    if seconds is not None and not seconds > 0:
        raise ConfigurationError(f"`time_budget` is {seconds}: it must be longer than 0, such as 30m")


def affordable(teacher: SentenceTeacher, texts: Sequence[str], seconds: float) -> int:
    """Return how many of some texts the teacher reads in a time, at least `MIN_TEXTS`.

    It reads the first texts to find out, even if they are in the cache: so a run that was interrupted takes
    about the same texts again. The number has two significant digits for the same reason. A corpus that is
    little more than these first texts is read whole.

    Args:
        teacher: the teacher.
        texts: distinct texts in random order.
        seconds: the time.
    """
    if len(texts) <= 4 * _PROBE:
        return len(texts)
    probe = texts[:_PROBE]
    teacher.embed(probe[:_WARM_UP])
    begin = time.perf_counter()
    teacher.embed(probe)
    number = int(seconds * len(probe) / (time.perf_counter() - begin))
    step: int = 10 ** max(len(str(number)) - 2, 0)
    return min(max(number // step * step, MIN_TEXTS), len(texts))
