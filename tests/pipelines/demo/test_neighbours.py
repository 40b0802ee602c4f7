import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.demo.neighbours import Neighbour, nearest_wordings

ANGLES = {  # text: kind and angle to the first of them, in degrees
    "disk is full": ("disk", 0),
    "disk is full on a": ("disk", 1),  # says the same with a name
    "no space left anywhere": ("disk", 20),
    "no space left there": ("disk", 25),
    "memory has run out": ("memory", 40),
    "groceries and coffee": ("shop", 90),
    "card was stolen": ("card", 180),
}


@pytest.fixture
def folder(tmp_path):
    texts = list(ANGLES)
    kinds = [kind for kind, _ in ANGLES.values()]
    angles = np.deg2rad([angle for _, angle in ANGLES.values()])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    logs = [kind in ("disk", "memory") for kind in kinds]
    table = pa.table(
        {
            "kind": kinds,
            "message": [text if log else None for text, log in zip(texts, logs, strict=True)],
            "reason": [None if log else text for text, log in zip(texts, logs, strict=True)],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 2),
        }
    )
    pq.write_table(table.slice(0, 3), tmp_path / "a.parquet")
    pq.write_table(table.slice(3), tmp_path / "b.parquet")
    return tmp_path


def test_neighbours_are_the_nearest_that_say_it_in_other_words(folder):
    [(asked, near)] = nearest_wordings(folder, ("disk",), n=3).items()
    assert asked == Neighbour("disk is full", "disk", 1.0)
    assert [(one.text, one.kind) for one in near] == [
        ("no space left anywhere", "disk"),
        ("memory has run out", "memory"),
        ("groceries and coffee", "shop"),
    ]
    assert [one.cosine for one in near] == pytest.approx(np.cos(np.deg2rad([20, 40, 90])), abs=1e-6)


def test_every_kind_is_asked_for_and_there_may_be_fewer_neighbours(folder):
    found = nearest_wordings(folder, ("card", "memory"), n=99)
    assert [asked.kind for asked in found] == ["card", "memory"]
    assert all(len(near) == 4 for near in found.values())
