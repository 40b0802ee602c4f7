"""Versions on this machine's disk: fetched once, then memory-mapped by all processes.

    models/<digest>/           a plain model folder, complete or absent
    locks/<digest>.lock        held by the process that fetches the version
    stores/<store>/v/          the manifests used on this machine, one folder for each store
    tried/<digest>-<release>   an empty file: the version passed its trial in this release of Millstream

The highest manifest in `stores/<store>/v/` is the highest version that this machine has used. `latest` never
goes below it: a store that offers less has lost versions, or was replaced.
"""

from encoder.store.cache.fetch import cached_model, model_folder
from encoder.store.cache.used import UsedVersions

__all__ = ["UsedVersions", "cached_model", "model_folder"]
