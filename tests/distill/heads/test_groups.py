"""Groups: templates of a stream, the same in any batches; ids that stay; loghub beside what is published."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.heads.groups import fit_groups, templates_of
from distill.heads.sequences import NEVER, Sequences
from encoder.arrays.texts import read_texts
from encoder.errors import InputError
from encoder.heads.scoring import Heads
from encoder.masks import KINDS, Masks

DIM = 4
DATA = Path(__file__).parents[3] / "../shared/data/loghub"


def fit(texts, step=None, most=50_000, earlier=None, times=None):
    """Groups of texts that are added a few at a time."""
    sequences, step = Sequences(most, examples=True), step or len(texts)
    for first in range(0, len(texts), step):
        (buffers,) = read_texts(pa.array(texts[first : first + step], pa.large_string()))
        sequences.add(buffers, None if times is None else times[first : first + step])
    return fit_groups("event", templates_of(sequences), DIM, earlier=earlier, examples=True)


def outcome(head, texts):
    (found,) = Heads([head])(np.zeros((len(texts), DIM), np.float32), texts)
    return found


def everything(head):
    """All that a head holds."""
    texts = ("ids", "titles", "first_seen", "examples", "templates", "rows")
    return [getattr(head, name).tolist() for name in (*texts, "sizes", "group", "template")]


USERS = [f"session opened for user {name} by root" for name in ("ann", "bob", "cid", "dan", "eve")]
LOGINS = [f"{what} password for {user} from <ip>" for what in ("Accepted", "Failed") for user in "abcdefgh"]


def test_what_has_many_values_is_a_variable_and_what_says_what_happened_is_not():
    head = fit([*USERS, *LOGINS, "disk 7 is full", "disk 8 is full", None, ""])
    assert head.templates.tolist() == [
        "Accepted password for <*> from <*>",
        "Failed password for <*> from <*>",
        "session opened for user <*> by root",
        "disk <*> is full",
    ]
    assert head.sizes.tolist() == [8, 8, 5, 2]
    assert head.titles.tolist()[2] == "session opened user root"
    assert head.examples.tolist()[2] == USERS[0]
    found = outcome(head, ["session opened for user zoe by root", "Lost password for a from <ip>", "new"])
    assert found.template.tolist() == found.group.tolist() == [2, -1, -1]
    assert found.similarity.tolist() == [1, 0.75, 0]


def test_values_join_a_template_that_has_a_variable_there():
    head = fit(
        ["login by <ip>", "login by host", "logout by host", "uid=7 of [x-1] (a) b", "uid=8 of [x-2] (a) b"]
    )
    assert head.templates.tolist() == ["login by <*>", "uid=<*> of [<*>] (a) b", "logout by host"]


def test_a_value_of_several_words_is_a_variable_too():
    names = ["Ann", "Bob", "Cid Day", "Eve Fay", "Gus", "Hal", "Ida van Jan", "Ken"]
    lines = [f"card paid at the shop of {name} today" for name in names]
    head = fit([*lines, *(f"card paid at the shop of {name}" for name in names if " " not in name)])
    assert head.templates.tolist() == [
        "card paid at the shop of <*> today",
        "card paid at the shop of <*>",
    ]
    assert head.sizes.tolist() == [8, 5]
    assert outcome(head, ["card paid at the shop of Liz Moe today"]).group.tolist() == [0]


words = st.sampled_from(["login", "logout", "of", "ann", "bob", "7", "<ip>", "at", "a=b"])
lines = st.lists(words, min_size=0, max_size=5).map(" ".join)


@given(st.lists(st.none() | lines, min_size=1, max_size=60), st.integers(1, 60), st.integers(2, 50))
def test_the_same_texts_give_the_same_groups_in_any_batches_and_are_found_again(texts, step, most):
    if not any(texts):
        with pytest.raises(InputError, match="no record has a text with a word"):
            fit(texts)
        return
    assert everything(fit(texts, most=most)) == everything(fit(texts, step, most))
    found = outcome(fit(texts), texts)
    assert [group >= 0 for group in found.group] == [bool(text and text.strip()) for text in texts]
    sizes = Counter(found.group[found.group >= 0].tolist())
    assert [sizes[k] for k in range(len(sizes))] == fit(texts).sizes.tolist()


def test_memory_is_bounded_and_what_is_rare_is_forgotten():
    head = fit(["often"] * 9 + [f"w{'x' * k} once" for k in range(1, 50)], most=10)
    assert head.templates.tolist()[0] == "often"
    assert len(head.templates) <= 10


def test_groups_keep_their_ids_where_a_template_became_more_general():
    texts = ["login by ann of sales", "disk full"]
    times = np.array([2_000_000, NEVER])
    before = fit(texts, times=times)
    later = fit([f"login by {name} of sales" for name in "abcdefg"] + ["new one"], earlier=before)
    assert before.first_seen.tolist() == later.first_seen.tolist() == ["1970-01-01T00:00:02Z", ""]
    assert later.templates.tolist() == ["login by <*> of sales", "new one"]
    assert later.ids.tolist()[0] == before.ids.tolist()[0]
    assert before.ids.tolist()[1] not in later.ids.tolist()


def test_each_id_is_taken_once():
    before = fit(["login by ann of sales"])
    again = fit([f"login by {name} of sales" for name in "abcdefg"], earlier=before)
    third = fit([*["login by ann of sales"] * 3, "login by <ip> of it"], earlier=again)
    assert len(set(third.ids.tolist())) == len(third.ids)
    assert again.ids.tolist() == before.ids.tolist()


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_log_lines_are_grouped_as_their_event_ids():
    accuracies = []
    for path in sorted(DATA.glob("*/*_structured.csv")):
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            rows = list(csv.DictReader(file))
        texts = Masks(KINDS)([row["Content"] for row in rows]).to_pylist()
        group = outcome(fit(texts), texts).group.tolist()
        pairs = Counter((row["EventId"], one) for row, one in zip(rows, group, strict=True))
        events, groups = Counter(row["EventId"] for row in rows), Counter(group)
        same = [n for (event, one), n in pairs.items() if n == events[event] == groups[one]]
        accuracies.append(sum(same) / len(rows))
    assert np.mean(accuracies) > 0.95  # Drain3 0.9.11 with its defaults: 0.879
