"""Regular expressions of topics mean the same to our checks, in Python, and to Kafka's client, in C."""

import ctypes

import pytest

from encoder.errors import ConfigurationError
from pipelines.kafka.topic_patterns import INTERNAL_TOPICS, matches, subscription

TOPICS = [
    "orders-1",
    "orders-27",
    "orders-x",
    "payments",
    "a.b_c-d",
    "a.b",
    "axb",
    "x",
    "",
    "tab\tx",
    "a]b",
    "(d)",
]
_EXTENDED_NO_SUB = 1 | 8


def matches_in_c(expression, topic):
    """What librdkafka finds, which uses the C library's expressions."""
    libc, compiled = ctypes.CDLL(None), ctypes.create_string_buffer(512)
    assert libc.regcomp(compiled, expression.encode(), _EXTENDED_NO_SUB) == 0
    try:
        return libc.regexec(compiled, topic.encode(), 0, None, 0) == 0
    finally:
        libc.regfree(compiled)


@pytest.mark.parametrize(
    "wanted",
    [
        r"^orders-\d+$", r"^(?:orders|payments)", r"^(orders-\d|payments)$", r"^\w+$", r"^[\w.]+$",
        r"^[^\d.]+$", r"^a\.b", r"^a.b$", "^.*", r"^orders-\D", r"^[a-c\.]{3}$", r"^[]a]+b$", r"^\(\w\)$",
        r"^tab\s", r"^x?$", r"^[abx]|^pay", r"^orders-\d{2}$",
    ],
)  # fmt: skip
def test_an_expression_matches_the_same_topics_in_the_client(wanted):
    found = [topic for topic in TOPICS if matches(wanted, topic)]
    assert found
    assert [topic for topic in TOPICS if matches_in_c(subscription(wanted), topic)] == found


@pytest.mark.parametrize(
    "wanted",
    [r"^(?!x)a", r"^(?P<n>a)", r"^a+?$", r"^(?i:a)", r"^a\Z", r"^[\]a]", r"^[\s]", r"^a{2}?", r"^(?=a)"],
)
def test_what_the_client_does_not_know_is_refused(wanted):
    with pytest.raises(ConfigurationError, match="which Kafka's client does not know there"):
        subscription(wanted)


def test_names_stay_and_kafkas_own_topics_match_no_expression():
    assert subscription(r"a\d") == r"a\d"
    assert not any(matches("^.*", topic) for topic in INTERNAL_TOPICS)
    with pytest.raises(ConfigurationError, match="invalid regular expression"):
        matches("^(", "a")
