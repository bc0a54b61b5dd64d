"""Mutation testing: do the tests of a module fail when the module is wrong?

    .venv/bin/python -m pip install -r contrib/mutation-requirements.txt
    .venv/bin/python -P -m contrib.mutation [--list] [module ...]

Each mutant is the module with one small fault: a comparison or an operator replaced, a number
changed by one, a condition negated, a statement removed. A mutant is killed when a test fails or
does not end. A mutant that no test detects survives and is printed as a diff. The exit status is 1
if fewer than 85 % of the mutants of any module are killed. See
docs/development/mutation-testing.md.

cosmic-ray generates the mutants. They are not tested by its own workers, which start an interpreter
for each mutant. Here each mutant is tested in a child that is forked from a process that has
already imported pytest, numpy and everything else that the tests import from outside the project.
If a mutant differs only in function bodies, the child is forked from a run of pytest that has
collected the tests, and replaces these bodies; mutants that survive are tested once more as a
whole. Everything happens in a temporary copy of the project, one mutant at a time.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import difflib
import gc
import importlib.util
import inspect
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
THRESHOLD = 0.85
WAITING_SECONDS = 60.0

_ACCESS = "crowdstream/web/auth/"
_ACCESS_TESTS = "tests/unit/web/auth/"
_GATE_TESTS = (_ACCESS_TESTS + "test_middleware.py", _ACCESS_TESTS + "test_verdicts.py")

# The tests of each module: the smallest set that should detect a fault in it, the fastest first.
# None may need a compiled kernel, which takes half a minute for each mutant.
MODULES: dict[str, tuple[str, ...]] = {
    "crowdstream/osc/acl.py": ("tests/unit/osc/test_acl.py",),
    _ACCESS + "limits.py": (_ACCESS_TESTS + "test_limits.py", *_GATE_TESTS),
    _ACCESS + "headers.py": (
        _ACCESS_TESTS + "test_headers.py", _ACCESS_TESTS + "test_host_names.py", *_GATE_TESTS,
    ),
    _ACCESS + "token.py": (_ACCESS_TESTS + "test_token.py", *_GATE_TESTS),
    _ACCESS + "invitation.py": (_ACCESS_TESTS + "test_invitation.py",),
    _ACCESS + "failed_attempts.py": (_ACCESS_TESTS + "test_failed_attempts.py", *_GATE_TESTS),
    _ACCESS + "connections.py": (_ACCESS_TESTS + "test_connections.py",),
    _ACCESS + "listener_sockets.py": (
        _ACCESS_TESTS + "test_listener_sockets.py", _ACCESS_TESTS + "test_connections.py",
    ),
    _ACCESS + "middleware.py": _GATE_TESTS,
    "crowdstream/desk/rings.py": ("tests/unit/desk/test_ring_protocol.py",),
    "crowdstream/desk/pages.py": ("tests/unit/desk/test_page_ownership.py",),
    "crowdstream/desk/ramps.py": ("tests/unit/desk/test_ramp_rows.py",),
    "crowdstream/engine/dsp/ramps.py": ("tests/unit/engine/dsp/test_ramps.py",),
    "crowdstream/engine/schedule/command_heap.py": (
        "tests/unit/engine/schedule/test_command_heap.py",
    ),
    "crowdstream/engine/undo_log.py": ("tests/unit/engine/test_undo_rendering.py",),
    "crowdstream/control/clock/clock.py": (
        "tests/unit/control/clock/test_tempo.py",
        "tests/unit/control/clock/test_clock_frames.py",
    ),
    "crowdstream/commands/registry.py": (
        "tests/unit/commands/test_declarations.py",
        "tests/unit/commands/test_patterns.py",
    ),
}  # fmt: skip

# Chosen limits that could equally be one higher or lower: a test of the number itself would only
# repeat it. The tests check that the limits are enforced, whatever their values.
CHOSEN = {
    "REMEMBERED", "MAX_CONNECTIONS", "MAX_CONNECTIONS_EACH", "MAX_SOCKETS", "MAX_SOCKETS_EACH",
    "REQUESTS_A_SECOND", "REQUESTS_AT_ONCE", "MESSAGES_A_SECOND", "MESSAGES_AT_ONCE",
    "FAILURES_A_SECOND", "FAILURES_AT_ONCE", "MAX_BODY", "HEAD_SECONDS", "BODY_SECONDS",
    "SEND_SECONDS", "HINT_SECONDS", "AVERAGING_SECONDS", "MAX_KEPT_TAGS", "MAX_SAVED_TAGS",
    "JUMP_SECONDS",
    "MAX_PAST_SEGMENTS", "MAX_AHEAD", "_MAX_READ", "RESERVED_CONNECTIONS", "RESERVED_SOCKETS",
    "REMEMBERED_GUESSES", "MAX_UNSENT_BYTES", "MAX_UNSENT_SOCKET_BYTES", "SEND_BUFFER_BYTES",
    "FRAMES_A_SECOND", "FRAMES_AT_ONCE", "REQUEST_BYTES", "HANDSHAKE_SECONDS", "ACCEPTED_AT_ONCE",
    "OUT_OF_DESCRIPTORS_SECONDS", "KNOWN_ADDRESSES", "MAX_MATCHES", "REMEMBERED_PATTERNS",
    "MAX_TEXT_LENGTH", "MAX_REST_COUNT", "MAX_WORD_LENGTH",
}  # fmt: skip

# One replacement for each operator, two for an inequality (the boundary and the direction).
# cosmic-ray has ten for each: most of the others fail at the first call, whatever the tests are,
# and those that exchange `==` for `is` depend on which objects CPython happens to share.
OPERATORS = (
    *(f"ReplaceBinaryOperator_{a}_{b}" for a, b in (
        ("Add", "Sub"), ("Sub", "Add"), ("Mul", "Div"), ("Div", "Mul"), ("FloorDiv", "Mul"),
        ("Mod", "FloorDiv"), ("Pow", "Mul"), ("RShift", "LShift"), ("LShift", "RShift"),
        ("BitOr", "BitAnd"), ("BitAnd", "BitOr"), ("BitXor", "BitAnd"),
    )),
    *(f"ReplaceComparisonOperator_{a}_{b}" for a, b in (
        ("Lt", "LtE"), ("Lt", "GtE"), ("LtE", "Lt"), ("LtE", "Gt"), ("Gt", "GtE"), ("Gt", "LtE"),
        ("GtE", "Gt"), ("GtE", "Lt"), ("Eq", "NotEq"), ("NotEq", "Eq"), ("Is", "IsNot"),
        ("IsNot", "Is"),
    )),
    "ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_Not", "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue",
    "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak", "NumberReplacer", "RemoveDecorator",
    "ZeroIterationForLoop",
)  # fmt: skip

# The tests call these modules as plain Python functions, where a kernel's decorator does nothing.
_KERNEL_DECORATORS = ("kernel", "fast_kernel", "entry")

_TYPES = {"_Address", "_Network"}  # names of types, used only in annotations

_PROJECT_PACKAGES = {"crowdstream", "tests", "contrib", "benchmarks", "examples", "audio_server"}

Place = tuple[int, int]  # line from 1, column from 0


@dataclass(frozen=True)
class Mutant:
    """A module with one fault: its kind, its position, and the whole source."""

    kind: str
    place: Place
    code: str


# --- making mutants ---------------------------------------------------------------------------


def _places(node: ast.AST) -> tuple[Place, Place]:
    at: Any = node
    return (at.lineno, at.col_offset), (at.end_lineno, at.end_col_offset)


def _left_out(tree: ast.AST) -> list[tuple[Place, Place]]:
    """Regions to skip: annotations are never evaluated, and kernel decorators do nothing."""
    found: list[tuple[Place, Place]] = []
    for node in ast.walk(tree):
        parts = [getattr(node, name, None) for name in ("annotation", "returns")]
        for one in getattr(node, "decorator_list", ()):
            if ast.unparse(one).partition("(")[0] in _KERNEL_DECORATORS:
                (line, _column), end = _places(one)
                found.append(((line, 0), end))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in CHOSEN | _TYPES:
            parts.append(node)
        found += [_places(part) for part in parts if isinstance(part, ast.AST)]
    return found


def _without_statement(source: str, tree: ast.AST) -> Iterator[Mutant]:
    """Remove each statement that has a side effect, one at a time."""
    lines = source.splitlines(keepends=True)
    for parent in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(parent, name, None)
            for node in statements if isinstance(statements, list) else ():
                effect = isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Delete) or (
                    isinstance(node, ast.Assign)
                    and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
                )
                text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                if not effect or text:
                    continue
                (line, column), (end, end_column) = _places(node)
                made = lines[: line - 1]
                made.append(lines[line - 1][:column] + "pass" + lines[end - 1][end_column:])
                made += lines[end:]
                yield Mutant("RemoveStatement", (line, column), "".join(made))


def _other_exceptions(source: str, tree: ast.AST) -> Iterator[Mutant]:
    """Make exception handlers catch another exception, one at a time.

    cosmic-ray's own operator fails for names with a dot.
    """
    lines = source.splitlines(keepends=True)
    for handler in ast.walk(tree):
        caught = handler.type if isinstance(handler, ast.ExceptHandler) else None
        for node in caught.elts if isinstance(caught, ast.Tuple) else (caught,):
            if node is None:
                continue
            (line, column), (_end, end_column) = _places(node)
            made = list(lines)
            text = made[line - 1]
            made[line - 1] = text[:column] + "FloatingPointError" + text[end_column:]
            yield Mutant("ExceptionReplacer", (line, column), "".join(made))


def _by_cosmic_ray(source: str, skipped: Sequence[tuple[Place, Place]]) -> Iterator[Mutant]:
    # Imported by name: the linting step of the tests also runs without it.
    trees, mutating, plugins = (
        importlib.import_module(f"cosmic_ray.{name}") for name in ("ast", "mutating", "plugins")
    )
    nodes = list(trees.ast_nodes(trees.get_ast(source)))
    for name in OPERATORS:
        operator = plugins.get_operator(f"core/{name}")()
        positions = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (begin, _end) in enumerate(positions):
            if not any(first <= begin < last for first, last in skipped):
                code = mutating.mutate_code(source, operator, occurrence)
                if code is not None:
                    yield Mutant(name, begin, code)


def mutants(source: str) -> list[Mutant]:
    """Return all mutants of a module in the order of its lines, without syntax errors."""
    tree = ast.parse(source)
    seen = {source}
    found = []
    made = _by_cosmic_ray(source, _left_out(tree))
    for mutant in (*made, *_other_exceptions(source, tree), *_without_statement(source, tree)):
        if mutant.code in seen:
            continue
        seen.add(mutant.code)
        with contextlib.suppress(SyntaxError):
            ast.parse(mutant.code)
            found.append(mutant)
    return sorted(found, key=lambda one: (one.place, one.kind))


@dataclass(frozen=True)
class Choice:
    """Selects mutants: those on `lines` (default: all), and at most `limit` of them (0: all).

    The same `seed` selects the same ones.
    """

    limit: int = 0
    seed: int = 1
    lines: tuple[int, ...] = ()

    def of(self, found: list[Mutant]) -> list[Mutant]:
        """Return the selected mutants, in their order."""
        if self.lines:
            found = [mutant for mutant in found if mutant.place[0] in self.lines]
        if not self.limit or len(found) <= self.limit:
            return found
        chosen = random.Random(self.seed).sample(range(len(found)), self.limit)
        return [found[index] for index in sorted(chosen)]


_Bodies = dict[CodeType, CodeType]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _own_code(code: CodeType) -> tuple[Any, ...]:
    # What a code object does itself, without the functions that it defines.
    values = [None if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return (
        code.co_code, values, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
        code.co_flags, code.co_exceptiontable,
    )  # fmt: skip


def changed_bodies(source: str, mutant: str) -> _Bodies | None:
    """Return the function bodies that a mutant changes, or None if it changes anything else.

    Code that runs during the import is something else: classes, constants, defaults, decorators.
    """
    old, new = (list(_codes(InspectLoader.source_to_code(one))) for one in (source, mutant))
    if [one.co_qualname for one in old] != [one.co_qualname for one in new]:
        return None
    bodies = {}
    for before, after in zip(old, new, strict=True):
        if before.co_flags & inspect.CO_OPTIMIZED:
            inner = zip(_codes(before), _codes(after), strict=True)
            if any(_own_code(one) != _own_code(other) for one, other in inner):
                bodies[before] = after
        elif _own_code(before) != _own_code(after):
            return None
    return bodies


# --- testing them -----------------------------------------------------------------------------


class _Quick:
    """A pytest plugin that stops at the first failure and does not shrink failing examples.

    `mutants`: those that are tested by exchanging function bodies, each in a child that is forked
    after the tests are collected. `statuses`: their results.
    """

    def __init__(self, bodies: Sequence[_Bodies] = (), limit: int = 0, name: str = "") -> None:
        self._bodies, self._limit, self._name = bodies, limit, name
        self._running = False
        self.statuses: list[int | None] = []

    def pytest_configure(self) -> None:
        """Keep the number of examples that the project's conftest has selected."""
        from hypothesis import Phase, settings

        phases = Phase.explicit, Phase.generate
        settings.register_profile("mutation", settings(), phases=phases)
        settings.load_profile("mutation")

    def pytest_runtestloop(self, session: Any) -> bool | None:
        """Test the mutants instead of running the tests, if there are any."""
        if self._running or not self._bodies:
            return None
        # Run once here, which also imports the modules that the tests import while running.
        self.statuses.append(self._run(session))
        if self.statuses[0] != 0:
            return True
        functions = [
            one for one in gc.get_objects()
            if type(one) is FunctionType and one.__code__.co_filename.endswith(self._name)
        ]  # fmt: skip
        gc.freeze()  # so that the children do not scan these objects
        for bodies in self._bodies:
            def work(bodies: _Bodies = bodies) -> int:
                return self._tested(session, functions, bodies)

            self.statuses.append(_child(work, self._limit))
        return True

    def _run(self, session: Any) -> int:
        self._running = True
        with contextlib.suppress(session.Failed):
            session.config.hook.pytest_runtestloop(session=session)
        self._running = False
        return int(session.testsfailed > 0)

    def _tested(self, session: Any, functions: Sequence[FunctionType], bodies: _Bodies) -> int:
        for function in functions:
            function.__code__ = bodies.get(function.__code__, function.__code__)
        with tempfile.TemporaryDirectory() as folder:
            factory = session.config._tmp_path_factory
            factory._given_basetemp, factory._basetemp = Path(folder, "t"), None
            return self._run(session)


