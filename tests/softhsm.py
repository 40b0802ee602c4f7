"""A real PKCS#11 module without hardware, SoftHSM: `with softhsm(folder) as token: …`."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import MissingProgram

__all__ = ["PIN", "Token", "softhsm"]

PIN = "123456"
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")


@dataclass(frozen=True)
class Token:
    """A token with the label `millstream`, and the module that it is in."""

    module: str
    environment: dict[str, str]

    def uri(self, label):
        """The URI of a key, with its PIN."""
        return f"pkcs11:token=millstream;object={label}?module-path={self.module}&pin-value={PIN}"

    def new_key(self, label, *, curve="secp256r1", identity=b"\x01"):
        """Make a key pair in the token."""
        import pkcs11
        from pkcs11.util.ec import encode_named_curve_parameters

        token = pkcs11.lib(self.module).get_token(token_label="millstream")
        with token.open(rw=True, user_pin=PIN) as session:
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
                local=True,
            )
            parameters.generate_keypair(label=label, id=identity, store=True)


@contextmanager
def softhsm(folder: Path):
    """Yield a token whose files are in a folder; the process reads the folder's place once."""
    module = next((path for path in _MODULES if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        raise MissingProgram("SoftHSM is not installed: apt-get install softhsm2")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(settings))
        command = ["softhsm2-util", "--init-token", "--free", "--label", "millstream"]
        subprocess.run(
            [*command, "--pin", PIN, "--so-pin", PIN], check=True, capture_output=True, env={**os.environ}
        )
        yield Token(module, {"SOFTHSM2_CONF": str(settings)})
