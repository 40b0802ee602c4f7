"""`from pipelines import …`."""

import doctest
import subprocess
import sys

import numpy as np
import pytest
import tiny_tokenizers

import pipelines
from encoder import StaticModel, save_model

NO_BEAM = """
import sys
sys.modules["apache_beam"] = None
import pipelines
from encoder.errors import MissingExtra
{program}
"""


def python(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", pipelines.__all__)
def test_every_name_is_there(name):
    assert getattr(pipelines, name).__name__ == name


def test_the_example_of_the_package_runs(tmp_path, monkeypatch):
    tokenizer = tiny_tokenizers.named("uncased")
    table = np.ones((tokenizer.get_vocab_size(), 256), np.float32)
    save_model(StaticModel(table, tokenizer.to_str(), {"normalize": True}), tmp_path / "models/minilm")
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testmod(pipelines)
    assert (failed, attempted) == (0, 3)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="'pipelines' has no attribute 'Embedd'"):
        _ = pipelines.Embedd


def test_importing_the_package_imports_no_beam():
    assert python("import sys, pipelines; print('apache_beam' in sys.modules)") == "False\n"


def test_without_beam_the_error_names_the_extra():
    program = "try: pipelines.EmbedBatches\nexcept MissingExtra as error: print(error)"
    assert "pip install 'millstream[beam]'" in python(NO_BEAM.format(program=program))


def test_without_beam_a_model_version_is_there():
    assert python(NO_BEAM.format(program="print(pipelines.ModelVersion.__name__)")) == "ModelVersion\n"
