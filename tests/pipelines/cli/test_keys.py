from typer.testing import CliRunner

from encoder.errors import OutputConflict
from encoder.store.signing.keys import LocalSigner
from encoder.store.signing.public_keys import key_id
from pipelines.cli.app import app


def test_a_key_pair_is_made_once(tmp_path):
    done = CliRunner().invoke(app, ["keys", "new", str(tmp_path / "release")])
    assert done.exit_code == 0, done.output
    signer = LocalSigner.read(tmp_path / "release.key")
    assert f"key {key_id(signer.public_key())[:12]}" in done.stdout
    assert f"--sign {tmp_path}/release.key" in done.stdout
    again = CliRunner().invoke(app, ["keys", "new", str(tmp_path / "release")])
    assert isinstance(again.exception, OutputConflict)
