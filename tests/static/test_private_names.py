"""No class and no module of the program reaches into what another keeps to itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.environment import PROJECT

# Public, whatever they begin with: the documentation of Python names them.
PUBLIC = {"_exit", "_replace", "_asdict", "_fields"}

# file, what is reached for: why there is no other way.
ALLOWED = {
    ("crowdstream/engine/jit/libraries.py", "library._get_module_for_linking"): "numba links whole "
    "libraries, and a kernel takes of each only what it calls",
    (
        "crowdstream/engine/jit/kept_parts.py",
        "library._get_module_for_linking",
    ): "a compiled part is "
    "kept as the code that its callers link; whether numba has these names is checked at import",
    ("crowdstream/engine/jit/kept_parts.py", "library._reload_init"): "as the one before",
    ("crowdstream/engine/jit/kept_parts.py", "FunctionIdentity._unique_ids"): "as the one before",
    (
        "crowdstream/engine/precompiled.py",
        "entry._cache",
    ): "numba's cache holds the machine code, and no public name of numba gives it",
    ("crowdstream/engine/precompiled.py", "store._index_key"): "as entry._cache",
    ("crowdstream/engine/precompiled.py", "store._cache_file"): "as entry._cache",
    ("crowdstream/engine/jit/views.py", "array._getvalue"): "what numba's own intrinsics end with",
    ("crowdstream/reference.py", "parser._actions"): "argparse has no public list of the arguments "
    "that a parser takes",
    ("crowdstream/offline/output.py", "soundfile._snd"): "soundfile has no name for libsndfile's "
    "command that makes a short RF64 file a plain WAV",
    ("crowdstream/offline/output.py", "soundfile._ffi"): "as soundfile._snd",
    ("crowdstream/offline/output.py", "file._file"): "as soundfile._snd",
}


def own_names(node: ast.ClassDef) -> set[str]:
    """What a class keeps: attributes set on `self`, class attributes, methods."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            if isinstance(part.value, ast.Name) and part.value.id == "self":
                found.add(part.attr)
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(part.name)
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            found.add(line.target.id)
        elif isinstance(line, ast.Assign):
            found |= {one.id for one in line.targets if isinstance(one, ast.Name)}
    return found


def own_base(node: ast.expr) -> bool:
    """Whether what is reached into is the object itself or its class."""
    if isinstance(node, ast.Name):
        return node.id in ("self", "cls")
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "super"


def is_private(name: str) -> bool:
    """One underscore: two at either end are Python's own."""
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def findings(source: str) -> list[str]:
    """Private names that a module takes from elsewhere, in its order.

    A class may use its own private names of another object: they are of the same class.
    """
    return list(_found(ast.parse(source), set()))


def _found(node: ast.AST, own: set[str]) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        own = own | own_names(node)
    elif isinstance(node, ast.Attribute):
        if is_private(node.attr) and node.attr not in own and not own_base(node.value):
            yield ast.unparse(node)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"import of {one.name}" for one in node.names if is_private(one.name))
    for child in ast.iter_child_nodes(node):
        yield from _found(child, own)


def test_nothing_of_the_program_reaches_into_what_another_keeps_to_itself() -> None:
    files = sorted((PROJECT / "crowdstream").rglob("*.py"))
    assert len(files) > 200
    found = {
        (str(path.relative_to(PROJECT)), finding)
        for path in files
        for finding in findings(path.read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED), "and what is allowed is still needed"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("other._value", ["other._value"]),
        ("class A:\n    def f(self, b):\n        return self.b._kept", ["self.b._kept"]),
        ("def f(self, other):\n    return self.other._go()", ["self.other._go"]),
        ("from crowdstream.system.text import _words", ["import of _words"]),
        ("class A:\n    def f(self, b):\n        b._kept = 1", ["b._kept"]),
        ("class A:\n    def f(self): self._a = 1\n\n\ndef g(a): return a._a", ["a._a"]),
    ],
)
def test_what_reaches_in_is_found(source: str, expected: list[str]) -> None:
    assert findings(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def f(self): return self._a + super()._b",
        "class A:\n    @classmethod\n    def f(cls): return cls._a",
        "class A:\n    def __init__(self): self._a = 1\n    def like(self, b): return b._a",
        "class A:\n    def make(self): A()._go()\n    def _go(self): ...",
        "os._exit(1)\nplace._replace(x=1)\nthing.__name__",
    ],
)
def test_what_is_its_own_is_not(source: str) -> None:
    assert findings(source) == []
