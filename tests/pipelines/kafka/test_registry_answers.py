import pytest

from encoder.errors import ConfigurationError, RegistryUnavailable
from pipelines.kafka.registry_answers import is_missing, refusal, shown_url

URL = "http://registry:8081"


class Answer(Exception):
    def __init__(self, status, code=None, message="no"):
        super().__init__(status)
        self.http_status_code, self.error_code, self.error_message = status, code, message


def test_urls_for_people():
    assert shown_url("http://u:p@a:1/x, https://b") == "http://a:1/x,https://b"


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (Answer(404, 40403), True),
        (Answer(404, 404), False),  # of a proxy
        (Answer(500, 40403), False),
        (OSError("refused"), False),
    ],
)
def test_only_the_registry_itself_says_that_something_is_missing(error, missing):
    assert is_missing(error) is missing


@pytest.mark.parametrize(
    ("error", "subject", "kind", "says"),
    [
        (Answer(401), None, ConfigurationError, "does not know us"),
        (Answer(403), None, ConfigurationError, "let us read schemas"),
        (Answer(403), "out-value", ConfigurationError, "register a schema for 'out-value'"),
        (Answer(409), "out-value", ConfigurationError, "change the subject's compatibility"),
        (Answer(422), None, RegistryUnavailable, "is this the URL"),
        (Answer(404), None, RegistryUnavailable, "is this the URL"),
        (Answer(429), None, RegistryUnavailable, "does not answer"),
        (Answer(503), "out-value", RegistryUnavailable, "does not answer: no"),
        (TimeoutError(), None, RegistryUnavailable, "TimeoutError"),
    ],
)
def test_what_an_answer_means(error, subject, kind, says):
    found = refusal(error, URL, subject)
    assert type(found) is kind
    assert says in str(found)
    assert URL in str(found)
