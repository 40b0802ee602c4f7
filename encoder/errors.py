"""Every error that Millstream raises on purpose, grouped by what the caller does about it.

    MillstreamError
    ├── InputError             the data is wrong: fix the record, the file or the template
    │   ├── UnreadableFile         a file is missing, damaged, or may not be read
    │   ├── TemplateError          a text template is invalid or names unknown fields
    │   └── ModelFormatError       a folder is not a static model, or is damaged
    ├── ConfigurationError     the call or the deployment is wrong: fix the parameters or the environment
    │   ├── InvalidReference       a model reference or a URI is invalid
    │   ├── NotInStore             the store has no such model or version
    │   ├── UnsafeStore            the store ignores create-only writes, so it cannot hold versions
    │   ├── OutputConflict         the output folder holds something else
    │   ├── OtherInput             a topic is not the one that the output belongs to
    │   └── MissingExtra           an optional dependency is not installed
    ├── QualityTooLow          a model misses a required quality: improve it, or require less
    ├── TransientError         try again later
    │   ├── PublishedMeanwhile     somebody published another version first
    │   ├── RegistryUnavailable    the schema registry does not answer
    │   └── StoreUnavailable       the object store does not answer
    └── IntegrityError         stop: an invariant is broken
        ├── BadSignature           a signature is not by a key, or not over this version
        ├── CorruptVersion         bytes do not match the manifest's size or sha256
        └── VersionRegression      a store offers a lower version than this machine has used

A message is one line: it names the input and the way out.
"""

__all__ = [
    "BadSignature",
    "ConfigurationError",
    "CorruptVersion",
    "InputError",
    "IntegrityError",
    "InvalidReference",
    "MillstreamError",
    "MissingExtra",
    "ModelFormatError",
    "NotInStore",
    "OtherInput",
    "OutputConflict",
    "PublishedMeanwhile",
    "QualityTooLow",
    "RegistryUnavailable",
    "StoreUnavailable",
    "TemplateError",
    "TransientError",
    "UnreadableFile",
    "UnsafeStore",
    "VersionRegression",
]


class MillstreamError(Exception):
    """The base class of all errors that Millstream raises on purpose."""


class InputError(MillstreamError):
    """The data is wrong: fix it."""


class UnreadableFile(InputError):
    """A file is missing, damaged, or may not be read."""


class TemplateError(InputError):
    """A text template is invalid, or names fields that no record has."""


class ModelFormatError(InputError):
    """A folder is not a static model, or is damaged."""


class ConfigurationError(MillstreamError):
    """The call or the deployment is wrong: fix the parameters or the environment."""


class InvalidReference(ConfigurationError):
    """A model reference or a URI is invalid."""


class NotInStore(ConfigurationError):
    """The store has no such model or version."""


class UnsafeStore(ConfigurationError):
    """The store ignores create-only writes, so its versions would not be immutable."""


class OutputConflict(ConfigurationError):
    """The output folder holds something other than what this job would write."""


class OtherInput(ConfigurationError):
    """A topic has the name of the one that was read before, and is another one."""


class MissingExtra(ConfigurationError):
    """An optional dependency of Millstream is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed: pip install 'millstream[{extra}]'")


class QualityTooLow(MillstreamError):
    """A model misses a required quality; nothing was published."""


class TransientError(MillstreamError):
    """A service is unavailable for the moment: try again."""


class PublishedMeanwhile(TransientError):
    """Somebody published another version after the one that this one is based on; nothing was published."""


class RegistryUnavailable(TransientError):
    """The schema registry does not answer."""


class StoreUnavailable(TransientError):
    """The object store does not answer."""


class IntegrityError(MillstreamError):
    """An invariant is broken: stop and investigate."""


class BadSignature(IntegrityError):
    """A signature is not by the key that it is checked with, or signs something else."""


class CorruptVersion(IntegrityError):
    """Bytes do not match the manifest's size or sha256."""


class VersionRegression(IntegrityError):
    """A store offers a lower version than this machine has used."""
