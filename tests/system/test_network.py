"""Other machines, by real sockets: who is heard, what is answered, and whom a flood shuts out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from crowdstream.control.replies import MAX_AMPLIFICATION, NO_SUBSCRIPTION, TOO_LONG_REPLY
from crowdstream.osc.fair_queue import STRANGER_LIMIT
from tests.support.environment import PROJECT, child_environment
from tests.support.network_namespace import FLOOD, FLOOD_AT_ONCE, STRANGER

SECONDS = 500.0  # the kernels may have to be compiled first
TURNS = FLOOD // FLOOD_AT_ONCE


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.support.network_namespace` saw in a network namespace of its own."""
    command = ["unshare", "-rn", sys.executable, "-P", "-m", "tests.support.network_namespace"]
    with subprocess.Popen(
        [*command, str(tmp_path_factory.mktemp("network"))], cwd=PROJECT, text=True,
        env=child_environment(), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, error = process.communicate(timeout=SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # the servers, too
            raise
    assert process.returncode == 0, (
        "network namespaces are needed (unshare -rn, of util-linux; where user namespaces are "
        f"switched off, run this as root):\n{out}\n{error}"
    )
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def test_an_address_on_the_list_is_heard_and_another_is_not(seen: dict[str, Any]) -> None:
    found = seen["list"]
    [answer] = found["friend"]["said"]
    assert answer[0] == "/status.reply"
    assert found["stranger"]["said"] == []
    assert found["barred"] == 1
    assert found["level"] == 1.0, "what a barred sender orders is not done"
    assert f"a packet from {STRANGER} was dropped" in found["log"]
    assert found["log"].count("was dropped") == 1


def test_a_flood_of_a_barred_sender_shuts_nobody_out(seen: dict[str, Any]) -> None:
    found = seen["list"]
    status = found["status"]
    # The system drops what comes faster than it is read, of whomever.
    assert FLOOD + 1 - status["dropped"] <= status["barred"] <= FLOOD + 1
    assert found["answered"] >= TURNS - status["dropped"]
    assert status["refused_packets"] == 0


def test_strangers_get_short_answers_and_this_machine_whole_ones(seen: dict[str, Any]) -> None:
    found = seen["open"]
    for name in ("mapped", "six"):
        for question, answer in found[name].items():
            assert answer["got"] <= MAX_AMPLIFICATION * answer["sent"], question
        assert found[name]["/status"]["said"] == [["/fail", "/status", TOO_LONG_REPLY]]
        assert found[name]["/notify"]["said"] == [["/fail", "/notify", NO_SUBSCRIPTION]]
        assert found[name]["/version"]["said"][0][0] == "/version.reply"
    for name in ("local", "local_six"):
        assert found[name]["/status"]["said"][0][0] == "/status.reply"
        assert found[name]["/notify"]["said"][0][0] == "/done"
    assert "listening on :: without --osc-allow" in found["log"]


def test_a_flood_of_a_stranger_is_limited_and_the_sequencer_is_heard(
    seen: dict[str, Any],
) -> None:
    found = seen["open"]
    status = found["status"]
    assert found["answered"] >= TURNS - status["dropped"]
    # What a stranger may send, for as long as the flood took.
    allowed = STRANGER_LIMIT.burst + STRANGER_LIMIT.rate * found["flood_seconds"]
    assert status["limited"] > 0
    assert status["limited"] >= FLOOD - status["dropped"] - allowed
    assert f" {STRANGER} port " in found["log"]
    assert "exceeds the rate limit of strangers" in found["log"]
