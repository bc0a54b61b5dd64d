"""The targets with inputs from hypothesis: few examples, which it shrinks when one fails."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import change
from tests.fuzz.registry import Fault, load

ROUNDS = {
    "osc": 2000, "settings": 300, "sets": 800, "grids": 400, "tags": 1000, "audio": 500,
    "sizes": 30,
}  # fmt: skip


@settings(max_examples=250)
@given(st.binary(max_size=600))
def test_any_bytes_are_parsed_as_a_packet_or_refused(data: bytes) -> None:
    load("osc").run(data)


@settings(max_examples=250)
@given(st.binary(max_size=600))
def test_bundles_of_any_shape_are_parsed_or_refused(data: bytes) -> None:
    load("bundles").run(data)


@settings(max_examples=25)
@given(st.binary(min_size=100, max_size=1200))
def test_any_commands_in_any_order_keep_the_invariants(data: bytes) -> None:
    load("commands").run(data)


@settings(max_examples=18)
@given(st.integers(0, 2**32), st.integers(300, 1500))
def test_long_sessions_of_random_commands_keep_the_invariants(seed: int, length: int) -> None:
    load("commands").run(random.Random(seed).randbytes(length))


@settings(max_examples=20)
@given(st.binary(max_size=120))
def test_writers_stopped_and_killed_at_any_point_leave_the_rings_intact(data: bytes) -> None:
    load("rings").run(data)


@pytest.mark.parametrize("name", ROUNDS)
def test_mutated_inputs_cause_no_fault(name: str) -> None:
    target = load(name)
    inputs = [*target.seeds(), *target.corpus().values()]
    choose = random.Random(7)
    for number in range(ROUNDS[name]):
        data = change(inputs[number % len(inputs)], inputs, choose, target.longest)
        try:
            target.run(data)
        except Fault as error:
            raise AssertionError(f"{name}: {data!r}") from error
