"""A process that keeps failing is restarted with back-off."""

from __future__ import annotations

from crowdstream.system.restart_policy import RestartPolicy


def test_delays_double_up_to_the_maximum() -> None:
    policy = RestartPolicy(0.5, 3.0)
    assert [policy.next_delay() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_first_restart_in_a_row_may_be_immediate() -> None:
    policy = RestartPolicy(0.1, 0.3, at_once=True)
    assert [policy.next_delay() for _ in range(5)] == [0.0, 0.1, 0.2, 0.3, 0.3]
    policy.reset()
    assert [policy.next_delay() for _ in range(2)] == [0.0, 0.1]


def test_a_settled_process_resets_the_delay() -> None:
    policy = RestartPolicy(0.5, 30.0, settled=10.0)
    assert [policy.next_delay(1.0), policy.next_delay(10.0), policy.next_delay(0.0)] == [
        0.5,
        1.0,
        2.0,
    ]
    assert [policy.next_delay(10.5), policy.next_delay(1.0)] == [0.5, 1.0]


def test_without_a_settling_time_only_a_reset_restores_the_delay() -> None:
    policy = RestartPolicy(0.5, 30.0)
    assert [policy.next_delay(1e9), policy.next_delay(1e9)] == [0.5, 1.0]
    policy.reset()
    assert policy.current_delay == 0.5 == policy.next_delay()


def test_the_next_delay_can_be_read() -> None:
    policy = RestartPolicy(1.0, 4.0)
    assert policy.current_delay == policy.current_delay == 1.0
    policy.next_delay()
    assert policy.current_delay == 2.0
