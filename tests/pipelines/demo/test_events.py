import json
import re

import pytest

from pipelines.demo.events import WORDINGS, make_events, text_of, write_events


def patterns():
    """For each wording a regular expression that its texts match."""
    for kind, wordings in WORDINGS.items():
        for wording in wordings:
            parts = [re.escape(part) for part in re.split(r"\{\w+\}", wording)]
            yield kind, re.compile("(.+)".join(parts))


def test_the_same_seed_gives_the_same_events_and_another_gives_others():
    assert list(make_events(50, seed=3)) == list(make_events(50, seed=3))
    assert list(make_events(50, seed=3)) != list(make_events(50, seed=4))
    assert list(make_events(50, seed=3))[:20] == list(make_events(20, seed=3))


def test_every_wording_occurs_and_every_event_is_one_of_its_kind():
    events = list(make_events(1500, seed=1))
    assert [event["id"] for event in events] == list(range(1500))
    found = set()
    for event in events:
        matching = {
            (kind, wording.pattern) for kind, wording in patterns() if wording.fullmatch(text_of(event))
        }
        assert event["kind"] in {kind for kind, _ in matching}, event
        found |= matching
    assert found == {(kind, wording.pattern) for kind, wording in patterns()}


def test_logs_and_payments_have_fields_of_their_own():
    for event in make_events(200, seed=2):
        if "message" in event:
            assert event.keys() == {"id", "kind", "host", "message"}
            assert text_of(event) == event["message"]
        else:
            assert event.keys() == {"id", "kind", "card", "merchant", "amount", "reason"}
            assert text_of(event) == event["reason"]
            assert 1 <= event["amount"] < 900


def test_events_are_written_as_json_lines_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep/events.jsonl"
    write_events(path, 30, seed=5)
    with path.open(encoding="utf-8") as lines:
        assert [json.loads(line) for line in lines] == list(make_events(30, seed=5))

    def breaks(n, seed):
        yield from make_events(n // 2, seed)
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.demo.events.make_events", breaks)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_events(path, 60, seed=6)
    assert path.read_bytes() == before
