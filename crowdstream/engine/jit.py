"""How kernels are compiled: ahead of use, with a cache that knows all their sources.

numba reads its cache folder from the environment when it is imported, which may have
happened already; so it is also set directly. In numba's default folder a kernel would stay as it
was when only a kernel that it calls has changed.

numba makes machine code of each function that it compiles, and optimises it together with all
that it calls. Of kernels only the few that Python calls need that: they take in the code of all
their parts and optimise it, once. A part holds its own code alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
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
    """The code of a part, as it is until a kernel takes it in: without that of its own parts."""

    codegen = _NoEngine()

    def finalize(self) -> None:
        """Nothing is added any more; who takes it in does the rest."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def own_code(self) -> Any:
        """A module that may be linked into several others."""
        return super()._get_module_for_linking()

    def _get_module_for_linking(self) -> Any:
        # For a function that is no kernel.
        module = self.own_code().clone()
        _take_in(module, self._linking_libraries)
        return module

    def get_pointer_to_function(self, name: str) -> int:
        return _ALONE


def _take_in(module: Any, libraries: Sequence[Any]) -> None:
    # Link libraries and all that they need into a module. Each comes before those that it calls:
    # LLVM takes in only what is called by then.
    needed: dict[Any, None] = {}

    def need(libraries: Sequence[Any]) -> None:
        for library in libraries:
            if library not in needed:
                need(library._linking_libraries if isinstance(library, _Part) else ())
                needed[library] = None

    need(libraries)
    for library in reversed(needed):
        part = isinstance(library, _Part)
        code = library.own_code() if part else library._get_module_for_linking()
        module.link_in(code, preserve=True)


class _Whole(JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel, with that of all its parts."""

    def finalize(self) -> None:
        """Take in the parts, and make machine code of the whole."""
        _take_in(self._final_module, self._linking_libraries)
        self._linking_libraries: list[Any] = []
        super().finalize()

    def _verify_declare_only_symbols(self) -> None:
        # A call to what was not taken in would be one to address 0.
        for function in self._final_module.functions:
            if function.is_declaration and function.name.startswith("_ZN"):
                raise AssertionError(f"{function.name} is not linked")


class _PartCompiler(Compiler):  # type: ignore[misc]
    def compile_extra(self, func: Any) -> Any:
        self.state.library = _Part(self.state.targetctx.codegen(), func.__qualname__)
        compiled = super().compile_extra(func)
        kernel_cache.part_done()
        return compiled


class _WholeCompiler(Compiler):  # type: ignore[misc]
    def compile_extra(self, func: Any) -> Any:
        self.state.library = _Whole(self.state.targetctx.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(func)


_PART = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler}

kernel: Callable[..., Any] = numba.njit(**_OPTIONS, **_PART)
"""A part of a kernel: compiled into its callers."""

fast_kernel: Callable[..., Any] = numba.njit(
    **_OPTIONS, **_PART, fastmath={"reassoc", "nsz", "contract"}
)
"""A part whose sums may be reordered for speed. Its input must be finite."""


def entry(signature: Any) -> Callable[..., Any]:
    """A kernel that Python calls: compiled for `signature` when its module is imported."""
    decorate: Callable[..., Any] = numba.njit(
        signature, cache=True, pipeline_class=_WholeCompiler, **_OPTIONS
    )
    return decorate
