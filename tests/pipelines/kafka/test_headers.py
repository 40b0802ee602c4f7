"""Headers are read once, and those that nobody can read are never touched again."""

import pytest
from faults.messages import FakeMessage

from encoder.errors import InputError
from pipelines.kafka.headers import all_headers, read_headers

NAMELESS = SystemError("returned a result with an exception set")


class Once(FakeMessage):
    """The client's message: the second call gives a name that is no object."""

    n_calls = 0

    def headers(self):
        self.n_calls += isinstance(self.headers_, Exception)
        assert self.n_calls < 2, "this would crash the process"
        return super().headers()


def test_headers_of_several_messages():
    messages = [FakeMessage(b"", headers_=[("a", b"1")]), FakeMessage(b"")]
    assert all_headers(messages) == [[("a", b"1")], None]
    assert [read_headers(message) for message in messages] == [[("a", b"1")], []]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_unreadable_headers_are_read_once(n):
    messages = [Once(b"") for _ in range(n - 1)]
    messages.insert(n // 2, Once(b"", headers_=NAMELESS))
    for _ in range(3):
        with pytest.raises(InputError, match="not UTF-8"):
            all_headers(messages)
        with pytest.raises(InputError, match="not UTF-8"):
            read_headers(messages[n // 2])
    others = [message for i, message in enumerate(messages) if i != n // 2]
    assert all_headers(others) == [None] * len(others)
