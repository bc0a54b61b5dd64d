"""Programs that the fleet runs on behalf of servers."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from crowdstream.fleet.distribute import distribute
from crowdstream.fleet.fleet import Fleet
from crowdstream.fleet.programs import run_program
from tests.support.fake_member import fake_members

COPY = (sys.executable, "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])", "{source}",
        "{target}")  # fmt: skip


def test_programs_report_status_and_last_line() -> None:
    async def scene() -> None:
        code = "import sys; print('one'); print('\\x1b[2Jtwo', file=sys.stderr); sys.exit(3)"
        result = await run_program([sys.executable, "-c", code])
        assert result.status == 3 and result.text.isprintable() and result.text.endswith("two")
        assert (await run_program(["/no/such/program"])).status == 127
        slow = await run_program([sys.executable, "-c", "import time; time.sleep(600)"], 0.2)
        assert slow.status == 124 and "did not end" in slow.text

    asyncio.run(scene())


def test_a_program_copies_where_no_folder_is_shared(tmp_path: Path) -> None:
    async def scene() -> None:
        async with fake_members(0.0, 0.0) as fakes:
            target = {"settings": str(tmp_path / "copied")}
            missing = {"settings": str(tmp_path / "none" / "copied")}
            members = [fakes[0].member("main", targets=target, copy=COPY),
                       fakes[1].member("other", targets=missing, copy=COPY)]  # fmt: skip
            async with Fleet(members) as fleet:
                await fleet.contact(60.0)
                source = tmp_path / "new; rm -rf.toml"
                source.write_text("a = 1\n")
                main, other = await distribute(fleet.servers, "settings", source)
                assert main.ok and main.text == "applied: limiter_ceiling"
                assert not other.ok and "failed (1)" in other.text and not fakes[1].received
                assert (tmp_path / "copied").read_text() == "a = 1\n"

    asyncio.run(scene())
