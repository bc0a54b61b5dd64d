"""Hashes of everything that the code of a part is generated from.

A part is generated from its function's bytecode and from the values that it uses: numbers, arrays,
other parts, intrinsics. The values themselves are hashed instead of their source files, so a change
recompiles only the parts that depend on it. For a module, every attribute counts whose name occurs
in the function. A function that uses a value of an unsupported type has no hash and is compiled
each time.

The caller adds the versions of the compiler and of numpy to the hash.
"""

from __future__ import annotations

import dis
import enum
import hashlib
import types
from typing import Any

import numpy as np

_PLAIN = (type(None), type(Ellipsis), bool, int, float, complex, str, bytes)
# Packages whose versions are part of each key, so the names of their functions suffice.
_VERSIONED = ("builtins", "llvmlite", "math", "numba", "numpy", "operator", "typing")


class NoKey(Exception):
    """A function uses a value of a type that cannot be hashed."""


def _is_versioned(value: Any) -> bool:
    return str(getattr(value, "__module__", None) or "").partition(".")[0] in _VERSIONED


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _codes(code: types.CodeType) -> list[types.CodeType]:
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return [code, *(one for each in inner for one in _codes(each))]


class PartKeys:
    """Hashes of functions, each computed only once."""

    def __init__(self) -> None:
        self._digests: dict[types.FunctionType, str | NoKey] = {}

    def digest(self, function: types.FunctionType) -> str:
        """Return a hash of everything that a function is generated from. Raises `NoKey`."""
        if function in self._digests:
            known = self._digests[function]
            if isinstance(known, NoKey):
                raise known
            return known
        self._digests[function] = NoKey(f"{_name(function)} calls itself")
        try:
            described = repr(self._function(function)).encode()
        except NoKey as error:
            self._digests[function] = error
            raise
        made = self._digests[function] = hashlib.sha256(described).hexdigest()
        return made

    def _function(self, function: types.FunctionType) -> object:
        codes = _codes(function.__code__)
        used = {
            step.argval for code in codes for step in dis.get_instructions(code)
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        }  # fmt: skip
        describer = _ValueDescriber(self, {name for code in codes for name in code.co_names})
        try:
            cells = [cell.cell_contents for cell in function.__closure__ or ()]
        except ValueError as error:  # an empty cell
            raise NoKey(str(error)) from error
        return (
            _name(function),
            describer.code(function.__code__),
            describer.describe(function.__defaults__),
            describer.describe(function.__kwdefaults__),
            [describer.describe(cell) for cell in cells],
            describer.named(used, function.__globals__),
        )


class _ValueDescriber:
    """Describes the values that one function uses, as strings and tuples of strings."""

    def __init__(self, keys: PartKeys, names: set[str]) -> None:
        self._keys = keys
        self._names = names
        self._modules: set[str] = set()

    def named(self, names: set[str], values: dict[str, Any]) -> object:
        return [(name, self.describe(values[name])) for name in sorted(names & values.keys())]

    def code(self, code: types.CodeType) -> object:
        return (
            code.co_name, code.co_code, code.co_flags, code.co_argcount, code.co_posonlyargcount,
            code.co_kwonlyargcount, code.co_names, code.co_varnames, code.co_freevars,
            code.co_cellvars, getattr(code, "co_exceptiontable", b""),
            [self.describe(const) for const in code.co_consts],
        )  # fmt: skip

    def describe(self, value: Any) -> object:
        kind = type(value)
        if kind in _PLAIN:
            return kind.__name__, repr(value)
        for handler in (self._container, self._of_python, self._of_numpy, self._of_numba):
            if (described := handler(value)) is not None:
                return kind.__module__, kind.__qualname__, described
        raise NoKey(f"a value of {kind.__module__}.{kind.__qualname__}")

    def _container(self, value: Any) -> object:
        if isinstance(value, enum.Enum):
            return value.name, self.describe(value.value)
        if isinstance(value, tuple | list):
            return [self.describe(one) for one in value]
        if isinstance(value, set | frozenset):
            return sorted(repr(self.describe(one)) for one in value)
        if isinstance(value, dict):
            return [(self.describe(key), self.describe(one)) for key, one in value.items()]
        return None

    def _of_python(self, value: Any) -> object:
        if isinstance(value, types.CodeType):
            return self.code(value)
        if isinstance(value, types.ModuleType):
            return self._module(value)
        if isinstance(value, type) and issubclass(value, enum.Enum):
            return _name(value), [self.describe(one) for one in value]
        if isinstance(value, type | types.BuiltinFunctionType | types.FunctionType):
            if _is_versioned(value):
                return _name(value)
            if isinstance(value, types.FunctionType):
                return self._keys.digest(value)
        return None

    def _module(self, module: types.ModuleType) -> object:
        name = module.__name__
        if name.partition(".")[0] in _VERSIONED or name in self._modules:
            return name
        self._modules.add(name)
        return name, self.named(self._names, vars(module))

    def _of_numpy(self, value: Any) -> object:
        if isinstance(value, np.ufunc):
            return value.__name__
        if isinstance(value, np.dtype):
            if value.hasobject:
                raise NoKey(f"objects in {value}")
            return repr(value), value.itemsize, value.alignment, value.isalignedstruct
        if isinstance(value, np.generic):
            return self._of_numpy(value.dtype), value.tobytes()
        if type(value) is np.ndarray:
            flags = value.flags
            which = (flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned)
            return self._of_numpy(value.dtype), value.shape, which, value.tobytes()
        return None

    def _of_numba(self, value: Any) -> object:
        # Types and functions of numba, types of llvmlite, and classes derived from these.
        modules = [base.__module__ for base in type(value).mro()]
        if not any(name.startswith(("numba.", "llvmlite.")) for name in modules):
            return None
        if isinstance(function := getattr(value, "py_func", None), types.FunctionType):
            return self._keys.digest(function), self.describe(value.targetoptions)
        if isinstance(function := getattr(value, "_defn", None), types.FunctionType):
            return self._keys.digest(function)
        text = str(value)
        return None if "0x" in text else text
