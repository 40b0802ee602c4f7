"""What the package and its modules export."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_tokenizers

import encoder
from encoder import StaticModel, save_model

MODULES = ["encoder", *(module.name for module in pkgutil.walk_packages(encoder.__path__, "encoder."))]
# Nothing but their modules.
_ROOMS = (
    "arrays",
    "heads",
    "kernels",
    "kernels.masks",
    "kernels.subwords",
    "kernels.wordpiece",
    "store",
    "tokenizer",
)
PACKAGES = {f"encoder.{name}" for name in _ROOMS}


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_exists_once_and_is_documented(name):
    module = importlib.import_module(name)
    if name in PACKAGES:
        assert not hasattr(module, "__all__")
        return
    assert len(set(module.__all__)) == len(module.__all__) > 0
    missing = [export for export in module.__all__ if not hasattr(module, export)]
    assert missing == []
    assert module.__doc__


@pytest.mark.parametrize("name", [name for name in MODULES if "store" not in name and name not in PACKAGES])
def test_every_public_class_and_function_of_a_module_is_exported(name):
    module = importlib.import_module(name)
    own = {
        export
        for export, value in vars(module).items()
        if not export.startswith("_") and callable(value) and getattr(value, "__module__", None) == name
    }
    assert own <= set(module.__all__)


def test_the_example_of_the_package_runs(tmp_path, monkeypatch):
    tokenizer = tiny_tokenizers.named("uncased")
    table = np.ones((tokenizer.get_vocab_size(), 256), np.float32)
    save_model(StaticModel(table, tokenizer.to_str(), {"normalize": True}), tmp_path / "models/minilm")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLSTREAM_CACHE", str(tmp_path / "cache"))
    failed, attempted = doctest.testmod(encoder)
    assert (failed, attempted > 4) == (0, True)


def test_importing_the_package_imports_no_library():
    code = "import encoder, sys; print({'numba', 'numpy', 'obstore', 'pyarrow'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_an_unknown_name_of_the_package_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'Decoder'"):
        _ = encoder.Decoder
