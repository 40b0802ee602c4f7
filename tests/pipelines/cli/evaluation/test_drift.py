"""`millstream evaluate --drift` as a person calls it."""

import json

import numpy as np
import pytest


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)

    def write(name, n, strange=0):
        texts = [f"{('card paid', 'login failed')[k]} {i}" for k, i in random.integers(0, (2, 60), (n, 2))]
        texts[:strange] = ["zzzz qqqq xxxx"] * strange
        path = tmp_path / name
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return path

    return write("before.jsonl", 600), write("same.jsonl", 400), write("other.jsonl", 400, 40)


def test_one_set_of_files_is_held_against_another(millstream, model, files):
    before, same, other = files
    calm = json.loads(millstream("evaluate", model, "--drift", before, same, "--json").data)
    found = json.loads(millstream("evaluate", model, "--drift", before, other, "--json").data)
    assert calm["drift"] < 1 < found["drift"]
    assert (found["records"], found["measures"][0]["measure"]) == (400, found["measure"])
    assert set(found["unusual"]) <= set(range(1, 41))
    printed = millstream("evaluate", model, "--drift", before, other).data.decode()
    assert "more different than one in a thousand" in printed
    assert "zzzz" not in printed


def test_what_cannot_be_compared_is_refused(millstream, model, files):
    before, same, _ = files
    none = millstream("evaluate", model, "--drift", "baseline", same)
    assert (none.code, "has no drift baseline" in none.err) == (2, True)
    more = millstream("evaluate", model, "--drift", before, same, "--input", same)
    assert (more.code, "--drift measures nothing else" in more.err) == (2, True)
