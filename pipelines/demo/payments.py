"""A thread that writes made-up card payments to a topic at a steady rate, some of them broken."""

import threading
import time

import msgspec
from confluent_kafka import Producer

from pipelines.demo.events import make_payments

__all__ = ["PaymentWriter"]

_SPOILT = 250  # one in so many payments cannot be embedded
_EVERY = 0.01
_FIRST = 100
_FLUSH_SECONDS = 5.0


class PaymentWriter:
    """Writes from `start` until `stop`.

    Args:
        brokers: HOST:PORT.
        topic: where to write; the key is the card's number.
        rate: payments a second.
        seed: of the payments.

    Attributes:
        written: the number of payments.
        spoilt: how many of them cannot be embedded: truncated JSON, or no reason.
    """

    def __init__(self, brokers: str, topic: str, *, rate: int, seed: int = 1) -> None:
        self.written = self.spoilt = 0
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5, "log_level": 3})
        self._topic = topic
        self._rate = rate
        self._payments = make_payments(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="payments", daemon=True)

    def start(self) -> None:
        """Start writing; the first payments are in the topic when this returns."""
        for _ in range(_FIRST):
            self._send()
        self._producer.flush(_FLUSH_SECONDS)
        self._thread.start()

    def stop(self) -> None:
        """Stop writing, and wait until every payment has arrived."""
        self._over.set()
        self._thread.join()
        self._producer.flush(_FLUSH_SECONDS)

    def _write(self) -> None:
        begin = time.monotonic()
        while not self._over.wait(_EVERY):
            for _ in range(int((time.monotonic() - begin) * self._rate) + _FIRST - self.written):
                self._send()
            self._producer.poll(0)

    def _send(self) -> None:
        payment = next(self._payments)
        self.written += 1
        n = self.written
        if n % (2 * _SPOILT) == 0:
            payment["reason"] = None
        value = msgspec.json.encode(payment)
        if n % (2 * _SPOILT) == _SPOILT:
            value = value[: len(value) // 2].decode(errors="ignore").encode()  # all of it UTF-8
        self.spoilt += n % _SPOILT == 0
        self._producer.produce(self._topic, value, payment["card"]["last4"])
