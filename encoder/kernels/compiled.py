"""Compile kernels with Numba and cache the machine code on disk.

Numba's own cache does not suit services for five reasons. It compares a function with its own file only, so
a kernel stays stale if another kernel that it inlines changes. It loads code only from writeable folders, so
a read-only container recompiles the code of its image. If no folder is writeable, the import fails. Processes
that compile at once can mix up their files. And it runs what others put into its folder. Here a change of any
kernel invalidates all; code is loaded from read-only folders as well; if no folder is writeable, the log says
so once; each file is whole by itself (`encoder.kernels.compiled_files`); and a folder that others can write
to is not used (`encoder.user_cache`).
"""

import functools
import hashlib
import logging
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding
import numba
import numba.core.compiler
import numba.core.config

from encoder.errors import ConfigurationError
from encoder.kernels.compiled_files import CodeFiles
from encoder.user_cache import cache_folder, create_private, exposure

__all__ = ["code_folders", "compilations", "folders_used", "njit", "processor"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
# Typed as Any: Numba types its public names only.
compiler: Any = numba.core.compiler
config: Any = numba.core.config

_HERE = Path(__file__).parent
_BESIDE = _HERE / "__pycache__"
_UNUSABLE = (OSError, ConfigurationError, EOFError, LookupError, ValueError, pickle.UnpicklingError)
"""The errors of folders and files that cannot be written or read."""
_dispatchers: list[Any] = []
_used: set[Path] = set()


def njit(
    *, cache: bool, allocates: bool = False, inner: bool = False, **options: Any
) -> Callable[[_Function], _Function]:
    """`numba.njit` with this module's cache.

    Args:
        cache: whether to cache the code.
        allocates: whether the function creates or returns arrays. If not, references to its arguments are
            not counted, which saves several atomic instructions of about 5 ns in each call.
        inner: whether only other kernels call the function. Then its Python wrapper is not compiled, which
            saves a fifth of the time.
        options: the options of `numba.njit`.
    """

    def decorate(function: _Function) -> _Function:
        compile_: Any = numba.njit  # its types lack `_nrt`
        unneeded = {"no_cpython_wrapper": inner, "no_cfunc_wrapper": True}
        dispatcher: Any = compile_(_nrt=allocates, **unneeded, **options)(function)
        if cache and dispatcher is not function:  # it is with NUMBA_DISABLE_JIT
            dispatcher._cache = _KernelCache(function)  # noqa: SLF001 - as `enable_caching` does
            _dispatchers.append(dispatcher)
        return dispatcher  # type: ignore[no-any-return] # callable like the function

    return decorate


def compilations() -> int:
    """How many kernels this process has compiled rather than loaded."""
    return sum(sum(dispatcher.stats.cache_misses.values()) for dispatcher in _dispatchers)


def folders_used() -> list[Path]:
    """The folders that this process has loaded code from or written it to."""
    return sorted(_used)


def processor() -> str:
    """The processor that code is compiled for, as LLVM names it; `NUMBA_CPU_NAME` overrides it."""
    return str(config.CPU_NAME or llvmlite.binding.get_host_cpu_name())


@functools.cache
def code_folders() -> list[Path]:
    """The folders to load code from; new code goes to the first writeable one.

    `NUMBA_CACHE_DIR` alone, if it exists or can be created; otherwise `__pycache__` beside the kernels, then
    the user's cache.
    """
    if config.CACHE_DIR:
        own = Path(config.CACHE_DIR) / "millstream"
        try:
            own.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError:
            if own.is_dir() or own.parent.is_dir():
                return [own]
        else:
            return [own]
    user = cache_folder() / "kernels"
    return [_BESIDE, *([user] if user.is_absolute() else [])]


@functools.cache
def _is_private(folder: Path) -> bool:
    """Whether nobody else can change the code in a folder; the log says who can, once."""
    if folder == _BESIDE:  # Python itself runs what is there
        return True
    if folder == cache_folder() / "kernels":
        found = exposure(folder, cache_folder())
    else:
        found = exposure(folder, folder, "NUMBA_CACHE_DIR")
    if found:
        logging.getLogger(__name__).warning("%s. Until then, compiled code is neither read nor kept", found)
    return found is None


class _KernelCache:
    """The cache of one dispatcher: one file for each signature and processor."""

    def __init__(self, function: Any) -> None:
        code, python = function.__code__, sys.version_info
        name = (
            f"{function.__module__}.{code.co_qualname}-{code.co_firstlineno}.py{python.major}{python.minor}"
        )
        self._files = [(folder, CodeFiles(folder, name, _source_digest())) for folder in code_folders()]
        self.cache_path = str(code_folders()[0])

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compiled function, or None."""
        context.refresh()  # otherwise the code does not find Numba's functions
        for folder, file in self._files:
            with suppress(*_UNUSABLE):
                if _is_private(folder) and (found := file.load(_key(signature, context.codegen()))):
                    _used.add(folder)
                    return compiler.CompileResult._rebuild(context, *found)  # noqa: SLF001 - as Numba's cache does
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write a compiled function to disk."""
        if result.library.has_dynamic_globals:  # addresses, which differ in the next process
            return
        for folder, file in self._files:
            with suppress(*_UNUSABLE):
                if not _is_private(folder):
                    continue
                _create(folder)
                file.save(_key(signature, result.library.codegen), result._reduce())  # noqa: SLF001 - as Numba's cache does
                _used.add(folder)
                return
        _say_that_code_is_lost()


def _create(folder: Path) -> None:
    """Create a folder of code: for this user alone, or as `NUMBA_CACHE_DIR`, which images fill as root."""
    if folder == cache_folder() / "kernels":
        create_private(folder)
    else:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def _key(signature: Any, codegen: Any) -> tuple[Any, ...]:
    return signature, codegen.magic_tuple()


@functools.cache
def _source_digest() -> str:
    """The sha256 of the source of all kernels."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _say_that_code_is_lost() -> None:
    logging.getLogger(__name__).warning(
        "cannot write compiled code to %s: every process compiles again, which takes seconds. Run "
        "`millstream warm` once where this is writeable, for example when you build an image, or set "
        "NUMBA_CACHE_DIR to a writeable folder",
        " or ".join(map(str, code_folders())),
    )
