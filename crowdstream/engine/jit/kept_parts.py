"""Saving of compiled parts and optimised kernels, and restoring them in a later process.

The entry of a part contains its own LLVM code, its return type, and the keys of the parts that it
calls. A part is restored only together with everything that it calls. Functions of numba itself
that a part calls have entries too, under a hash of their code.

Symbols must match between processes. The symbol of a part contains a number derived from its key,
so a restored caller finds its parts. numba numbers all other functions from 1 in each process, so
two different functions could have the same symbol; here the numbers start at a random one.

numba has no interface for this, so private names of numba are used, but only here, in `compile.py`
and in `libraries.py`. If they are missing or anything fails, the part is compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import platform
import secrets
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types

from crowdstream.engine.jit import kernel_cache
from crowdstream.engine.jit.libraries import PartLibrary, RestoredPart
from crowdstream.engine.jit.part_keys import NoKey, PartKeys
from crowdstream.engine.jit.part_store import PartStore

_SIMPLE = {
    str(kind): kind
    for kind in (types.none, types.void, types.boolean, *types.integer_domain, *types.real_domain)
}
# Sources that any part may depend on without referring to them: compiler options, the code that
# saves and restores, and the operators of lanes, which numba finds by type.
_SOURCES = (
    "compile.py",
    "kept_parts.py",
    "../dsp/simd.py",
    "libraries.py",
    "part_keys.py",
    "part_store.py",
)


AVAILABLE = False
"""Whether this version of numba has the internals that saving and restoring require."""

with contextlib.suppress(ImportError):
    from numba.core.bytecode import FunctionIdentity
    from numba.core.compiler import CR_FIELDS, CompilerBase, compile_result
    from numba.core.environment import Environment
    from numba.core.funcdesc import PythonFunctionDescriptor
    from numba.core.typing import signature

    AVAILABLE = (
        isinstance(getattr(FunctionIdentity, "_unique_ids", None), itertools.count)
        and callable(getattr(CompilerBase, "_compile_bytecode", None))
        and callable(getattr(Environment, "from_fndesc", None))
        and set(CR_FIELDS) >= {"library", "fndesc", "signature", "reload_init", "lifted"}
    )
if AVAILABLE:
    FunctionIdentity._unique_ids = itertools.count(1 << 62 | secrets.randbits(60))


def _salt() -> str:
    made = hashlib.sha256()
    for name in _SOURCES:
        made.update((Path(__file__).parent / name).read_bytes())
    versions = (
        platform.python_version(), numba.__version__, llvmlite.__version__, np.__version__,
    )  # fmt: skip
    variables = sorted(
        (name, value) for name, value in os.environ.items()
        if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"
    )  # fmt: skip
    made.update(repr((versions, variables)).encode())
    return made.hexdigest()


# Types as JSON ---------------------------------------------------------------------------------


def named_type(kind: Any) -> Any:
    """Register a type so that it is saved by its name, and return it."""
    _SIMPLE[str(kind)] = kind
    return kind


def _encoded(kind: Any) -> Any:
    if isinstance(kind, types.Literal):
        return {"literal": kind.literal_value}
    if isinstance(kind, types.Omitted):
        return {"omitted": kind.value}
    if isinstance(kind, types.BaseTuple):
        return {"tuple": [_encoded(one) for one in kind.types]}
    if isinstance(kind, types.NestedArray):
        return {"nested": _encoded(kind.dtype), "shape": kind.shape}
    if isinstance(kind, types.Array):
        return {"array": _encoded(kind.dtype), "ndim": kind.ndim, "layout": kind.layout}
    if isinstance(kind, types.Record):
        fields = [
            (name, _encoded(field.type), field.offset, field.alignment, field.title)
            for name, field in kind.fields.items()
        ]
        return {"record": fields, "size": kind.size, "aligned": kind.aligned}
    return str(kind)


def _decoded(value: Any) -> Any:
    if isinstance(value, str):
        return _SIMPLE[value]
    if "literal" in value:
        return types.literal(value["literal"])
    if "omitted" in value:
        return types.Omitted(value["omitted"])
    if "tuple" in value:
        return types.BaseTuple.from_types([_decoded(one) for one in value["tuple"]])
    if "array" in value:
        return types.Array(_decoded(value["array"]), value["ndim"], value["layout"])
    if "nested" in value:
        return types.NestedArray(_decoded(value["nested"]), tuple(value["shape"]))
    what = ("type", "offset", "alignment", "title")
    fields = [
        (name, dict(zip(what, (_decoded(kind), *rest), strict=True)))
        for name, kind, *rest in value["record"]
    ]
    return types.Record(fields, value["size"], value["aligned"])


def type_as_json(kind: Any) -> str:
    """Encode a type as text that `type_of_json` decodes. Raises `NoKey` if that is impossible."""
    try:
        text = json.dumps(_encoded(kind))
        if type_of_json(text) == kind:
            return text
    except (KeyError, TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise NoKey(f"the type {kind}") from error
    raise NoKey(f"the type {kind}")


def type_of_json(text: str) -> Any:
    """Decode a type from the text that `type_as_json` returned."""
    return _decoded(json.loads(text))


# Parts and kernels -----------------------------------------------------------------------------


class SavedParts:
    """Compiled parts in a store, in the form that numba's compiler produces."""

    def __init__(self, store: PartStore) -> None:
        self.store = store
        self._keys = PartKeys()
        self._salt = _salt()
        self._loaded: dict[str, tuple[PartLibrary, dict[str, Any]]] = {}
        self._saved: dict[str, tuple[PartLibrary, dict[str, Any]]] = {}
        self._foreign: dict[Any, str] = {}

    def key(self, function: Any, state: Any, kind: str = "part") -> str:
        """Return the key of a function, its arguments and compiler options; empty if impossible."""
        if not AVAILABLE:
            return ""
        try:
            flags = [
                (name, sorted(value.flags) if hasattr(value, "flags") else str(value))
                for name, value in state.flags.values().items()
                if state.flags.is_set(name)
            ]
            made = (
                kind, self._salt, self._keys.digest(function), str(state.return_type), flags,
                [type_as_json(one) for one in state.args],
                state.targetctx.codegen().magic_tuple(),
            )  # fmt: skip
        except Exception:  # NoKey, or a numba with other internals
            return ""
        return hashlib.sha256(repr(made).encode()).hexdigest()

    def load(self, key: str, function: Any, state: Any) -> Any:
        """Return the stored result of compiling a function, or None if there is none."""
        if not key:
            return None
        try:
            library, head = self._load(key, state.targetctx.codegen())
            return _compiled(library, head, function, state)
        except Exception:  # missing, damaged or unexpected: compile it
            return None

    def _load(self, key: str, codegen: Any) -> tuple[PartLibrary, dict[str, Any]]:
        # Raises some exception if the part, or one that it calls, cannot be restored.
        if key in self._saved:  # an identical function of this process
            return self._saved[key]
        if key not in self._loaded:
            content = self.store.load(key)
            if content is None:
                raise KeyError(key)
            line, bitcode = content.split(b"\n", 1)
            head = json.loads(line)
            needs = [self._load(one, codegen)[0] for one in head["needs"]]
            self._loaded[key] = RestoredPart(codegen, key, bitcode, needs), head
            if "symbol" in head:
                kernel_cache.part_done()
        return self._loaded[key]

    def invalidate(self, kernel: str) -> None:
        """Delete the entries of a kernel that failed to compile, and of all restored parts."""
        for key in (kernel, *self._loaded):
            self.store.discard(key)

    def save(self, key: str, compiled: Any) -> None:
        """Save a compiled part, if it can be restored without this process."""
        if key:
            with contextlib.suppress(NoKey, AttributeError):  # it will be compiled each time
                self._save(key, compiled)

    def _save(self, key: str, compiled: Any) -> None:
        library, fndesc = compiled.library, compiled.fndesc
        if (
            library.has_dynamic_globals or library._reload_init or compiled.lifted
            or compiled.objectmode or compiled.environment.consts
        ):  # fmt: skip
            return
        head = {
            "needs": [self._kept(one) for one in library.needs],
            "symbol": fndesc.mangled_name,
            "environment": fndesc.env_name,
            "abi_tags": list(fndesc.abi_tags),
            "arguments": list(fndesc.args),
            "returns": type_as_json(fndesc.restype),
        }
        code = library.own_code().as_bitcode()
        if self.store.save(key, json.dumps(head).encode() + b"\n" + code):
            library.key = key
            self._saved[key] = library, head

    def _kept(self, library: Any) -> str:
        # The key of a library that a part calls. Raises `NoKey`.
        if isinstance(library, PartLibrary):
            if not library.key:
                raise NoKey(library.name)
            return library.key
        if library in self._foreign:
            return self._foreign[library]
        if library._reload_init or library.has_dynamic_globals:
            raise NoKey(library.name)
        code = library._get_module_for_linking().as_bitcode()
        key = hashlib.sha256(f"numba {self._salt}".encode() + code).hexdigest()
        if not self.store.save(key, b'{"needs": []}\n' + code):
            raise NoKey(library.name)
        self._foreign[library] = key
        return key


