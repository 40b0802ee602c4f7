"""A `map` for batches on a CPU: each core takes batches of its own."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["batch_map"]


@contextmanager
def batch_map(device: torch.device) -> Iterator[Callable[..., Iterator[Any]]]:
    """A `map` that runs torch's operations of different batches at once, each of them on one core.

    Cores that share each operation mostly wait for one another where operations are small, and a small batch
    stays in a core's own cache. Elsewhere than on a CPU it is the plain `map`.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    torch.set_num_threads(1)  # of an operation, in this process and for each thread that begins
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or an interrupt the rest is not waited for
        torch.set_num_threads(threads)
