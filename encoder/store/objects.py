"""Open a bucket or a folder behind the port.

Behind it are `encoder.store.cloud` (obstore: S3, Google, Azure, memory) and `encoder.store.local` (a folder).
Every error that leaves it is one of `encoder.errors`.
"""

from encoder.reference import store_uri
from encoder.store.port import ObjectInfo, Objects
from encoder.uris import locate_uri

__all__ = ["ObjectInfo", "Objects", "open_objects"]


def open_objects(uri: str) -> Objects:
    """Open the root of a model, or of a store of models, by URI or local path; nothing is read or written.

    Raises:
        InvalidReference: the URI cannot be understood.
        ConfigurationError: the environment lacks what the cloud needs.
    """
    root = store_uri(uri)
    location = locate_uri(root)
    if location.cloud == "file":
        from encoder.store.local import FolderObjects

        return FolderObjects(location.path, root)
    from encoder.store.cloud import open_cloud

    return open_cloud(root, location)
