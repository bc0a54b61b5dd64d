"""LLVM code as numba's compiler holds it: that of a part, and of a kernel with all its parts.

numba generates machine code for each function that it compiles, and optimises it together with
everything that it calls. Only the few kernels that Python calls need that: they link the code of
all their parts and optimise it once. A part holds only its own code.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from numba.core.codegen import JITCodeLibrary

# Stand-in for the machine code of a part if Python calls it anyway: it raises an exception,
# whatever its name. It must be a C function, because a Python function cannot propagate an
# exception to its caller here.
_UNCALLABLE = ctypes.cast(ctypes.pythonapi.PyErr_NoMemory, ctypes.c_void_p).value or 0


class _NoEngine:
    # Replacement for the owner of machine code, for a library without any.
    def set_env(self, _name: str, _environment: Any) -> None:
        return


class PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a part before a kernel links it: without the code of the parts that it calls."""

    codegen = _NoEngine()
    key = ""
    """The key under which the code is saved; empty if it is not (see `kept_parts.py`)."""

    def finalize(self) -> None:
        """Mark the library as complete. The kernels that link it do the optimisation."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def own_code(self) -> Any:
        """Return a module that may be linked into several others."""
        return super()._get_module_for_linking()

    @property
    def needs(self) -> list[Any]:
        """The libraries of the functions that this function calls."""
        return list(self._linking_libraries)

    def _get_module_for_linking(self) -> Any:
        # For a calling function that is not a kernel.
        module = self.own_code().clone()
        _link_parts(module, self._linking_libraries)
        return module

    def get_pointer_to_function(self, name: str) -> int:
        return _UNCALLABLE


class RestoredPart(PartLibrary):
    """Restored code of a part, or of a numba function that parts call."""

    def __init__(self, codegen: Any, key: str, bitcode: bytes, needs: Sequence[Any]) -> None:
        super().__init__(codegen, key)
        self.key = key
        self._bitcode = bitcode
        self._parsed: Any = None
        self._linking_libraries = list(needs)
        self._finalized = True

    def own_code(self) -> Any:
        """Return a module that may be linked into several others."""
        if self._parsed is None:
            self._parsed = llvm.parse_bitcode(self._bitcode)
        return self._parsed


def _link_parts(module: Any, libraries: Sequence[Any]) -> None:
    # Link libraries and everything that they need into a module. Each must precede those that it
    # calls: LLVM links only functions that are already called.
    needed: dict[Any, None] = {}

    def need(libraries: Sequence[Any]) -> None:
        for library in libraries:
            if library not in needed:
                need(library.needs if isinstance(library, PartLibrary) else ())
                needed[library] = None

    need(libraries)
    for library in reversed(needed):
        part = isinstance(library, PartLibrary)
        code = library.own_code() if part else library._get_module_for_linking()
        module.link_in(code, preserve=True)


class KernelLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel including all its parts."""

    load: Callable[[], bytes | None] = staticmethod(lambda: None)
    """Returns the optimised code, if it was saved."""
    save: Callable[[bytes], object] = staticmethod(lambda bitcode: None)
    """Saves the optimised code."""

    def finalize(self) -> None:
        """Link the parts and generate machine code for the whole kernel."""
        if (module := self._kept()) is not None:
            self._final_module = module
            self._finalize_final_module()
            return
        _link_parts(self._final_module, self._linking_libraries)
        self._linking_libraries: list[Any] = []
        super().finalize()

    def _kept(self) -> Any:
        # The saved code, if it defines every function that has just been compiled.
        if (bitcode := self.load()) is None:
            return None
        module = llvm.parse_bitcode(bitcode)
        there = {one.name for one in module.functions if not one.is_declaration}
        own = {one.name for one in self._final_module.functions if not one.is_declaration}
        return module if own <= there else None

    def _optimize_final_module(self) -> None:
        super()._optimize_final_module()
        names = [one.name for one in self._final_module.global_variables]
        if not any(name.startswith("numba.dynamic.globals") for name in names):
            self.save(self._final_module.as_bitcode())

    def _verify_declare_only_symbols(self) -> None:
        # A call to a function that was not linked would jump to address 0.
        for function in self._final_module.functions:
            if function.is_declaration and function.name.startswith("_ZN"):
                raise AssertionError(f"{function.name} is not linked")
