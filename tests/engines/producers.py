"""What the tests of streams share: producers of records that happen now, and waiting for what comes out."""

import json
import signal
import threading
import time

from topics import write_topic

__all__ = ["SECONDS", "Producer", "TopicProducer", "stop", "wait_for"]

PER_FILE = 20
PACE = 0.25  # seconds between two files
SECONDS = 240  # for anything to happen, on a machine with other work


class Producer:
    """Writes files of records that happen now, one after the other, until it is stopped."""

    def __init__(self, folder):
        self._folder = folder
        folder.mkdir()
        self._begin()

    def _begin(self):
        self.written = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._write()  # which tells the columns

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Write no more; how many records there are."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        return self.written

    def _run(self):
        while not self._stopped.wait(PACE):
            self._write()

    def _write(self):
        ids = range(self.written, self.written + PER_FILE)
        lines = [json.dumps({"id": i, "text": f"login failed {i}", "at": time.time()}) for i in ids]
        self._records(lines)
        self.written += PER_FILE

    def _records(self, lines):
        hidden = self._folder / "_next.jsonl"
        hidden.write_text("\n".join(lines) + "\n")
        hidden.rename(self._folder / f"{self.written:08d}.jsonl")


class TopicProducer(Producer):
    """Writes the same records to a topic."""

    def __init__(self, kafka, topic):
        self._address, self._topic = kafka.address, topic
        self._begin()

    def _records(self, lines):
        write_topic(self._address, self._topic, [line.encode() for line in lines])


def wait_for(happened, seconds, job):
    deadline = time.monotonic() + seconds
    while not happened():
        assert job.poll() is None, job.communicate()
        if time.monotonic() > deadline:
            job.send_signal(signal.SIGINT)
            said = job.communicate(timeout=60)[1]
            raise AssertionError(f"not in {seconds} s; the job says: {said[-6000:]}")
        time.sleep(0.2)


def stop(job):
    job.send_signal(signal.SIGINT)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 130, err
    return err
