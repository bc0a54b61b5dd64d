"""The shell commands of the documentation, extracted and combined into scripts.

Commands are in blocks of `sh`. A comment before a block determines how it is run:
    <!-- not run: REASON -->     it is not run, for this reason
    <!-- runs until: TEXT -->    it keeps running; the rest of the page follows once it prints TEXT
    <!-- exit: 0 3 -->           it may exit with one of these statuses
    <!-- server -->              it needs a running server

    unshare -rn python -m tests.support.documented_commands <script>

runs a script in its own network namespace, so that the documented ports are free.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.network_namespace import set_up

_BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>not run|runs until|exit|server)(?:: (?P<value>[^\n]+?))? -->\n)?"
    r"^(?P<indent> *)```sh\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)

_BEGIN = """\
set -e -m
pids=()
end() {
    status=$?
    trap - EXIT
    for pid in ${pids[@]+"${pids[@]}"}; do kill -TERM -- "-$pid" || true; done
    wait || true
    exit "$status"
}
trap end EXIT
beside() { # where it writes, the text that it prints when it runs
    pids+=($!)
    until grep -qF -- "$2" "$1"; do
        kill -0 "$!" || { cat "$1"; exit 1; }
        sleep 0.2
    done
}
"""
SERVER = "./start-crowdstream.sh"
READY = "page on"


@dataclass(frozen=True)
class Block:
    """The commands of one block. `kind`: its marker, or empty; `value`: the marker's argument."""

    page: str
    line: int
    kind: str
    value: str
    code: str

    @property
    def is_run(self) -> bool:
        """Whether the block is run at all."""
        return self.kind != "not run"


def blocks(path: Path, name: str) -> list[Block]:
    """Return all blocks of shell commands of a page."""
    text = path.read_text(encoding="utf-8")
    found = []
    for one in _BLOCK.finditer(text):
        line = text.count("\n", 0, one.start("code")) + 1
        found.append(Block(name, line, one["kind"] or "", one["value"] or "", one["code"]))
    return found


def script(found: Iterable[Block], folder: Path) -> str:
    """Return a bash script that runs the blocks in order and stops at the first failure."""
    parts = [_BEGIN]
    serving = False
    for number, block in enumerate(found):
        log = f"'{folder / f'{number}.log'}'"
        parts.append(f"echo '== {block.page}, line {block.line}'\n")
        if block.kind == "server" and not serving:
            server_log = f"'{folder / 'server.log'}'"
            parts.append(f"{SERVER} >{server_log} 2>&1 &\nbeside {server_log} '{READY}'\n")
            serving = True
        if block.kind == "runs until":
            parts.append(f"(\n{block.code}) >{log} 2>&1 &\nbeside {log} '{block.value}'\n")
            serving = True
        elif block.kind == "exit":
            parts.append(
                f"status=0\n(\n{block.code}) || status=$?\n"
                f"case ' {block.value} ' in *\" $status \"*) ;; *) exit 1 ;; esac\n"
            )
        else:
            parts.append(block.code)
    return "".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Set up the network and execute the script."""
    set_up()
    os.execvp("bash", ["bash", arguments[0]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
