"""How kernels are compiled: ahead of use, with a cache that knows all their sources.

numba reads its cache folder from the environment when it is imported, which may have
happened already; so it is also set directly. In numba's default folder a kernel would stay as it
was when only a kernel that it calls has changed.

numba makes machine code of each function that it compiles, and optimises it together with all
that it calls. Of kernels only the few that Python calls need that; their parts are optimised
with them, once, instead of once more in each of their callers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from crowdstream.engine import kernel_cache

_FOLDER = str(kernel_cache.folder())

import numba  # noqa: E402  (the cache folder has to be set first)
from numba.core.codegen import JITCodeLibrary  # noqa: E402
from numba.core.compiler import Compiler  # noqa: E402

numba.core.config.CACHE_DIR = _FOLDER

# error_model numpy: a division by zero gives an infinity, not a Python exception.
# No kernel releases the GIL: called from a Python callback it would have to win it back.
# Without numba's own runtime there is no reference counting, and a kernel that would allocate
# does not compile.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False, "_nrt": False}


# What stands in for a part that Python calls all the same: an exception, whatever its name. It has
# to be a C function: one of Python's own can't hand an exception on to its caller.
_ALONE = ctypes.cast(ctypes.pythonapi.PyErr_NoMemory, ctypes.c_void_p).value or 0


class _NoEngine:
    # What holds the machine code, where there is none.
    def set_env(self, _name: str, _environment: Any) -> None:
        return


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """The code of a part, as it is until a kernel takes it in."""

    codegen = _NoEngine()

    def _optimize_final_module(self) -> None:
        return

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return _ALONE


class _PartCompiler(Compiler):  # type: ignore[misc]
    def compile_extra(self, func: Any) -> Any:
        self.state.library = _Part(self.state.targetctx.codegen(), func.__qualname__)
        compiled = super().compile_extra(func)
        kernel_cache.part_done()
        return compiled


_PART = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler}

kernel: Callable[..., Any] = numba.njit(**_OPTIONS, **_PART)
"""A part of a kernel: compiled into its callers."""

fast_kernel: Callable[..., Any] = numba.njit(
    **_OPTIONS, **_PART, fastmath={"reassoc", "nsz", "contract"}
)
"""A part whose sums may be reordered for speed. Its input must be finite."""


def entry(signature: Any) -> Callable[..., Any]:
    """A kernel that Python calls: compiled for `signature` when its module is imported."""
    decorate: Callable[..., Any] = numba.njit(signature, cache=True, **_OPTIONS)
    return decorate
