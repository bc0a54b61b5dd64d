"""Processes that hold a port, and free ports."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from crowdstream.system.port_holders import free_port, in_use_by, is_free, port_holders

HEADING = "  sl  local_address rem_address   st ...\n"
ROW = "   1: 0100007F:{:04X} 00000000:0000 {} 00000000:00000000 00:00000000 0000 0 0 {} 2 0 0\n"


def test_a_listener_is_found_and_a_client_of_its_port_is_not(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    rows = HEADING + ROW.format(8080, "01", 1) + ROW.format(8080, "0A", 2)
    (tmp_path / "proc/net/tcp").write_text(rows)
    for number, inode, command in ((11, 1, "browser"), (12, 2, "python\0-m\0http.server\0")):
        folder = tmp_path / f"proc/{number}/fd"
        folder.mkdir(parents=True)
        (folder / "3").symlink_to(f"socket:[{inode}]")
        (folder.parent / "cmdline").write_text(command)
    assert port_holders("tcp", 8080, tmp_path) == ["process 12 (python -m http.server)"]
    assert port_holders("udp", 8080, tmp_path) == []
    assert port_holders("tcp", 8081, tmp_path) == []


def test_this_process_is_found_by_its_sockets() -> None:
    for kind, way in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)):
        number = free_port(kind)
        assert is_free(kind, "127.0.0.1", number)
        with socket.socket(socket.AF_INET, way) as taken:
            taken.bind(("127.0.0.1", number))
            if kind == "tcp":
                taken.listen()
            assert not is_free(kind, "127.0.0.1", number)
            assert f"process {os.getpid()} (" in in_use_by(kind, number)
        assert is_free(kind, "127.0.0.1", number)
        assert port_holders(kind, number) == []
    assert not is_free("udp", "192.0.2.1", 0), "no address of this machine"
    assert not is_free("udp", "127.0.0.1", 65536)
