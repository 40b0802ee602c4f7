"""The verifier of the scenarios of faults sees each way in which a record may not be where it belongs."""

import pytest
from faults.verifier import verify

GOOD = {"1": ("a", 1), "2": ("b", 2)}
BAD = {"3": b"{", "4": None}
RIGHT, LETTERS = list(GOOD.items()), list(BAD.items())


def test_everything_in_its_place_is_right():
    found = verify(GOOD, BAD, [RIGHT, RIGHT[::-1]], LETTERS)
    assert found.is_right
    assert found.records == 4


@pytest.mark.parametrize(
    ("outputs", "letters", "names"),
    [
        ([RIGHT, RIGHT[:1]], LETTERS, {"lost"}),
        ([[*RIGHT, RIGHT[0]]], LETTERS, {"repeated"}),
        ([[RIGHT[0], ("2", ("b", 3))]], LETTERS, {"changed"}),
        ([[*RIGHT, ("3", ("", 0))]], LETTERS, {"misplaced"}),
        ([RIGHT], [*LETTERS, ("1", b"")], {"misplaced"}),
        ([RIGHT], [*LETTERS, ("9", b"")], {"misplaced"}),
        ([RIGHT], LETTERS[:1], {"dead_wrong"}),
        ([RIGHT], [LETTERS[0], ("4", b"")], {"dead_wrong"}),
        ([RIGHT], [*LETTERS, LETTERS[1]], {"dead_repeated"}),
    ],
)
def test_what_is_not_right_is_counted(outputs, letters, names):
    found = verify(GOOD, BAD, outputs, letters)
    counts = {name for name, n in vars(found).items() if n and name != "records"}
    assert counts == names
    assert not found.is_right
    assert found.is_complete == (names <= {"repeated", "dead_repeated"})
