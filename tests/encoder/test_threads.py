"""Work shared among the threads of a process."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import tiny_tokenizers
from patience import PATIENCE

from encoder import Encoder
from encoder.errors import ConfigurationError, InputError
from encoder.threads import default_threads, share_out


@pytest.mark.parametrize("threads", [1, 2, 9])
@pytest.mark.parametrize("n_items", [0, 1, 2, 500])
def test_each_item_is_done_once(n_items, threads):
    done = []
    share_out(done.append, range(n_items), threads)
    assert sorted(done) == list(range(n_items))


@pytest.fixture
def three_threads(monkeypatch):
    """A pool of two threads beside the caller, whatever the machine is."""
    from encoder import threads

    monkeypatch.setenv("MILLSTREAM_THREADS", "3")
    threads._pool.cache_clear()
    yield
    threads._pool.cache_clear()


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_more_threads_work_at_once_than_allowed(threads):
    barrier, seen = threading.Barrier(threads), set()

    def work(_):
        barrier.wait(PATIENCE)  # breaks unless so many come
        seen.add(threading.get_ident())

    share_out(work, range(3 * threads), threads)
    assert len(seen) == threads
    assert threading.get_ident() in seen


@pytest.mark.usefixtures("three_threads")
def test_threads_are_kept_and_shared_by_many_callers():
    def call():
        for _ in range(20):
            share_out(lambda _: None, range(10), 3)

    call()
    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("millstream")]) <= 2


@pytest.mark.usefixtures("three_threads")
def test_a_call_from_a_thread_of_the_pool_ends():
    inner = []
    share_out(lambda _: share_out(inner.append, range(4), 3), range(6), 3)
    assert sorted(inner) == sorted([*range(4)] * 6)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("threads", [1, 3])
def test_after_an_error_no_further_items_start(threads):
    done = []

    def work(k):
        if k == 5:
            raise InputError("item 5")
        done.append(k)

    with pytest.raises(InputError, match="item 5"):
        share_out(work, range(100_000), threads)
    assert len(done) < 100_000
    count = len(done)
    assert not threading.Event().wait(0.01)
    assert len(done) == count  # nothing goes on behind the caller's back


def test_the_variable_says_how_many(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_THREADS", "5")
    assert default_threads() == 5
    monkeypatch.setenv("MILLSTREAM_THREADS", "")
    assert 1 <= default_threads() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", " "])
def test_a_variable_that_is_no_number_is_refused_by_name(monkeypatch, wrong):
    monkeypatch.setenv("MILLSTREAM_THREADS", wrong)
    with pytest.raises(ConfigurationError, match="MILLSTREAM_THREADS is "):
        default_threads()


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads):
    with pytest.raises(ConfigurationError, match="threads is "):
        Encoder(tiny_tokenizers.encoder_model("uncased"), threads=threads)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("9900000 100000", 8),
        ("", 8),
        (None, 8),
    ],
)
def test_cores_are_those_of_the_affinity_within_the_containers_quota(tmp_path, monkeypatch, quota, expected):
    monkeypatch.delenv("MILLSTREAM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota)
    assert default_threads(path) == expected


LINES = tiny_tokenizers.SAMPLE * 800


@pytest.mark.usefixtures("three_threads")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on forks and threads
def test_a_child_after_a_fork_encodes_with_threads_of_its_own():
    encoder = Encoder(tiny_tokenizers.encoder_model("uncased"), threads=3)
    expected = encoder.encode(LINES)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child():
        sender.send((np.array_equal(encoder.encode(LINES), expected), threading.active_count()))

    process = context.Process(target=child)
    process.start()
    assert receiver.poll(60), "the child hangs"
    same, n_threads = receiver.recv()
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert same
    assert n_threads > 1


def test_a_process_that_encoded_with_threads_ends():
    program = (
        "import os; os.environ['MILLSTREAM_THREADS'] = '4'\n"
        "from encoder.threads import share_out\n"
        "share_out(lambda number: os.write(1, b'%d\\n' % number), range(3), 4)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, check=True)
    assert sorted(done.stdout.split()) == [b"0", b"1", b"2"]
