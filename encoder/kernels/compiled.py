"""Compile kernels with Numba and keep the machine code on disk.

Numba has a cache of its own, with three habits that services cannot use. It compares a function with its own
file alone, so a kernel that has another one inside stays as it was when that one changes. It loads code only
from folders that it can write to, so an image's code is compiled anew in a read-only container. And where it
can write nowhere, the import fails. Here any change of any kernel is a change of all; code is loaded from
wherever it is; and where it cannot be kept, the log says so once.
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
import numba.core.caching
import numba.core.compiler
import numba.core.config

from encoder.user_cache import cache_folder

__all__ = ["code_folders", "compilations", "folders_used", "njit", "processor"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
# Typed as Any: Numba's types are of its public names only.
caching: Any = numba.core.caching
compiler: Any = numba.core.compiler
config: Any = numba.core.config

_HERE = Path(__file__).parent
_UNREADABLE = (OSError, EOFError, LookupError, ValueError, pickle.UnpicklingError)
"""What comes of files that are not there, may not be read, or are cut off."""
_dispatchers: list[Any] = []
_used: set[Path] = set()


def njit(
    *, cache: bool, allocates: bool = False, inner: bool = False, **options: Any
) -> Callable[[_Function], _Function]:
    """As `numba.njit`, with the cache of this module.

    Args:
        cache: whether to keep the code.
        allocates: whether the function makes arrays or returns them. One that does not borrows its caller's,
            and their references are not counted, which is done with atomic instructions of some 5 ns each,
            several for each call.
        inner: whether only other kernels call the function: what Python would call is not compiled, which is
            a fifth of the time that compiling takes.
        options: those of `numba.njit`.
    """

    def decorate(function: _Function) -> _Function:
        compile_: Any = numba.njit  # its types leave `_nrt` out
        unneeded = {"no_cpython_wrapper": inner, "no_cfunc_wrapper": True}
        dispatcher: Any = compile_(_nrt=allocates, **unneeded, **options)(function)
        if cache and dispatcher is not function:  # it is with NUMBA_DISABLE_JIT
            dispatcher._cache = _KernelCache(function)  # noqa: SLF001 - what `enable_caching` does, with ours
            _dispatchers.append(dispatcher)
        return dispatcher  # type: ignore[no-any-return] # it is called as the function is

    return decorate


def compilations() -> int:
    """How many kernels this process has compiled, instead of loading their code."""
    return sum(sum(dispatcher.stats.cache_misses.values()) for dispatcher in _dispatchers)


def folders_used() -> list[Path]:
    """The folders that this process has loaded code from or kept code in."""
    return sorted(_used)


def processor() -> str:
    """The processor that code is compiled for, as LLVM names it; `NUMBA_CPU_NAME` sets another."""
    return str(config.CPU_NAME or llvmlite.binding.get_host_cpu_name())


@functools.cache
def code_folders() -> list[Path]:
    """Where code is loaded from, and kept in the first that can be written to.

    That is `NUMBA_CACHE_DIR` alone if there is or can be such a folder, else `__pycache__` beside the kernels
    and then the user's cache.
    """
    if config.CACHE_DIR:
        own = Path(config.CACHE_DIR) / "millstream"
        try:
            own.mkdir(parents=True, exist_ok=True)
        except OSError:
            if own.is_dir() or own.parent.is_dir():
                return [own]
        else:
            return [own]
    user = cache_folder() / "kernels"
    return [_HERE / "__pycache__", *([user] if user.is_absolute() else [])]


class _KernelCache:
    """What a dispatcher calls its cache: code by signature and processor, in a file for each."""

    def __init__(self, function: Any) -> None:
        code, python = function.__code__, sys.version_info
        name = (
            f"{function.__module__}.{code.co_qualname}-{code.co_firstlineno}.py{python.major}{python.minor}"
        )
        self._files = [
            (folder, caching.IndexDataCacheFile(str(folder), name, _source_digest()))
            for folder in code_folders()
        ]
        self.cache_path = str(code_folders()[0])

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compiled function, or None."""
        context.refresh()  # or the code finds no functions of Numba's to call
        for folder, file in self._files:
            with suppress(*_UNREADABLE):
                found = file.load(_key(signature, context.codegen()))
                if found is not None:
                    _used.add(folder)
                    return compiler.CompileResult._rebuild(context, *found)  # noqa: SLF001 - as Numba's own
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled function."""
        if result.library.has_dynamic_globals:  # addresses, which are others in the next process
            return
        for folder, file in self._files:
            with suppress(*_UNREADABLE):
                folder.mkdir(parents=True, exist_ok=True)
                file.save(_key(signature, result.library.codegen), result._reduce())  # noqa: SLF001 - as Numba's own
                _used.add(folder)
                return
        _say_that_code_is_lost()


def _key(signature: Any, codegen: Any) -> tuple[Any, ...]:
    return signature, codegen.magic_tuple()


@functools.cache
def _source_digest() -> str:
    """The sha256 of all kernels."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _say_that_code_is_lost() -> None:
    logging.getLogger(__name__).warning(
        "compiled code cannot be kept in %s: every process compiles anew, which takes seconds. Run "
        "`millstream warm` once where that can be written, as when an image is built, or set NUMBA_CACHE_DIR "
        "to a folder that can",
        " or ".join(map(str, code_folders())),
    )
