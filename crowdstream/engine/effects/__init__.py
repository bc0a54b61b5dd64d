"""The effect modules, one file each: a declaration `MODULE` and a kernel `process`.

They are found by listing this folder, in the order of their names. The files are plain
Python; `engine.dispatch` compiles their kernels. So control, which has no use for numba, can
read the declarations, and a module can be tried without compiling. A file whose name begins
with an underscore is no module.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from crowdstream.desk.effects import Module


def _found() -> dict[str, tuple[Module, ModuleType]]:
    files = sorted(info.name for info in pkgutil.iter_modules(__path__))
    imported = [importlib.import_module(f"{__name__}.{name}") for name in files if name[0] != "_"]
    return {file.MODULE.name: (file.MODULE, file) for file in imported}


_FOUND = _found()

MODULES: dict[str, Module] = {name: module for name, (module, _file) in _FOUND.items()}
"""The declarations by name. A module's number in the desk is its place in here."""

FILES: tuple[ModuleType, ...] = tuple(file for _module, file in _FOUND.values())
"""The files, in the same order."""
