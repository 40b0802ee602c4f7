"""Groups of records."""

from types import SimpleNamespace

import numpy as np

from distill.report.groups import MOST_GROUPS, by_cluster, by_head, by_label
from encoder.heads.cases import Strings


def test_labels_come_by_their_size():
    groups = by_label(["b", "a", "a", "c", "a", "b"])
    assert groups.names == ["a", "b", "c"]
    assert groups.numbers.tolist() == [1, 0, 0, 2, 0, 1]


def test_more_labels_than_colours_share_the_last_one():
    labels = [f"l{i}" for i in range(12) for _ in range(12 - i)]
    groups = by_label(labels)
    assert groups.names == [*(f"l{i}" for i in range(MOST_GROUPS - 1)), "other labels"]
    assert groups.numbers.max() == MOST_GROUPS - 1


def test_clusters_hold_what_lies_together_and_are_called_by_their_words():
    centres = np.eye(8)
    vectors = np.repeat(centres, 5, axis=0) + 0.01
    texts = [f"the word{'abcdefgh'[i // 5]} again" for i in range(40)]
    groups = by_cluster(vectors, texts)
    assert all(len(set(groups.numbers[i : i + 5])) == 1 for i in range(0, 40, 5))
    assert len(set(groups.numbers)) == 8
    assert groups.names[groups.numbers[0]].startswith("worda")
    assert by_cluster(vectors).names[0] == "cluster 1"


def test_equal_vectors_are_one_cluster():
    assert by_cluster(np.ones((5, 3))).names == ["cluster 1"]


def test_the_largest_groups_of_a_head_have_colours_and_the_others_share_one():
    head = SimpleNamespace(titles=Strings.of([f"title {k}" for k in range(10)]))
    found = np.repeat(np.arange(-1, 10, dtype=np.int32), [3, *range(1, 11)])
    groups = by_head(head, found)
    assert groups.names == [*(f"title {k}" for k in range(9, 3, -1)), "other groups", "in no group"]
    assert len(groups.names) == MOST_GROUPS
    assert groups.numbers[found == 9].tolist() == [0] * 10
    assert set(groups.numbers[(found >= 0) & (found < 4)]) == {6}
    assert set(groups.numbers[found < 0]) == {7}
    assert by_head(head, np.array([2, 2, 1], np.int32)).names == ["title 2", "title 1"]