def _run_tests(
    tests: Sequence[str], report: Path | None = None, quick: _Quick | None = None
) -> int:
    """Run pytest and return its exit status. `report`: a file for the imported modules."""
    import pytest

    # pytest warns about plugins that were imported before it.
    rewritten = "ignore::pytest.PytestAssertRewriteWarning"
    arguments = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-W", rewritten]
    # Searching all installed packages for plugins would take a third of the time.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for plugin in ("pytest_timeout", "xdist.plugin", "_hypothesis_pytestplugin"):
        arguments += ["-p", plugin]
    with tempfile.TemporaryDirectory() as folder:
        arguments += ["--basetemp", f"{folder}/t"]
        status = int(pytest.main([*arguments, *tests], plugins=[quick or _Quick()]))
    if report is not None:
        report.write_text(json.dumps(list(sys.modules)), encoding="utf-8")
    return status


def _child(work: Callable[[], int], limit: int, log: Path | None = None) -> int | None:
    """Return the result of `work` in a child of this process; None if it did not end.

    `limit`: seconds of CPU time, which other programs do not affect. A child that waits in vain has
    `WAITING_SECONDS` more. `log`: a file for its output.
    """
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            if log is not None:
                _print_to(log)
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    end = time.monotonic() + WAITING_SECONDS + 10 * limit
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return None if code in (-signal.SIGXCPU, -signal.SIGKILL) else code
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _print_to(log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _forked(
    tests: Sequence[str], log: Path, limit: int = 600, report: Path | None = None
) -> int | None:
    """Return the exit status of the tests in a child process; None if it did not end."""
    return _child(lambda: _run_tests(tests, report), limit, log)


def _module_name(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


class _Refused(MetaPathFinder):
    """Import hook that prevents other modules from importing the module to be mutated."""

    def __init__(self, mutated: str) -> None:
        self.mutated = mutated

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Raise `ImportError` for that module, so modules that need it are not imported."""
        if fullname == self.mutated:
            raise ImportError(f"{fullname} is not imported before it is mutated")


def _import_all_but(mutated: str, names: Sequence[str]) -> None:
    """Import the modules that neither depend on the mutated one nor belong to the tests."""
    refused = _Refused(mutated)
    sys.meta_path.insert(0, refused)
    for name in names:
        if name.partition(".")[0] not in _PROJECT_PACKAGES - {"crowdstream"}:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    sys.meta_path.remove(refused)


def _prepare(tests: Sequence[str], mutated: str, log: Path) -> float:
    """Run the tests on the unmodified module, and import the modules that they import.

    Returns the duration of the tests after that, in seconds of CPU time.
    """
    report = log.with_suffix(".json")
    if _forked(tests, log, report=report) != 0:
        raise SystemExit(f"the tests fail without a mutant:\n{log.read_text()}")
    _import_all_but(mutated, json.loads(report.read_text(encoding="utf-8")))
    gc.freeze()  # so that the children do not scan the imported objects
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if _forked(tests, log) != 0:
        raise SystemExit(f"the tests fail without a mutant:\n{log.read_text()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _diff(source: str, mutant: Mutant, name: str) -> str:
    pair = source.splitlines(), mutant.code.splitlines()
    lines = list(difflib.unified_diff(*pair, lineterm="", n=1))[2:]
    return "\n".join([f"{name}:{mutant.place[0]}: {mutant.kind}", *(f"    {one}" for one in lines)])


def _killed_quickly(name: str, chosen: Sequence[Mutant], limit: int, log: Path) -> set[int]:
    """Return the indexes of mutants that are killed by exchanging function bodies."""
    source = Path(name).read_text(encoding="utf-8")
    bodies = [changed_bodies(source, mutant.code) for mutant in chosen]
    indexes = [index for index, one in enumerate(bodies) if one]
    result = log.with_suffix(".json")
    result.write_text("[]", encoding="utf-8")

    def work() -> int:
        quick = _Quick([one for one in bodies if one], limit, name)
        status = _run_tests(MODULES[name], quick=quick)
        result.write_text(json.dumps(quick.statuses), encoding="utf-8")
        return status

    if not indexes or _child(work, 360_000, log) is None:
        return set()
    unchanged, *statuses = json.loads(result.read_text(encoding="utf-8"))
    if unchanged != 0 or len(statuses) < len(indexes):
        raise SystemExit(f"the tests fail without a mutant:\n{log.read_text()}")
    return {index for index, status in zip(indexes, statuses, strict=True) if status != 0}


def test_module(name: str, choice: Choice) -> tuple[int, int]:
    """Test a module's mutants in the copy; return their number and how many survived."""
    path = Path(name)
    source = path.read_text(encoding="utf-8")
    found = mutants(source)
    chosen = choice.of(found)
    log = Path("mutation.log")
    seconds = _prepare(MODULES[name], _module_name(name), log)
    limit = math.ceil(2.0 + 3.0 * seconds)
    print(f"{name}: {len(chosen)} of {len(found)} mutants, tests {seconds:.1f} s", flush=True)
    killed = _killed_quickly(name, chosen, limit, log)
    print(f"    {len(killed)} killed by exchanging function bodies", flush=True)
    # Python would mistake a mutant with the same mtime and size for the original module.
    with contextlib.suppress(OSError):
        os.unlink(importlib.util.cache_from_source(name))
    survived = slow = 0
    try:
        for index, mutant in enumerate(chosen):
            if index in killed:
                continue
            path.write_text(mutant.code, encoding="utf-8")
            status = _forked(MODULES[name], log, limit)
            if status is None:
                slow += 1
            elif status == 0:
                survived += 1
                print(_diff(source, mutant, name), flush=True)
    finally:
        path.write_text(source, encoding="utf-8")
    if slow:
        print(f"    {slow} of the killed did not end", flush=True)
    return len(chosen), survived


def _test_in_process(name: str, choice: Choice) -> tuple[str, int, int]:
    """Test a module in its own process, because the tests of other modules import other code."""
    result = Path("mutation-result.json")
    result.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            sys.dont_write_bytecode = True
            result.write_text(json.dumps(test_module(name, choice)), encoding="utf-8")
            status = 0
        except SystemExit as error:
            print(f"{name}: {error}", flush=True)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit(2)
    made, survived = json.loads(result.read_text(encoding="utf-8"))
    return name, made, made - survived


def _in_copy(names: Sequence[str], choice: Choice) -> int:
    rows = [_test_in_process(name, choice) for name in names]
    print(f"\n{'module':44} {'mutants':>8} {'killed':>8} {'survived':>9} {'score':>6}")
    for name, made, killed in rows:
        print(f"{name:44} {made:8} {killed:8} {made - killed:9} {killed / max(made, 1):6.0%}")
    return int(any(killed < THRESHOLD * made for _name, made, killed in rows))


# --- the command ------------------------------------------------------------------------------


def _copy(folder: Path) -> Path:
    copy = folder / "project"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "node_modules")
    shutil.copytree(PROJECT, copy, ignore=ignored, symlinks=True)
    for part in ("crowdstream", "tests"):
        compileall.compile_dir(copy / part, quiet=1)
    return copy


def _chosen(words: Sequence[str]) -> list[str]:
    """Return the modules whose paths contain any of the words."""
    names = [name for name in MODULES if not words or any(word in name for word in words)]
    missing = [word for word in words if not any(word in name for name in MODULES)]
    if missing:
        raise SystemExit(f"no module of the table is called {missing[0]}; --list shows them all")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -P -m contrib.mutation", description="Mutation testing of single modules."
    )
    parser.add_argument("modules", nargs="*", metavar="module", help="parts of paths (all modules)")
    parser.add_argument("--list", action="store_true", help="show the modules and their tests")
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="test only N mutants per module (0: all)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the choice with --limit (1)")
    parser.add_argument(
        "--line", type=int, action="append", default=[], metavar="N",
        help="only the mutants of this line; may be given more than once",
    )  # fmt: skip
    parser.add_argument("--in-copy", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    names = _chosen(given.modules)
    if given.list:
        for name in names:
            print(f"{name}: {' '.join(MODULES[name])}")
        return 0
    if given.in_copy:
        return _in_copy(names, Choice(given.limit, given.seed, tuple(given.line)))
    if importlib.util.find_spec("cosmic_ray") is None:
        print("cosmic-ray is missing: pip install -r contrib/mutation-requirements.txt")
        return 2
    with tempfile.TemporaryDirectory(
        prefix="crowdstream-mutation-", ignore_cleanup_errors=True
    ) as folder:
        copy = _copy(Path(folder))
        kernels, home = Path(folder) / "kernels", Path(folder) / "home"
        kernels.mkdir(mode=0o700)
        home.mkdir(mode=0o700)
        # A mutant may write anywhere, so it gets a home folder other than the user's.
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
            "PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": str(kernels), "HOME": str(home),
            "TMPDIR": folder, "OPENBLAS_NUM_THREADS": "1", "CROWDSTREAM_TEST_PATIENCE": "15",
        }  # fmt: skip
        command = [
            sys.executable, "-P", "-m", "contrib.mutation", "--in-copy",
            *(sys.argv[1:] if arguments is None else arguments),
        ]  # fmt: skip
        return subprocess.run(command, cwd=copy, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
