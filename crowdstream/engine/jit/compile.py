"""Compilation of kernels: ahead of use, with a cache that depends on all their sources.

numba reads its cache folder from the environment when it is imported. It may have been imported
already, so the folder is also set directly. In numba's default folder, a kernel would not be
recompiled if only a kernel that it calls had changed.

numba saves the machine code of each kernel that Python calls. In addition, each part is saved as
soon as it is compiled, and each kernel as soon as it is optimised, so an interrupted compilation
loses only the step in progress (`kept_parts.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from crowdstream.engine.jit import kernel_cache

_FOLDER = str(kernel_cache.folder())

import numba  # noqa: E402  (the cache folder has to be set first)
from numba.core.compiler import Compiler  # noqa: E402

from crowdstream.engine.jit.kept_parts import number_of, open_saved_parts  # noqa: E402
from crowdstream.engine.jit.libraries import KernelLibrary, PartLibrary  # noqa: E402

numba.core.config.CACHE_DIR = _FOLDER
kept = open_saved_parts()

# error_model numpy: a division by zero returns infinity instead of raising a Python exception.
# Kernels do not release the GIL: a kernel called from a Python callback would have to acquire it
# again.
# Without numba's runtime there is no reference counting, and a kernel that allocates memory does
# not compile.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False, "_nrt": False}


class _Compiler(Compiler):  # type: ignore[misc]
    _key = ""

    def _compile_bytecode(self) -> Any:
        if self._key:
            identity, number = self.state.func_id, number_of(self._key)
            identity.unique_id = number
            identity.unique_name = f"{identity.func_qualname}${number}"
        return super()._compile_bytecode()


class _PartCompiler(_Compiler):
    def compile_extra(self, func: Any) -> Any:
        self._key = kept.key(func, self.state)
        if (known := kept.load(self._key, func, self.state)) is not None:
            return known
        self.state.library = PartLibrary(self.state.targetctx.codegen(), func.__qualname__)
        compiled = super().compile_extra(func)
        kept.save(self._key, compiled)
        kernel_cache.part_done()
        return compiled


class _WholeCompiler(_Compiler):
    def compile_extra(self, func: Any) -> Any:
        library = KernelLibrary(self.state.targetctx.codegen(), func.__qualname__)
        library.enable_object_caching()
        self._key = kept.key(func, self.state, "kernel")
        if self._key:
            library.load = partial(kept.store.load, self._key)
            library.save = partial(kept.store.save, self._key)
        self.state.library = library
        try:
            return super().compile_extra(func)
        except Exception:
            kept.invalidate(self._key)
            raise


_PART = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler}

# fastmath=False is explicit because numba otherwise uses the setting of whichever caller is
# compiled first: the code of a part must not depend on the order of compilation.
kernel: Callable[..., Any] = numba.njit(**_OPTIONS, **_PART, fastmath=False)
"""Decorator for a part of a kernel: it is compiled into its callers."""

fast_kernel: Callable[..., Any] = numba.njit(
    **_OPTIONS, **_PART, fastmath={"reassoc", "nsz", "contract"}
)
"""Decorator for a part whose sums may be reordered for speed. Its input must be finite."""


def entry(signature: Any) -> Callable[..., Any]:
    """Decorate a kernel that Python calls: compile it for `signature` on import."""


    def decorate(function: Any) -> Any:
        made = numba.njit(cache=True, pipeline_class=_WholeCompiler, **_OPTIONS)(function)
        try:
            made.compile(signature)
        except OSError:
            # numba saves after compiling. With a full disk the kernel works but is not saved.
            if not made.overloads:
                raise
        made.disable_compile()
        return made

    return decorate
