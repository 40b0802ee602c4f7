"""The model store: versions that never change, on object storage or in a local folder.

One model is one root, `STORE/NAME`:

    blobs/<sha256>       the files of all versions, named by content; created once
    v/00000007.json      the manifest of version 7; created once, and its creation is the commit
    marks/<sha256>       the time since which no version names a blob; written and read by prune
    _probe/, _staging/   leftovers of killed processes; prune removes them

No pointer moves: the latest version is the highest number. So the store needs only writes that fail if the
key exists, which S3, Google Cloud Storage, Azure and local folders all offer.
"""
