"""What is kept of a compilation: each part as soon as it is compiled, and optimised kernels.

A part's entry holds its own code, the type that it returns, and the keys of the parts that it
calls; a part is taken from the store only with all that it calls. Functions of numba's own that a
part calls are kept with it, by a hash of their code.

Two kinds of numba's names have to be the same, or different, in every process. A part's symbol
carries a number made of its key, so that callers and part find each other. All other functions are
numbered by numba from 1 in each process, and two that differ would carry one symbol: here the
numbers begin at random.

numba has no interface for this. All that is used of its inside is used here and in `libraries.py`;
where that is not as expected, nothing is kept and everything is compiled as before.
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
from numba.core.bytecode import FunctionIdentity
from numba.core.compiler import CR_FIELDS, CompilerBase, compile_result
from numba.core.environment import Environment
from numba.core.funcdesc import PythonFunctionDescriptor
from numba.core.typing import signature

from crowdstream.engine import kernel_cache
from crowdstream.engine.libraries import KeptPart, Part
from crowdstream.engine.part_keys import NoKey, PartKeys
from crowdstream.engine.part_store import PartStore

_SIMPLE = {
    str(kind): kind
    for kind in (types.none, types.void, types.boolean, *types.integer_domain, *types.real_domain)
}
# What each part may depend on without naming it: the options, these modules, and operators that
# are declared for lanes.
_SOURCES = ("jit.py", "kept_parts.py", "lanes.py", "libraries.py", "part_keys.py", "part_store.py")


def _as_expected() -> bool:
    return (
        isinstance(getattr(FunctionIdentity, "_unique_ids", None), itertools.count)
        and callable(getattr(CompilerBase, "_compile_bytecode", None))
        and callable(getattr(Environment, "from_fndesc", None))
        and set(CR_FIELDS) >= {"library", "fndesc", "signature", "reload_init", "lifted"}
    )


AVAILABLE = _as_expected()
"""Whether numba is one that parts can be kept of."""

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
    """Have a type kept by its name; returns it."""
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
    """A type as text that `type_of_json` makes the same type of. Raises `NoKey`."""
    try:
        text = json.dumps(_encoded(kind))
        if type_of_json(text) == kind:
            return text
    except (KeyError, TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise NoKey(f"the type {kind}") from error
    raise NoKey(f"the type {kind}")


def type_of_json(text: str) -> Any:
    """The type that `type_as_json` was given."""
    return _decoded(json.loads(text))


# Parts and kernels -----------------------------------------------------------------------------


class KeptParts:
    """Takes compiled parts from a store and puts them there."""

    def __init__(self, store: PartStore) -> None:
        self.store = store
        self._keys = PartKeys()
        self._salt = _salt()
        self._loaded: dict[str, tuple[KeptPart, dict[str, Any]]] = {}
        self._foreign: dict[Any, str] = {}

    def key(self, function: Any, state: Any, kind: str = "part") -> str:
        """The key of a function compiled in a state of the compiler; empty if there is none."""
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
        except NoKey:
            return ""
        return hashlib.sha256(repr(made).encode()).hexdigest()

    def load(self, key: str, function: Any, state: Any) -> Any:
        """What the compiler makes of a function, from the store; None where it is not there."""
        if not key:
            return None
        try:
            library, head = self._load(key, state.targetctx.codegen())
            return _compiled(library, head, function, state)
        except Exception:  # whatever is wrong with it: it is compiled
            return None

    def _load(self, key: str, codegen: Any) -> tuple[KeptPart, dict[str, Any]]:
        # Raises whatever when it or something that it calls is not there or not as expected.
        if key not in self._loaded:
            content = self.store.load(key)
            if content is None:
                raise KeyError(key)
            line, bitcode = content.split(b"\n", 1)
            head = json.loads(line)
            needs = [self._load(one, codegen)[0] for one in head["needs"]]
            self._loaded[key] = KeptPart(codegen, key, bitcode, needs), head
            if "symbol" in head:
                kernel_cache.part_done()
        return self._loaded[key]

    def distrust(self) -> None:
        """Delete what was taken from the store: a kernel made of it does not compile."""
        for key in self._loaded:
            self.store.discard(key)

    def save(self, key: str, compiled: Any) -> None:
        """Keep what the compiler has made of a part."""
        if not key:
            return
        library, fndesc = compiled.library, compiled.fndesc
        if (
            library.has_dynamic_globals or library._reload_init or compiled.lifted
            or compiled.objectmode or compiled.environment.consts
        ):  # fmt: skip
            return
        try:
            head = {
                "needs": [self._kept(one) for one in library.needs],
                "symbol": fndesc.mangled_name,
                "environment": fndesc.env_name,
                "abi_tags": list(fndesc.abi_tags),
                "arguments": list(fndesc.args),
                "returns": type_as_json(fndesc.restype),
            }
        except NoKey:
            return
        code = library.own_code().as_bitcode()
        if self.store.save(key, json.dumps(head).encode() + b"\n" + code):
            library.key = key

    def _kept(self, library: Any) -> str:
        # The key of a library that a part calls. Raises `NoKey`.
        if isinstance(library, Part):
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
    """The number that is part of a symbol: not one that numba would give out."""
    return int(key[:16], 16) | 1 << 64


def _compiled(library: KeptPart, head: dict[str, Any], function: Any, state: Any) -> Any:
    # As numba's passes end, for code that is there already.
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


def kept_parts() -> KeptParts:
    """What is kept on this machine."""
    folder = None
    with contextlib.suppress(OSError):
        folder = kernel_cache.parts_folder()
    return KeptParts(PartStore(folder))
