"""Every error that Millstream raises on purpose, grouped by what the caller does about it.

    MillstreamError
    ├── InputError             the data is wrong: fix the record, the file, the template
    │   ├── TemplateError          a text template that cannot be read or names unknown fields
    │   └── ModelFormatError       a folder that is no static model, or a damaged one
    ├── ConfigurationError     the call or the deployment is wrong: fix the flags, the environment
    │   ├── InvalidReference       a REF or store URI that cannot be understood
    │   ├── NotInStore             the store has no such model or version
    │   ├── UnsafeStore            the store ignores create-only writes: it cannot hold versions
    │   ├── OutputConflict         the output folder holds something else
    │   └── MissingExtra           an optional part is not installed
    ├── QualityTooLow          a model is below what was required of it: make a better one, or ask for less
    ├── TransientError         try again later
    │   ├── PublishedMeanwhile     another version was published since this one's base was read
    │   ├── RegistryUnavailable    the schema registry does not answer
    │   └── StoreUnavailable       the object store does not answer
    └── IntegrityError         stop: something that must not happen did
        ├── CorruptVersion         bytes that do not match the manifest's size or sha256
        └── VersionRegression      a store that offers a lower version than was seen before

Messages are one line, name the input and say the way out.
"""

__all__ = [
    "ConfigurationError",
    "CorruptVersion",
    "InputError",
    "IntegrityError",
    "InvalidReference",
    "MillstreamError",
    "MissingExtra",
    "ModelFormatError",
    "NotInStore",
    "OutputConflict",
    "PublishedMeanwhile",
    "QualityTooLow",
    "RegistryUnavailable",
    "StoreUnavailable",
    "TemplateError",
    "TransientError",
    "UnsafeStore",
    "VersionRegression",
]


class MillstreamError(Exception):
    """Anything that Millstream raises on purpose."""


class InputError(MillstreamError):
    """The data is wrong: fix it."""


class TemplateError(InputError):
    """A text template that cannot be read, or that names fields no record has."""


class ModelFormatError(InputError):
    """A folder that is no static model, or a damaged one."""


class ConfigurationError(MillstreamError):
    """The call or the deployment is wrong: fix the flags or the environment."""


class InvalidReference(ConfigurationError):
    """A REF or a store URI that cannot be understood."""


class NotInStore(ConfigurationError):
    """The store has no such model or version."""


class UnsafeStore(ConfigurationError):
    """The store ignores create-only writes, so versions in it would not be immutable."""


class OutputConflict(ConfigurationError):
    """The output folder holds something else than this job would write."""


class MissingExtra(ConfigurationError):
    """An optional part of Millstream is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed: pip install 'millstream[{extra}]'")


class QualityTooLow(MillstreamError):
    """A model is below what was required of it: nothing was published."""


class TransientError(MillstreamError):
    """Something outside is away for the moment: try again."""


class PublishedMeanwhile(TransientError):
    """Another version was published since the one was read that this one builds on: nothing was published."""


class RegistryUnavailable(TransientError):
    """The schema registry does not answer."""


class StoreUnavailable(TransientError):
    """The object store does not answer."""


class IntegrityError(MillstreamError):
    """Something that must not happen did: stop and look."""


class CorruptVersion(IntegrityError):
    """Bytes that do not match the manifest's size or sha256."""


class VersionRegression(IntegrityError):
    """A store that offers a lower version than this machine has seen."""
