"""What the tests of streams share: producers of records that happen now, and the end of a job."""

import json
import signal
import threading
import time

from patience import PATIENCE
from topics import write_topic

__all__ = ["Producer", "TopicProducer", "stop"]

PER_FILE = 20
PACE = 0.25  # seconds between two files


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


def stop(job):
    job.send_signal(signal.SIGINT)
    _, err = job.communicate(timeout=PATIENCE)
    assert job.returncode == 130, err
    return err
