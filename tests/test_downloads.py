"""A test whose program is not on this machine is skipped, and says how to get it."""

import pytest
from downloads import needed


def test_a_program_that_is_missing_skips_the_test_with_advice():
    with pytest.raises(
        pytest.skip.Exception, match=r"^no-such-program is not installed: apt-get install it$"
    ):
        needed("no-such-program", "apt-get install it")


def test_a_program_that_is_there_is_found():
    assert needed("sh", "").endswith("/sh")
