"""The model store: versions that never change, on object storage or in a local folder.

One model is one root, `STORE/NAME`:

    blobs/<sha256>       the files of all versions, by their content; created once
    v/00000007.json      the manifest of version 7; created once, and creating it is the commit
    marks/<sha256>       a blob that no version names since the time in it (prune's memory)
    probe/, _staging/    what a stopped process may leave behind; prune removes it

There is no pointer to change: the latest version is the highest number. So the store needs nothing but
writes that fail when the key exists, which S3, Google Cloud Storage, Azure and local folders all have.
"""
