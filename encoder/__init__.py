"""Static embedding models: turn texts into vectors, and publish and load model versions.

>>> from encoder import Encoder, ModelStore
>>> encoder = Encoder.load("models/minilm")
>>> encoder.encode(["card declined at the gate", None]).shape
(2, 256)

`models/minilm` is a folder that `millstream distill` or model2vec wrote. A store keeps versions of it, in a
bucket (`s3://bucket/models/minilm`) or in a local folder:

>>> ModelStore.open("store/minilm").publish("models/minilm").version
1
>>> Encoder.load("store/minilm@1").manifest.version
1
"""

import importlib
from typing import TYPE_CHECKING, Any

from encoder import errors

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from encoder.masks import Masks
    from encoder.model import StaticModel, load_model, save_model
    from encoder.store.store import ModelStore

__all__ = ["Encoder", "Masks", "ModelStore", "StaticModel", "errors", "load_model", "save_model"]

_MODULES = {
    "Encoder": "encoder.encoder",
    "Masks": "encoder.masks",
    "ModelStore": "encoder.store.store",
    "StaticModel": "encoder.model",
    "load_model": "encoder.model",
    "save_model": "encoder.model",
}


def __getattr__(name: str) -> Any:
    # Numba takes half a second to import, and the command line's help and errors do not need it.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
