"""A thread that reads a worker's outputs: the newest records, their neighbours, and dead letters."""

import base64
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer
from numpy.typing import NDArray
from rich.text import Text

from pipelines.demo.events import make_payments
from pipelines.demo.neighbours import nearest
from pipelines.enrich.enrichment import ADDED

__all__ = ["Watcher", "score_lines"]

_DECODE: dict[str, Callable[[bytes], Any]] = {"json": msgspec.json.decode, "msgpack": msgspec.msgpack.decode}
_KEPT = 2000
_NEIGHBOURS = 3
_ASK_SECONDS = 4.0  # how long an event is shown
_NO_SCORES = {*next(make_payments(0)), *ADDED}
_DULL = ("ordinary purchase", "insufficient funds")


class Watcher:
    """Reads from `start` until `stop`.

    Args:
        brokers: HOST:PORT.
        outputs: topics of records.
        dead_letters: the topic of dead letters, or None.
        form: the records' format; `json` and `msgpack` are read, others only counted.
        dtype: of vectors in bytes.

    Attributes:
        records: the number of messages read from the outputs.
        letters: the number of dead letters read.
    """

    def __init__(
        self, brokers: str, outputs: Sequence[str], dead_letters: str | None, *, form: str, dtype: str
    ) -> None:
        self.records = self.letters = 0
        self._topics = [*outputs, *([dead_letters] if dead_letters else [])]
        self._dead_letters = dead_letters
        self._decode = _DECODE.get(form)
        self._dtype = dtype
        self._kept: deque[tuple[str, str, NDArray[np.float32], dict[str, Any]]] = deque(maxlen=_KEPT)
        self._letter = b""
        self._shown: list[Text] = []
        self._shown_at = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="watcher", daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "watcher",
                "group.protocol": "consumer",  # gets its partitions at once from the embedded cluster
                "auto.offset.reset": "earliest",
                "enable.auto.commit": "false",
                "log_level": "3",
            }
        )

    def start(self) -> None:
        """Start reading."""
        if self._topics:
            self._consumer.subscribe(self._topics)
            self._thread.start()

    def stop(self, n_messages: int = 0, seconds: float = 5.0) -> None:
        """Stop after `n_messages` messages, or after some seconds."""
        deadline = time.monotonic() + seconds
        while self._topics and self.records + self.letters < n_messages and time.monotonic() < deadline:
            time.sleep(0.05)
        self._over.set()
        if self._topics:
            self._thread.join()
        self._consumer.close()

    def _read(self) -> None:
        while not self._over.is_set():
            for message in self._consumer.consume(500, 0.1):
                if message.error() is not None:
                    continue
                if message.topic() == self._dead_letters:
                    self.letters += 1
                    self._letter = message.value() or b""
                else:
                    self.records += 1
                    self._keep(message.value() or b"")

    def _keep(self, value: bytes) -> None:
        if self._decode is None:
            return
        record = self._decode(value)
        text = str(record.get("reason") or record)
        scores = {name: value for name, value in record.items() if name not in _NO_SCORES}
        self._kept.append((text, str(record.get("kind", "")), self._vector(record["embedding"]), scores))

    def _vector(self, value: Any) -> NDArray[np.float32]:
        """A vector in any layout as `(dim,)` float32 of length 1."""
        if isinstance(value, list):
            vector = np.array(value, np.float32)
        else:
            raw = base64.b64decode(value) if isinstance(value, str) else value
            vector = np.frombuffer(raw, self._dtype).astype(np.float32)
        length = float(np.linalg.norm(vector))
        return vector / length if length else vector

    def shown(self) -> tuple[str, list[Text]]:
        """A title and lines: an event, its scores, its nearest neighbours, and the newest dead letter."""
        if time.monotonic() - self._shown_at > _ASK_SECONDS:
            self._shown_at = time.monotonic()
            self._shown = self._neighbours()
        lines = list(self._shown)
        if self._letter:
            letter = self._letter.decode(errors="replace")
            lines.append(Text.assemble(("  dead ", "yellow"), letter))
        return "an event in the output, and its nearest neighbours", lines

    def _neighbours(self) -> list[Text]:
        kept = list(self._kept)
        rows = [row for row, (_, kind, *_) in enumerate(kept) if kind not in _DULL]
        if not rows:
            return [Text("  none yet", "dim")]
        texts, kinds, vectors, scores = zip(*kept, strict=True)
        near = nearest(rows[-1], list(texts), list(kinds), np.stack(vectors), _NEIGHBOURS)
        asked = Text.assemble(f"       {kinds[rows[-1]]}: ", (texts[rows[-1]], "bold"))
        return [
            asked,
            *score_lines(scores[rows[-1]]),
            *(
                Text.assemble((f"  {one.cosine:.2f} ", "cyan"), (f"{one.kind}: ", "dim"), one.text)
                for one in near
            ),
        ]


def score_lines(scores: Mapping[str, Any]) -> list[Text]:
    """A line for each head: `known: label stolen card, similarity 0.97`."""
    heads: dict[str, list[str]] = {}
    for name, value in scores.items():
        head, _, what = name.rpartition("_")
        shown = f"{value:.2f}" if isinstance(value, float) else "none" if value is None else str(value)
        heads.setdefault(head, []).append(f"{what} {shown}")
    return [Text.assemble((f"       {head}: ", "green"), ", ".join(parts)) for head, parts in heads.items()]
