"""A parallel `map` over batches on a CPU."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["batch_map"]


@contextmanager
def batch_map(device: torch.device) -> Iterator[Callable[..., Iterator[Any]]]:
    """Yield a `map` that computes each batch on one core, several batches at a time.

    Small operations that are split over cores spend their time on synchronisation, and a small batch fits the
    cache of one core. On other devices than a CPU it is the built-in `map`.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    torch.set_num_threads(1)  # per operation, in this process and in new threads
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)  # does not wait for the rest after an error or interrupt
        torch.set_num_threads(threads)
