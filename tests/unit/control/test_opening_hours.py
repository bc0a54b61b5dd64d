"""Following a schedule: requests to the DJ, fade-in, announcements, clocks that jump."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from crowdstream.control.dispatcher import Dispatcher
from crowdstream.control.opening_hours import CREDIBLE
from crowdstream.desk.ramps import RAMP_HOUSE
from crowdstream.settings import SettingError
from tests.support.offline_server import Rig, level, write
from tests.unit.control.state.test_snapshotter import RestartableRig

RATE = 8000
BERLIN = ZoneInfo("Europe/Berlin")
DJ = ("127.0.0.1", 50123)
FRIDAY = "2026-06-05"
TEXT = """
zone = "Europe/Berlin"
[[opening]]
days = ["fri"]
open = "20:00"
close = "03:00"
fade_in = 0.5
energy = [["20:00", 0.2], ["22:00", 0.8]]
  [[opening.part]]
  from = "21:00"
  folders = ["/club"]
[[announcement]]
days = ["fri"]
at = "22:30"
file = "words.wav"
"""


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


class Venue(RestartableRig):
    """A server with a schedule, and a wall clock that tests set."""

    def __init__(self, folder: Path, text: str, wall: float, **options: Any) -> None:
        (folder / "schedule.toml").write_text(text)
        write(folder / "words.wav", level(0.5, 0.5, RATE), RATE)
        write(folder / "music.wav", level(30, 0.25, RATE), RATE)
        self._ahead = 0.0
        super().__init__(rate=RATE, schedule=folder / "schedule.toml", **options)
        self.set_wall(wall)
        self.send("/notify", 1)

    def set_wall(self, wall: float) -> None:
        """Set the wall clock, as a network time service does."""
        self._ahead += wall - self.core.clock.wall()
        own = self.core.clock.wall
        if not hasattr(self, "_own_wall"):
            self._own_wall = own
        self.core.clock.wall = lambda: self._own_wall() + self._ahead

    def restart_control(self) -> None:
        super().restart_control()
        self._own_wall = self.core.clock.wall
        self.core.clock.wall = lambda: self._own_wall() + self._ahead

    def register_dj(self) -> None:
        self.send("/dj/register", "begin", sender=DJ)

    def sent_to_dj(self) -> list[tuple[Any, ...]]:
        """What was sent to the DJ, without the numbers of the requests."""
        return [
            values[1:] for sender, address, values in self.answers.said
            if sender == DJ and address == "/dj/do"
        ]


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    with Venue(tmp_path, TEXT, moment(f"{FRIDAY} 19:59:50")) as made:
        made.seconds(2)
        yield made


def test_the_dj_opens_and_closes_with_the_schedule(venue: Venue) -> None:
    venue.register_dj()
    venue.seconds(2)
    assert venue.sent_to_dj() == [("folders",), ("hours", 0)]
    assert venue.status()["open"] == 0
    for _ in range(5):
        venue.send("/dj/register", "on", sender=DJ)
        venue.seconds(2)
    assert venue.sent_to_dj()[2:] == [("energy", pytest.approx(0.2)), ("hours", 1)]
    assert venue.heard("/schedule") == [("closed",), ("open",)]
    assert venue.status()["open"] == 1
    venue.set_wall(moment(f"{FRIDAY} 21:00:30"))
    venue.seconds(3)
    assert ("folders", "/club") in venue.sent_to_dj()
    venue.set_wall(moment("2026-06-06 02:59:59"))
    venue.seconds(3)
    assert venue.sent_to_dj()[-1] == ("hours", 0)


def test_a_dj_that_registers_later_receives_everything_again(venue: Venue) -> None:
    venue.set_wall(moment(f"{FRIDAY} 21:00:30"))
    venue.register_dj()
    venue.seconds(2)
    first = venue.sent_to_dj()
    assert first == [("folders", "/club"), ("energy", pytest.approx(0.5, abs=0.01)), ("hours", 1)]
    venue.send("/dj/register", "end", sender=DJ)
    venue.seconds(2)
    venue.register_dj()
    venue.seconds(2)
    assert [values[0] for values in venue.sent_to_dj()] == ["folders", "energy", "hours"] * 2


def test_a_dj_that_replaces_another_receives_everything(venue: Venue) -> None:
    venue.set_wall(moment(f"{FRIDAY} 21:00:30"))
    venue.send("/dj/register", "begin", sender=("127.0.0.1", 50122))  # it crashes
    venue.seconds(2)
    venue.register_dj()
    venue.seconds(2)
    assert [values[0] for values in venue.sent_to_dj()] == ["folders", "energy", "hours"]


def test_the_dj_receives_the_tags_of_a_part_and_loses_them_after_it(tmp_path: Path) -> None:
    text = TEXT.replace('folders = ["/club"]', 'tags = ["House", "disco"]')
    assert text != TEXT
    with Venue(tmp_path, text, moment(f"{FRIDAY} 20:59:00")) as venue:
        venue.register_dj()
        venue.seconds(2)
        assert "tags" not in [values[0] for values in venue.sent_to_dj()]
        venue.set_wall(moment(f"{FRIDAY} 21:00:30"))
        venue.seconds(3)
        assert ("tags", "House", "disco") in venue.sent_to_dj()
        assert venue.core.opening_hours.value()["tags"] == ["House", "disco"]
        venue.set_wall(moment("2026-06-06 12:00:00"))
        venue.seconds(3)
        assert venue.sent_to_dj()[-1] == ("hours", 0) and ("tags",) in venue.sent_to_dj()


def test_a_dj_that_did_not_close_is_asked_again(venue: Venue) -> None:
    venue.register_dj()
    venue.seconds(2)
    assert venue.sent_to_dj().count(("hours", 0)) == 1
    venue.set_wall(moment(f"{FRIDAY} 12:00:00"))
    for closed, seconds, times in ((0, 8, 1), (0, 6, 2), (1, 20, 2)):
        for _ in range(seconds // 2):
            venue.send("/dj/state", 1, 1, f'{{"closed": {closed}}}', sender=DJ)
            venue.seconds(2)
        assert venue.sent_to_dj().count(("hours", 0)) == times


def test_the_energy_follows_in_small_steps(venue: Venue) -> None:
    venue.set_wall(moment(f"{FRIDAY} 20:00:01"))
    venue.register_dj()
    for minutes in range(1, 120):
        venue.set_wall(moment(f"{FRIDAY} 20:00:00") + 60 * minutes)
        venue.seconds(1.1)
        venue.send("/dj/register", "on", sender=DJ)
    energies = [values[0] for word, *values in venue.sent_to_dj() if word == "energy"]
    assert energies == sorted(energies)
    assert energies[0] == pytest.approx(0.2, abs=0.02)
    assert energies[-1] == pytest.approx(0.8, abs=0.03)
    assert 20 <= len(energies) <= 32


def energies(venue: Venue) -> list[Any]:
    return [values[0] for word, *values in venue.sent_to_dj() if word == "energy"]


def test_a_persons_energy_holds_until_the_next_part(venue: Venue) -> None:
    venue.set_wall(moment(f"{FRIDAY} 20:10:00"))
    venue.register_dj()
    venue.seconds(2)
    venue.send("/dj/energy", 0.95)
    assert energies(venue)[1:] == [pytest.approx(0.95)]
    for minutes in range(20, 59, 5):  # the schedule's energy rises by 0.2 meanwhile
        venue.set_wall(moment(f"{FRIDAY} 20:{minutes}:00"))
        venue.send("/dj/register", "on", sender=DJ)
        venue.seconds(1.1)
    venue.restart_control()
    venue.seconds(2)
    assert len(energies(venue)) == 2
    assert venue.core.opening_hours.value()["energy_held"] == 1
    venue.set_wall(moment(f"{FRIDAY} 21:00:00"))
    venue.send("/dj/register", "on", sender=DJ)
    venue.seconds(1.1)
    assert energies(venue)[2:] == [pytest.approx(0.5, abs=0.01)]
    assert venue.core.opening_hours.value()["energy_held"] == 0


def test_auto_gives_the_energy_back_to_the_schedule(venue: Venue) -> None:
    venue.set_wall(moment(f"{FRIDAY} 21:00:00"))
    venue.register_dj()
    venue.seconds(2)
    venue.send("/dj/energy", 0.95)
    venue.seconds(2)
    venue.send("/dj/energy", "auto")
    venue.seconds(2)
    assert energies(venue) == [
        pytest.approx(0.5, abs=0.01), pytest.approx(0.95), "auto", pytest.approx(0.5, abs=0.01),
    ]  # fmt: skip
    # An energy that the DJ never received holds nothing.
    venue.send("/dj/register", "end", sender=DJ)
    venue.send("/dj/energy", 0.1)
    assert venue.core.opening_hours.value()["energy_held"] == 0


def test_the_first_track_of_an_evening_fades_in_from_silence(
    venue: Venue, tmp_path: Path
) -> None:
    venue.send("/deck/A/load", str(tmp_path / "music.wav"))
    venue.seconds(12)
    assert venue.status()["open"] == 1
    begin = len(venue.out)
    venue.send("/deck/A/play")
    venue.seconds(2.5)
    out = venue.out[begin:, 0]
    assert np.abs(np.diff(out)).max() <= 1.05 * 0.25 / (0.5 * RATE)
    assert out[-1] == 0.25
    silent = int(np.flatnonzero(out > 0.0)[0])
    full = int(np.flatnonzero(out >= 0.25)[0])
    assert full - silent == pytest.approx(0.5 * RATE, abs=3)


def test_an_open_input_plays_on_at_the_opening_without_a_dj(tmp_path: Path) -> None:
    band = write(tmp_path / "band.wav", level(60, 0.25, RATE), RATE)
    with Venue(tmp_path, TEXT, moment(f"{FRIDAY} 19:59:50"), inputs=[band]) as venue:
        venue.start_inputs(venue.desk.frame)
        venue.seconds(8)
        assert venue.status()["open"] == 0 and venue.out[-1, 0] == pytest.approx(0.25, abs=0.01)
        begin = len(venue.out)
        venue.seconds(8)
        assert venue.status()["open"] == 1
        assert np.abs(venue.out[begin:, 0] - 0.25).max() < 0.01


def test_a_fade_in_that_has_not_begun_ends_with_the_opening(
    venue: Venue, tmp_path: Path
) -> None:
    venue.seconds(10)
    assert venue.core.deck_manager.target(RAMP_HOUSE) == 0.0, "open, and nothing plays"
    venue.send("/schedule/override", "closed")
    venue.seconds(2)
    venue.send("/deck/A/load", str(tmp_path / "music.wav"))
    venue.seconds(0.5)
    venue.send("/deck/A/play")
    venue.seconds(1)
    assert np.abs(venue.out[-RATE // 2 :]).max() == pytest.approx(0.25, abs=0.01)


def test_music_that_is_playing_already_is_not_faded(venue: Venue, tmp_path: Path) -> None:
    venue.send("/deck/A/load", str(tmp_path / "music.wav"))
    venue.seconds(1)
    venue.send("/deck/A/play")
    venue.seconds(0.5)
    begin = len(venue.out)
    venue.seconds(10)
    assert venue.status()["open"] == 1
    assert np.all(venue.out[begin:, 0] == 0.25)


def test_an_announcement_is_made_at_its_time_and_once(venue: Venue) -> None:
    venue.set_wall(moment(f"{FRIDAY} 22:29:50"))
    venue.seconds(14)
    heard = [state for _number, state, _name in venue.heard("/announcement")]
    assert heard == ["waiting", "playing", "ended"]
    # The clock is set back by a minute: the announcement is not made again.
    venue.set_wall(moment(f"{FRIDAY} 22:29:30"))
    venue.seconds(3)
    venue.set_wall(moment(f"{FRIDAY} 22:40:00"))
    venue.seconds(3)
    assert len(venue.heard("/announcement")) == 3


def test_an_announcement_whose_time_comes_again_is_not_repeated(venue: Venue) -> None:
    venue.set_wall(moment(f"{FRIDAY} 22:29:58"))
    venue.seconds(6)
    # By an hour, and by less than counts as a jump; also after a restart of control.
    for wall in (f"{FRIDAY} 22:29:50", f"{FRIDAY} 22:29:57"):
        venue.set_wall(moment(wall))
        venue.seconds(2)
        venue.restart_control()
        venue.seconds(14)
    heard = [state for _number, state, _name in venue.heard("/announcement")]
    assert heard == ["waiting", "playing", "ended"]
    # The same announcement of the next week is another one.
    venue.set_wall(moment("2026-06-12 22:29:58"))
    venue.seconds(6)
    assert len(venue.heard("/announcement")) == 6


def test_an_announcement_that_is_due_while_control_is_down_is_made_up_for(venue: Venue) -> None:
    venue.set_wall(moment(f"{FRIDAY} 22:29:57"))
    venue.seconds(2.1)
    # Control hangs and is replaced: for some seconds nobody looks at the clock.
    venue.time += 4.0
    venue.restart_control()
    venue.seconds(6)
    heard = [state for _number, state, _name in venue.heard("/announcement")]
    assert heard == ["waiting", "playing", "ended"]


def test_a_missing_announcement_is_logged_and_changes_nothing(
    venue: Venue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "words.wav").unlink()
    venue.set_wall(moment(f"{FRIDAY} 22:29:58"))
    venue.seconds(4)
    assert "no announcement at 22:30:00" in caplog.text
    assert venue.core.announcer.waiting() == []


def test_until_the_time_is_known_the_music_plays_at_the_lowest_limits(tmp_path: Path) -> None:
    text = TEXT + '[[loudness]]\nfrom = "22:00"\nto = "06:00"\nshort_term = -20\n'
    with Venue(tmp_path, text, 1_000.0) as venue:  # the beginning of 1970
        venue.register_dj()
        venue.seconds(2)
        assert venue.sent_to_dj() == [("folders",), ("hours", 1)]
        assert venue.core.opening_hours.value()["known"] == 0
        assert venue.core.opening_hours.value()["short_term"] == -20.0
        # The network is there: the clock jumps by 56 years, to a Tuesday.
        venue.set_wall(moment("2026-06-02 12:00:00"))
        venue.seconds(2)
        assert venue.sent_to_dj()[-1] == ("hours", 0)
        assert venue.core.opening_hours.value()["short_term"] is None
        assert venue.heard("/announcement") == []
        change = venue.core.opening_hours.value()
        assert (change["next"], change["opens"]) == (moment(f"{FRIDAY} 20:00:00"), 1)
    assert moment("2026-01-02 00:00:00") > CREDIBLE


def test_an_override_holds_until_the_next_change(venue: Venue) -> None:
    venue.register_dj()
    venue.send("/schedule/override", "open")
    venue.seconds(2)
    assert venue.sent_to_dj()[-1] == ("hours", 1)
    venue.seconds(10)  # 20:00 has passed: the schedule opens as well
    venue.send("/schedule/override", "closed")
    venue.seconds(1.5)
    venue.send("/schedule/status")
    is_open, overridden, known, opens, seconds = venue.heard("/schedule/status.reply")[-1]
    assert (is_open, overridden, known, opens) == (0, 1, 1, 0)
    assert seconds == pytest.approx(7 * 3600, abs=10)
    venue.set_wall(moment("2026-06-06 03:00:01"))
    venue.seconds(2)
    venue.set_wall(moment("2026-06-12 20:00:01"))
    venue.seconds(2)
    assert venue.status()["open"] == 1
    venue.send("/schedule/override", "closed")
    venue.send("/schedule/override", "auto")
    venue.seconds(2)
    assert venue.status()["open"] == 1


def test_an_override_survives_a_crash_of_control(venue: Venue) -> None:
    venue.send("/schedule/override", "open")
    venue.seconds(2)
    venue.restart_control()
    venue.seconds(2)
    assert venue.status()["open"] == 1
    assert venue.core.opening_hours.value()["override"] == 1


def test_another_control_plays_on_without_a_schedule_that_has_become_invalid(
    tmp_path: Path, venue: Venue
) -> None:
    venue.restart_control()
    assert venue.core.unread == [] and venue.core.opening_hours.schedule is not None
    (tmp_path / "schedule.toml").write_text("[[opening]")  # it is being edited
    venue.restart_control()
    assert venue.core.opening_hours.schedule is None
    (text,) = venue.core.unread
    assert "schedule.toml" in text and "plays on without it" in text
    venue.seconds(2)
    with pytest.raises(SettingError, match="schedule"):
        Dispatcher(
            venue.core.settings, venue.desk, venue, venue.requests.append, venue.core.info,
            venue.core.processes,
        )


def test_reload_reads_the_file_again_and_keeps_the_schedule_if_it_is_wrong(
    venue: Venue, tmp_path: Path
) -> None:
    (tmp_path / "schedule.toml").write_text("[[opening]")
    venue.send("/schedule/reload")
    assert "schedule.toml" in venue.fails()[0]
    venue.seconds(12)
    assert venue.status()["open"] == 1
    (tmp_path / "schedule.toml").write_text("")
    venue.send("/schedule/reload")
    venue.seconds(2)
    assert venue.status()["open"] == 0


def test_without_a_schedule_the_commands_say_so(rig: Rig) -> None:
    for address, *arguments in (
        ("/schedule/status",), ("/schedule/override", "open"), ("/schedule/reload",),
    ):
        rig.send(address, *arguments)
    assert len(rig.fails()) == 3
    assert all("there is no schedule" in reason for reason in rig.fails())
    assert rig.status()["open"] == -1


def test_a_server_with_an_invalid_schedule_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "schedule.toml").write_text("[[opening]]")
    with pytest.raises(SettingError, match=r"schedule: .*opening 1: open is missing"):
        Rig(schedule=tmp_path / "schedule.toml")


def test_a_loudness_limit_is_held_and_released(tmp_path: Path) -> None:
    text = 'zone = "UTC"\n[[loudness]]\nfrom = "00:00"\nto = "12:00"\nshort_term = -30\n'
    time = np.arange(60 * RATE) / RATE
    tone = (0.25 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)  # about -12 LUFS
    with Venue(tmp_path, text, 1_780_000_000.0 // 86400 * 86400 + 3600) as venue:
        write(tmp_path / "tone.wav", np.stack([tone, tone], axis=1), RATE)
        venue.send("/deck/A/load", str(tmp_path / "tone.wav"))
        venue.seconds(1)
        venue.send("/deck/A/play")
        venue.seconds(8)
        assert venue.status()["loudness_short_term"] == pytest.approx(-30.0, abs=0.3)
        assert float(venue.desk.ramps["value"][RAMP_HOUSE]) < 0.2
        steps = np.abs(np.diff(venue.out[:, 0]))
        assert steps.max() <= 1.02 * 0.25 * 2 * np.pi * 1000 / RATE
        venue.set_wall(1_780_000_000.0 // 86400 * 86400 + 13 * 3600)
        venue.seconds(4)
        assert float(venue.desk.ramps["value"][RAMP_HOUSE]) == 1.0
