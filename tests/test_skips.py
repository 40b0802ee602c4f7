"""A run fails where it skips a test that is not listed, and only there."""

import pytest
from skips import unlisted

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.parametrize("kind", ["a", "b"])
def test_one(kind):
    pytest.skip("no GPU")

def test_two():
    pass
"""


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ('"*::test_one[[]*]" = "a GPU"', 1),
        ('"*::test_one[*" = "a GPU"', 0),
        ('"*::test_one[a]" = "a GPU"', 1),
    ],
)
def test_a_skip_that_is_not_listed_fails_the_run(pytester, listed, code):
    pytester.makepyfile(TESTS)
    (pytester.path / "skips.toml").write_text(f"[skips]\n{listed}\n")
    arguments = ["-p", "skips", "--expected-skips", "skips.toml", "-p", "no:randomly", "-p", "no:xdist"]
    result = pytester.runpytest_inprocess(*arguments)
    result.assert_outcomes(passed=1, skipped=2)
    assert result.ret == code
    if code:
        result.stdout.fnmatch_lines(["*skipped, but not listed in skips.toml*", "*test_one[[]b]: *no GPU*"])


def test_brackets_in_patterns_stand_for_themselves():
    skipped = [("f.py::test[a]", "x"), ("f.py::test[b]", "y"), ("g.py::test", "z")]
    assert unlisted(skipped, ["f.py::test[a]"]) == skipped[1:]
    assert unlisted(skipped, ["f.py::*"]) == skipped[2:]
    assert unlisted(skipped, []) == skipped