def number_of(key: str) -> int:
    """The number in the symbols of a part: larger than any number that numba assigns."""
    return int(key[:16], 16) | 1 << 64


def _compiled(library: PartLibrary, head: dict[str, Any], function: Any, state: Any) -> Any:
    # The equivalent of numba's last two passes, for code that already exists.
    returns = type_of_json(head["returns"])
    number = number_of(library.key)
    fndesc = PythonFunctionDescriptor(
        native=True, modname=function.__module__, qualname=function.__qualname__,
        unique_name=f"{function.__qualname__}${number}", doc=function.__doc__ or "",
        typemap=None, restype=returns, calltypes=None, args=tuple(head["arguments"]), kws=(),
        mangler=lambda *_arguments, **_options: head["symbol"], argtypes=tuple(state.args),
        inline=state.flags.forceinline, noalias=state.flags.noalias,
        env_name=head["environment"], abi_tags=head["abi_tags"], uid=number,
    )  # fmt: skip
    environment = Environment.from_fndesc(fndesc)
    entry_point = state.targetctx.get_executable(library, fndesc, environment)
    compiled = compile_result(
        typing_context=state.typingctx, target_context=state.targetctx, entry_point=entry_point,
        library=library, signature=signature(returns, *state.args), objectmode=False, lifted=(),
        fndesc=fndesc, environment=environment, metadata=state.metadata, reload_init=[],
    )  # fmt: skip
    state.targetctx.insert_user_function(entry_point, fndesc, [library])
    return compiled


def open_saved_parts() -> SavedParts:
    """Return this user's store, or a store that saves nothing if there is no folder for it."""
    folder = None
    with contextlib.suppress(OSError):
        folder = kernel_cache.parts_folder()
    return SavedParts(PartStore(folder))
