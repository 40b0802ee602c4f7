"""Open a bucket (`encoder.store.cloud`) or a folder (`encoder.store.local`) as `Objects`."""

from encoder.reference import store_uri
from encoder.store.port import ObjectInfo, Objects
from encoder.uris import locate_uri

__all__ = ["ObjectInfo", "Objects", "open_objects"]


def open_objects(uri: str) -> Objects:
    """Open the root of a model, or of a store of models, without reading or writing anything.

    Raises:
        InvalidReference: the URI is invalid.
        ConfigurationError: the environment lacks a setting that the cloud needs.
    """
    root = store_uri(uri)
    location = locate_uri(root)
    if location.cloud == "file":
        from encoder.store.local import FolderObjects

        return FolderObjects(location.path, root)
    from encoder.store.cloud import open_cloud

    return open_cloud(root, location)
