"""An Apache Kafka broker that lets nobody in without a name: `with secure_kafka(folder) as broker: …`.

Its listeners ask for a password (SASL PLAIN and SCRAM, over TLS), a client's certificate (TLS alone), or a
token (OAUTHBEARER: one that the client makes itself, and one of an OpenID provider that runs here as well).
Who has a name still needs access-control lists: `broker.allow`.
"""

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme
from brokers import KafkaBroker, kafka
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from local_http import LocalServer
from servers import free_ports

__all__ = ["PASSWORD", "SecureBroker", "TokenProvider", "secure_kafka"]

PASSWORD = "correct-horse-battery"
_LOGIN = "org.apache.kafka.common.security"
_PROPERTIES = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},{listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MTLS:SSL,\
OAUTH:SASL_PLAINTEXT,OIDC:SASL_SSL
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mtls.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/$1/
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_alice="{password}";
listener.name.sasl.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config={login}.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub="broker";
listener.name.oidc.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oidc.oauthbearer.sasl.jaas.config={login}.oauthbearer.OAuthBearerLoginModule required;
listener.name.oidc.oauthbearer.sasl.server.callback.handler.class=\
{login}.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.oidc.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={keys}
listener.name.oidc.oauthbearer.sasl.oauthbearer.expected.audience=kafka
"""


class TokenProvider:
    """An OpenID provider: gives signed tokens for a client's secret, and publishes its key.

    Attributes:
        url: of the tokens; of the keys with `/keys` at its end.
        given: how many tokens it gave.
    """

    def __init__(self) -> None:
        self.given = 0
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, {"keys": [provider._public()]})

            def do_POST(self) -> None:
                sent = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic "))
                if sent.decode() == f"alice:{PASSWORD}":
                    self._answer(200, provider._token())
                else:
                    self._answer(401, {"error": "invalid_client"})

            def _answer(self, status: int, body: dict[str, object]) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self._server = LocalServer(Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _public(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "kid": "1",
            "use": "sig",
            "alg": "RS256",
            "n": _base64(numbers.n.to_bytes(256, "big")),
            "e": _base64(numbers.e.to_bytes(3, "big")),
        }

    def _token(self) -> dict[str, object]:
        self.given += 1
        now = int(time.time())
        claims = {"sub": "alice", "aud": "kafka", "iss": self.url, "iat": now, "exp": now + 300}
        head = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {
            "access_token": f"{text}.{_base64(signature)}",
            "token_type": "Bearer",
            "expires_in": 300,
        }

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class SecureBroker:
    """The broker, and what a client needs.

    Attributes:
        broker: a KafkaBroker, whose `address` lets everybody in as a superuser.
        addresses: of the listeners `SASL`, `MTLS`, `OAUTH` and `OIDC`.
        folder: holds `ca.pem`, `alice.pem`, `alice.key`, and `other-ca.pem` of somebody else.
        tokens: the TokenProvider.
    """

    def __init__(
        self, broker: KafkaBroker, addresses: dict[str, str], folder: Path, tokens: TokenProvider
    ) -> None:
        self.broker = broker
        self.addresses = addresses
        self.folder = folder
        self.tokens = tokens

    def allow(
        self, kind: str, name: str, *operations: str, user: str = "alice", prefix: bool = False
    ) -> None:
        """Let a user do something with a topic, a group or a transactional id."""
        pattern = ResourcePatternType.PREFIXED if prefix else ResourcePatternType.LITERAL
        acls = [
            AclBinding(
                ResourceType[kind.upper()], name, pattern, f"User:{user}", "*",
                AclOperation[operation.upper()], AclPermissionType.ALLOW,
            )
            for operation in operations
        ]  # fmt: skip
        admin = self.broker.admin()
        for future in admin.create_acls(acls).values():
            future.result(30)

    def last_words(self) -> str:
        """The ends of the broker's logs, for a test that has failed."""
        return self.broker.last_words()

    def add_scram_user(self, name: str, password: str) -> None:
        """Make a user for SCRAM."""
        admin = self.broker.admin()
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            change = UserScramCredentialUpsertion(
                name, ScramCredentialInfo(mechanism, 4096), password.encode()
            )
            for future in admin.alter_user_scram_credentials([change]).values():
                future.result(30)


@contextmanager
def secure_kafka(folder: Path) -> Iterator[SecureBroker]:
    """Start the broker and the OpenID provider.

    Args:
        folder: for certificates; empty.
    """
    _write_certificates(folder)
    tokens = TokenProvider()
    names = ("SASL", "MTLS", "OAUTH", "OIDC")
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(4), strict=True)}
    more = _PROPERTIES.format(
        listeners=",".join(f"{name}://{address}" for name, address in addresses.items()),
        folder=folder,
        login=_LOGIN,
        password=PASSWORD,
        keys=f"{tokens.url}/keys",
    )
    allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.url}/keys"
    try:
        with kafka(more=more, options=[allowed]) as cluster:
            secure = SecureBroker(cluster.broker, addresses, folder, tokens)
            secure.add_scram_user("alice", PASSWORD)
            yield secure
    finally:
        tokens.close()


def _write_certificates(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other-ca.pem")
    broker = authority.issue_cert("127.0.0.1", common_name="broker")
    (folder / "broker.pem").write_bytes(_pkcs8(broker) + _chain(broker))
    alice = authority.issue_cert("alice", common_name="alice")
    (folder / "alice.key").write_bytes(_pkcs8(alice))
    (folder / "alice.pem").write_bytes(_chain(alice))


def _pkcs8(certificate: trustme.LeafCert) -> bytes:
    """The private key in the form that Java reads."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _chain(certificate: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
