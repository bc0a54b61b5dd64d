"""What ends again and again is started ever more rarely."""

from __future__ import annotations

from crowdstream.system.restart_policy import RestartPolicy


def test_pauses_double_up_to_the_longest() -> None:
    policy = RestartPolicy(0.5, 3.0)
    assert [policy.pause() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_the_first_start_of_a_row_may_come_at_once() -> None:
    policy = RestartPolicy(0.1, 0.3, at_once=True)
    assert [policy.pause() for _ in range(5)] == [0.0, 0.1, 0.2, 0.3, 0.3]
    policy.reset()
    assert [policy.pause() for _ in range(2)] == [0.0, 0.1]


def test_what_has_lasted_ends_for_the_first_time() -> None:
    policy = RestartPolicy(0.5, 30.0, settled=10.0)
    assert [policy.pause(1.0), policy.pause(10.0), policy.pause(0.0)] == [0.5, 1.0, 2.0]
    assert [policy.pause(10.5), policy.pause(1.0)] == [0.5, 1.0]


def test_without_a_time_to_settle_only_a_reset_begins_anew() -> None:
    policy = RestartPolicy(0.5, 30.0)
    assert [policy.pause(1e9), policy.pause(1e9)] == [0.5, 1.0]
    policy.reset()
    assert policy.next_pause == 0.5 == policy.pause()


def test_what_comes_next_can_be_looked_at() -> None:
    policy = RestartPolicy(1.0, 4.0)
    assert policy.next_pause == policy.next_pause == 1.0
    policy.pause()
    assert policy.next_pause == 2.0
