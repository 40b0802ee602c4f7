"""Neighbours of examples."""

import numpy as np

from distill.report.groups import Groups
from distill.report.neighbours import examples


def test_the_example_is_the_middle_of_its_group_and_shared_neighbours_are_marked():
    angles = np.array([0.0, 0.1, 0.2, 1.5, 1.6])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    groups = Groups(["low", "high", "empty"], np.array([0, 0, 0, 1, 1]))
    low, high = examples([vectors, vectors[::-1]], groups)
    assert low.record == 1
    assert {near.record for near in low.lists[0][:2]} == {0, 2}
    assert all(near.shared for near in low.lists[0])  # five records: both show the other four
    assert low.lists[0][0].cosine > 0.99
    assert high.record in (3, 4)
    assert len(examples([vectors], groups)[0].lists) == 1
    assert not any(near.shared for near in examples([vectors], groups)[0].lists[0])
