"""Brokers that ask who we are: SASL, TLS and OAUTHBEARER with access-control lists, on a real broker."""

import pytest
from secure_brokers import PASSWORD
from topics import read_topic, unique, values_of, write_topic

pytestmark = pytest.mark.server
N = 200


def sasl(secure, mechanism, password=PASSWORD, ca="ca.pem"):
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": "alice",
        "sasl.password": password,
        "ssl.ca.location": str(secure.folder / ca),
    }


def certificate(secure):
    return {
        "security.protocol": "SSL",
        "ssl.ca.location": str(secure.folder / "ca.pem"),
        "ssl.certificate.location": str(secure.folder / "alice.pem"),
        "ssl.key.location": str(secure.folder / "alice.key"),
    }


def own_token(_secure):
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "sasl.oauthbearer.config": "principal=alice",
    }


def providers_token(secure, secret=PASSWORD):
    return {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(secure.folder / "ca.pem"),
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "alice",
        "sasl.oauthbearer.client.secret": secret,
        "sasl.oauthbearer.token.endpoint.url": f"{secure.tokens.url}/token",
    }


WAYS = {
    "plain": ("SASL", lambda secure: sasl(secure, "PLAIN")),
    "scram-256": ("SASL", lambda secure: sasl(secure, "SCRAM-SHA-256")),
    "scram-512": ("SASL", lambda secure: sasl(secure, "SCRAM-SHA-512")),
    "certificate": ("MTLS", certificate),
    "own token": ("OAUTH", own_token),
    "provider's token": ("OIDC", providers_token),
}


@pytest.fixture
def names(secure):
    """Topics and a group; nobody but superusers may use them yet."""
    found = {name: unique(name) for name in ("in", "out", "dead", "group")}
    for name in ("in", "out", "dead"):
        secure.broker.create_topic(found[name], 2)
    write_topic(secure.broker.address, found["in"], [b'{"id": %d, "text": "paid"}' % i for i in range(N)])
    return found


def allow(secure, names, *but):
    """Allow all that a worker needs, but some of it."""
    needed = {
        "read": ("topic", names["in"], "read"),
        "write": ("topic", names["out"], "write"),
        "dead": ("topic", names["dead"], "write"),
        "group": ("group", names["group"], "read"),
    }
    for what, rule in needed.items():
        if what not in but:
            secure.allow(*rule)
    if "transactions" not in but:
        secure.allow("transactional_id", names["group"], "write", "describe", prefix=True)


@pytest.fixture
def options(secure, names, model):
    """The command line of a worker that comes in some way."""

    def make(listener, properties, *more):
        pairs = [part for pair in properties.items() for part in ("--property", "=".join(pair))]
        return [
            *("worker", "--brokers", secure.addresses[listener], "--group", names["group"]),
            *("--input", names["in"], "--model", str(model), "--output", f"topic:{names['out']}"),
            *("--dead-letters", f"topic:{names['dead']}", *pairs, *more),
        ]

    return make


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_comes_in(way, secure, names, options, millstream, worker_of):
    allow(secure, names)
    listener, properties = WAYS[way]
    checked = millstream(*options(listener, properties(secure), "--check"))
    assert checked.code == 0, checked.err
    assert f"{names['in']}, 2 partitions" in checked.out
    assert PASSWORD not in checked.out + checked.err
    with worker_of(secure.addresses[listener], names, properties(secure)):
        read_topic(secure.broker.address, names["out"], least=N)
    found = read_topic(secure.broker.address, names["out"])
    assert sorted(value["id"] for value in values_of(found)) == list(range(N))
    if way == "provider's token":
        assert secure.tokens.given >= 3  # of the client for questions, the consumer and the producer


@pytest.fixture
def worker_of(run_worker):
    """Run a worker on topics by their names."""

    def run(address, names, properties):
        return run_worker(
            brokers=address,
            group=names["group"],
            inputs=[names["in"]],
            outputs=[f"topic:{names['out']}"],
            dead_letters=f"topic:{names['dead']}",
            properties=properties,
        )

    return run


@pytest.mark.parametrize(
    ("listener", "properties", "says"),
    [
        ("SASL", lambda s: sasl(s, "PLAIN", "wrong-pw"), "let user 'alice' in (SASL authentication error"),
        ("SASL", lambda s: sasl(s, "SCRAM-SHA-512", "wrong-pw"), "let user 'alice' in (SASL authentication"),
        ("OIDC", lambda s: providers_token(s, "wrong-pw"), "Failed to acquire SASL OAUTHBEARER token"),
        ("SASL", own_token, "check --brokers, the network, and security.protocol"),
        ("SASL", lambda s: sasl(s, "PLAIN", ca="other-ca.pem"), "--property ssl.ca.location=FILE"),
        ("MTLS", lambda s: dict(list(certificate(s).items())[:2]), "set ssl.certificate.location"),
        ("OAUTH", lambda s: sasl(s, "PLAIN"), "do not speak TLS on this port"),
        (
            "SASL",
            lambda s: {**sasl(s, "PLAIN"), "sasl.mechanism": "NONE"},
            "librdkafka refuses the properties",
        ),
    ],
)
def test_check_says_in_one_line_why_we_may_not_come_in(
    listener, properties, says, secure, options, millstream, monkeypatch
):
    monkeypatch.setattr("pipelines.kafka.admin._ASK_SECONDS", 4.0)
    ended = millstream(*options(listener, properties(secure), "--check"))
    assert says in ended.error
    assert PASSWORD not in ended.err
    assert "wrong-pw" not in ended.err


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("read", "may not see topic {in!r}: allow it DESCRIBE and READ"),
        ("write", "may not see topic {out!r}: allow it DESCRIBE and WRITE"),
        ("dead", "may not see topic {dead!r}: allow it DESCRIBE and WRITE"),
        ("group", "may not use group {group!r}: allow it READ on the group"),
        ("transactions", "allow it WRITE and DESCRIBE on transactional ids that begin with '{group}-'"),
    ],
)
def test_check_names_what_is_not_allowed(missing, says, secure, names, options, millstream):
    allow(secure, names, missing)
    ended = millstream(*options("SASL", sasl(secure, "PLAIN"), "--check"))
    assert ended.code == 2
    assert says.format(**names) in ended.error


def test_who_may_see_but_not_read_is_told(secure, names, options, millstream):
    allow(secure, names, "read")
    secure.allow("topic", names["in"], "describe")
    ended = millstream(*options("SASL", sasl(secure, "PLAIN"), "--check"))
    assert f"may not read topic '{names['in']}': allow it READ on the topic" in ended.error
