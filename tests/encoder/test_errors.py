"""The classes of errors match the tree in the docstring."""

import inspect
import re

import pytest

from encoder import errors


def _drawn():
    """Each class of the docstring's tree with the class above it."""
    parents, branch = {}, []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^( {4}(?:[│ ]   )*)(├── |└── )?(\w+)(  |$)", line)
        if match:
            depth = (len(match[1]) - 4 + len(match[2] or "")) // 4
            branch[depth:] = [match[3]]
            parents[match[3]] = branch[depth - 1] if depth else "Exception"
    return parents


def test_the_drawn_tree_is_the_tree():
    classes = {
        name: kind.__base__.__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }
    assert _drawn() == classes
    assert len(classes) > 10


def test_every_error_is_exported_and_documented():
    assert sorted(errors.__all__) == sorted(_drawn())
    assert all(getattr(errors, name).__doc__ for name in errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_a_millstream_error(name):
    assert issubclass(getattr(errors, name), errors.MillstreamError)


def test_a_missing_extra_says_what_to_install():
    error = errors.MissingExtra("apache_beam", "beam")
    assert str(error) == "apache_beam is not installed: pip install 'millstream[beam]'"
