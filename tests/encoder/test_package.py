"""What the package's modules export."""

import importlib
import pkgutil

import pytest

import encoder

MODULES = ["encoder", *(module.name for module in pkgutil.walk_packages(encoder.__path__, "encoder."))]
# Nothing but their modules.
PACKAGES = {f"encoder.{name}" for name in ("heads", "kernels", "store", "tokenizer")}


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
