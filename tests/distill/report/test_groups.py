"""Groups of records."""

import numpy as np

from distill.report.groups import MOST_GROUPS, by_cluster, by_label


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
