"""The dashboard of `--ui`: rates, latency, lag, the model and errors on one screen of a terminal.

┌ records ┐ ┌ latency ┐
┌ lag     ┐ ┌ worker  ┐
┌ log, and the demonstration's panel ┐
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipelines.worker.telemetry.metrics_history import MetricsHistory

__all__ = ["Dashboard", "WorkerStatus", "duration_text", "sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_TOP, _MIDDLE, _LEAST_LOG = 6, 8, 4
_MIB = 1 << 20
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_P = (0.5, 0.99)
_DIM, _BAD, _GOOD = "dim", "bold red", "green"


@dataclass(frozen=True)
class WorkerStatus:
    """What the dashboard shows beside metrics; functions return what changes.

    Attributes:
        title: the worker's group and topics.
        model: the label of the model.
        last_reason: why the newest dead letter failed.
        log: the newest log lines, oldest first.
        extra: the title and lines of another panel, or None.
    """

    title: str
    model: Callable[[], str]
    last_reason: Callable[[], str]
    log: Callable[[], Sequence[str]]
    extra: Callable[[], tuple[str, Sequence[Text]]] | None = None


class Dashboard:
    """Draws the screen; `rich.live.Live` calls it twice a second.

    Args:
        history: of the worker's metrics; each drawing polls it.
        status: what to show beside metrics.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self, history: MetricsHistory, status: WorkerStatus, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._history = history
        self._status = status
        self._clock = clock
        self._since = clock()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw one screen of the console's size."""
        self._history.poll()
        height = options.height or console.height
        rest = max(1, height - 1 - _TOP - _MIDDLE)
        layout = Layout()
        top, middle, bottom = Layout(size=_TOP), Layout(size=_MIDDLE), Layout(size=rest)
        top.split_row(Layout(self._records(console.width // 2 - 4)), Layout(self._latency()))
        middle.split_row(Layout(self._lag(_MIDDLE - 2)), Layout(self._worker()))
        bottom.split_column(*self._bottom(rest))
        layout.split_column(Layout(self._head(), size=1), top, middle, bottom)
        yield layout

    def _head(self) -> RenderableType:
        row = Table.grid(expand=True)
        row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        row.add_column(justify="right", no_wrap=True)
        name = Text.assemble((" millstream worker ", "reverse"), " ", self._status.title)
        row.add_row(name, Text(f"{duration_text(self._clock() - self._since)} ", _DIM))
        return row

    def _records(self, width: int) -> Panel:
        now = self._history
        size = now.value("millstream_batch_records_sum") / max(1, now.value("millstream_batch_records_count"))
        return _panel(
            "records",
            Text(f"{now.rate('millstream_records_total'):,.0f} a second", "bold"),
            Text(sparkline(now.rates("millstream_records_total", width), width), _GOOD),
            Text(f"{now.rate('millstream_bytes_total') / _MIB:,.2f} MiB/s in batches of {size:,.0f}"),
            Text(f"{now.value('millstream_records_total'):,.0f} in all"),
        )

    def _latency(self) -> Panel:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        for _ in _P:
            table.add_column(justify="right", no_wrap=True)
        table.add_row("", Text("p50", _DIM), Text("p99", _DIM))
        for text, name in (
            ("to the commit", "latency"),
            ("encoding a batch", "encode"),
            ("committing", "commit"),
        ):
            found = self._history.quantiles(f"millstream_{name}_seconds", _P)
            table.add_row(text, *("-" if found is None else _milliseconds(value) for value in found or _P))
        return Panel(table, title="latency", title_align="left", border_style=_DIM)

    def _lag(self, rows: int) -> Panel:
        lags = sorted(self._history.labelled("millstream_lag_records").items(), key=lambda one: -one[1])
        if not lags:
            return _panel("lag", Text("waiting for partitions", _DIM))
        shown = lags if len(lags) <= rows else lags[: rows - 1]
        several = len({dict(labels).get("topic") for labels, _ in lags}) > 1
        largest = max(1.0, lags[0][1])
        lines = []
        for labels, lag in sorted(shown, key=_partition) if len(shown) == len(lags) else shown:
            known = dict(labels)
            name = f"{known['topic'][-10:]}/{known['partition']}" if several else known["partition"]
            bar = "█" * round(8 * lag / largest)
            lines.append(Text.assemble(f"{name:>5}", (f" {lag:>9,.0f} ", "bold"), (bar, "yellow")))
        if rest := lags[len(shown) :]:
            lines.append(Text(f"and {len(rest)} more: {sum(lag for _, lag in rest):,.0f}", _DIM))
        return _panel(f"lag by partition, {sum(lag for _, lag in lags):,.0f} in all", *lines)

    def _worker(self) -> Panel:
        now = self._history
        commits = {
            dict(labels)["outcome"]: value
            for labels, value in now.labelled("millstream_commits_total").items()
        }
        refused = sum(value for outcome, value in commits.items() if outcome != "committed")
        dead, records = now.value("millstream_dead_letters_total"), now.value("millstream_records_total")
        age = self._clock() - now.value("millstream_model_loaded_timestamp_seconds")
        held, waiting = now.value("millstream_held_partitions"), now.value("millstream_waiting_bytes")
        bad_models = now.value("millstream_model_versions_refused")
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, min_width=len("commits"))
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_row("model", Text(f"{self._status.model()}, for {duration_text(age)}"))
        if bad_models:
            table.add_row("", Text(f"{bad_models:.0f} newer refused", _BAD))
        table.add_row(
            "commits",
            Text.assemble(
                f"{commits.get('committed', 0):,.0f}", (f", {refused:,.0f} void" if refused else "", _BAD)
            ),
        )
        table.add_row("dead", Text(f"{dead:,.0f} ({dead / max(records, 1):.2%})", "yellow" if dead else ""))
        table.add_row("held", Text(f"{held:.0f} partitions, {waiting / _MIB:,.0f} MiB", _BAD if held else ""))
        table.add_row("memory", Text(f"{now.value('process_resident_memory_bytes') / _MIB:,.0f} MiB"))
        return Panel(table, title="worker", title_align="left", border_style=_DIM)

    def _bottom(self, height: int) -> list[Layout]:
        """The newest dead letter, the extra panel and the log, in `height` lines."""
        parts = []
        if reason := self._status.last_reason():
            parts.append(
                Layout(
                    Text(f" newest dead letter: {reason}", "yellow", no_wrap=True, overflow="ellipsis"),
                    size=1,
                )
            )
            height -= 1
        if self._status.extra is not None:
            title, lines = self._status.extra()
            size = min(len(lines) + 2, height - _LEAST_LOG) if height > 2 * _LEAST_LOG else height
            parts.append(Layout(_panel(title, *lines), size=size))
            height -= size
        if height > 2:
            lines = [Text(line) for line in list(self._status.log())[2 - height :]]
            parts.append(Layout(_panel("log", *lines), size=height))
        return parts


def _partition(lag: tuple[tuple[tuple[str, str], ...], float]) -> tuple[str, int]:
    labels = dict(lag[0])
    return labels.get("topic", ""), int(labels["partition"])


def _panel(title: str, *lines: Text) -> Panel:
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Panel(Group(*lines), title=title, title_align="left", border_style=_DIM)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def sparkline(values: Sequence[float], width: int) -> str:
    """Numbers as bars, the newest at the right; the largest is a full bar."""
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    bars = "".join(_BARS[min(7, int(8 * max(value, 0.0) / top))] for value in values[-width:])
    return bars.rjust(width)


def duration_text(seconds: float) -> str:
    """`5 s`, `3 min`, `2 h 5 min`, `4 d`."""
    seconds = max(0.0, seconds)
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} d"
