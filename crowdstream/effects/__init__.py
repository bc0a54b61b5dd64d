"""The effects, one module each: a declaration `MODULE` and a function `process`.

Modules are found by listing this folder in alphabetical order; a file whose name begins with an
underscore is not an effect. They are plain Python: `engine/effects/dispatch.py` compiles their
functions for the engine. Processes without numba, such as control and the DJ, read the
declarations, and an effect can be tried without a compiler.
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
