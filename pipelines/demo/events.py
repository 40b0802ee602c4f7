"""Made-up events: server logs and card payments, each kind in several wordings."""

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec

from encoder.atomic_files import new_file

__all__ = ["WORDINGS", "make_events", "make_payments", "text_of", "write_events", "write_payments"]

WORDINGS: dict[str, tuple[str, ...]] = {
    "password guessing": (
        "Failed password for invalid user {user} from {ip} port {port} ssh2",
        "PAM: {n} more authentication failures; logname= uid=0 tty=ssh rhost={ip}",
        "authentication failure: wrong password for {user} from {ip}, attempt {n}",
        "too many wrong login attempts for account {user}, source {ip} is blocked for {n} minutes",
    ),
    "disk full": (
        "write error on /dev/sd{letter}1: No space left on device",
        "volume {letter} of host {host} is {high} % full, cannot extend the file",
        "{service} cannot write its log: no space left on the disk of {host}",
        "kernel: EXT4-fs warning: {host} filesystem out of free blocks, journal aborted",
    ),
    "out of memory": (
        "Out of memory: Killed process {pid} ({service}) total-vm:{big}kB",
        "java.lang.OutOfMemoryError: Java heap space in {service} on {host}",
        "container {service} was terminated, it used more than its memory limit of {n} GiB",
    ),
    "slow database": (
        "slow query: SELECT on table orders took {big} ms on {host}",
        "connection pool of {service} is exhausted, waited {big} ms for the database",
        "statement timeout, canceling the SQL transaction of {service} after {n} s",
    ),
    "certificate": (
        "TLS handshake with {host} failed: certificate has expired",
        "x509: the certificate of {service} is valid only until yesterday, renew it",
    ),
    "impossible travel": (
        "same card used in {city} and in {city2} within {n} minutes",
        "one card, two countries: {city} and {city2}, only {n} minutes between the payments",
        "card of a customer in {city} used in {city2} {n} minutes later, nobody travels so fast",
        "cardholder paid at a terminal in {city} right after a purchase in {city2}, two countries in an hour",
    ),
    "card testing": (
        "{n} tiny amounts tried with one card at {merchant} within a minute",
        "series of one-cent authorisations from {merchant}, the card number is being tested",
    ),
    "insufficient funds": (
        "declined at {merchant}: insufficient funds on the account",
        "payment of {amount} EUR refused by the issuer, balance too low",
    ),
    "stolen card": (
        "card was reported lost yesterday and is now used at {merchant} in {city}",
        "purchase at {merchant} with a card that its owner says was stolen",
    ),
    "ordinary purchase": (
        "groceries and coffee at {merchant} in {city}, approved",
        "approved: contactless payment of {amount} EUR for lunch at {merchant}",
    ),
}
"""Kinds of events, and their wordings."""

_LOGS = 5  # the first so many kinds are log lines, the others payments
_FILLERS: dict[str, tuple[str, ...]] = {
    "user": ("admin", "oracle", "test", "postgres", "guest"),
    "host": ("db-07", "web-12", "edge-3", "broker-1", "cache-5"),
    "service": ("checkout", "ledger", "auth-api", "scoring", "search"),
    "letter": ("a", "b", "c", "d"),
    "merchant": ("Café Lisboa", "Nordic Fuel", "Green Basket", "Juwelier Roth", "SkyWays", "Kiosk 24"),
    "city": ("Lisbon", "Hamburg", "Warsaw", "Lyon", "Bergen"),
    "city2": ("Tokyo", "São Paulo", "Toronto", "Cape Town", "Singapore"),
}


def make_events(n: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `n` events; the same seed gives the same events.

    A log line has `host` and `message`; a payment has `card`, `merchant`, `amount` and `reason`; both have
    `id` and `kind`.
    """
    return _make(range(n), tuple(WORDINGS), seed)


def make_payments(seed: int) -> Iterator[dict[str, Any]]:
    """Yield endless payments, as those of `make_events`; the same seed gives the same ones."""
    return _make(count(), tuple(WORDINGS)[_LOGS:], seed)


def _make(numbers: Iterable[int], kinds: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(seed)  # noqa: S311 - events, not secrets
    logs = set(tuple(WORDINGS)[:_LOGS])
    for i in numbers:
        kind = kinds[rng.randrange(len(kinds))]
        values = {name: rng.choice(choices) for name, choices in _FILLERS.items()}
        values |= {
            "ip": f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}",
            "port": str(rng.randrange(1024, 65536)),
            "pid": str(rng.randrange(100, 32768)),
            "n": str(rng.randrange(2, 60)),
            "high": str(rng.randrange(95, 101)),
            "big": str(rng.randrange(10_000, 900_000)),
            "amount": f"{rng.randrange(100, 90_000) / 100:.2f}",
        }
        text = rng.choice(WORDINGS[kind]).format(**values)
        event: dict[str, Any] = {"id": i, "kind": kind}
        if kind in logs:
            event |= {"host": values["host"], "message": text}
        else:
            card = {"last4": f"{rng.randrange(10_000):04d}", "country": "PT"}
            amount = float(values["amount"])
            event |= {"card": card, "merchant": values["merchant"], "amount": amount, "reason": text}
        yield event


def text_of(event: dict[str, Any]) -> str:
    """The text of an event, as the template `{message}{reason}` gives it."""
    return f"{event.get('message', '')}{event.get('reason', '')}"


def write_events(path: Path, n: int, seed: int) -> None:
    """Write `n` events of `make_events` as JSON lines, whole or not at all."""
    _write(path, make_events(n, seed))


def write_payments(path: Path, n: int, seed: int) -> None:
    """Write the first `n` payments of `make_payments` in the same way."""
    _write(path, islice(make_payments(seed), n))


def _write(path: Path, events: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        encoder = msgspec.json.Encoder()
        for event in events:
            file.write(encoder.encode(event) + b"\n")
