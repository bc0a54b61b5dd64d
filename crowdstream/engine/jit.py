"""How kernels are compiled: ahead of use, with a cache that knows all their sources.

numba reads its cache folder from the environment when it is imported, which may have
happened already; so it is told directly too. In the folder numba would choose by itself a
kernel stays as it was when only a kernel that it calls has changed.

numba makes machine code of each function that it compiles, and optimises it together with all
that it calls. Of kernels only the few that Python calls need that; their parts are optimised
with them, once, instead of once more in each of their callers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crowdstream.engine.sources import digest
from crowdstream.private import check_private, make_private


def cache_folder() -> Path:
    """The folder of compiled kernels, made for the present sources.

    numba looks only at the file a kernel stands in, not at the kernels it calls, so the
    folder's name carries a hash of all of them. It and those it is in are this user's alone: the
    second choice lies where anybody could have made one of that name.
    """
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    for root, name in (
        (Path(base), "crowdstream"),
        (Path(tempfile.gettempdir()), f"crowdstream-{os.geteuid()}"),
    ):
        with contextlib.suppress(OSError):
            return make_private(root, name, "kernels", digest()[:16])
    return Path(tempfile.mkdtemp(prefix="crowdstream-kernels-"))


if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(cache_folder())
elif os.path.exists(os.environ["NUMBA_CACHE_DIR"]):
    check_private(Path(os.environ["NUMBA_CACHE_DIR"]))
else:
    os.makedirs(os.environ["NUMBA_CACHE_DIR"], mode=0o700)

import numba  # noqa: E402  (the cache folder has to be set first)
from numba.core.codegen import JITCodeLibrary  # noqa: E402
from numba.core.compiler import Compiler  # noqa: E402

numba.core.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]

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
    decorate: Callable[..., Any] = numba.njit(signature, cache=True, **_OPTIONS)
    return decorate
