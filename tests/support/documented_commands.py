"""The shell commands of the documentation: found, and put together into scripts.

A command stands in a block of `sh`. A comment before the block says how it is run:

    <!-- not run: REASON -->     it is not run, for this reason
    <!-- runs until: TEXT -->    it stays: it is run beside the rest of the page once it prints TEXT
    <!-- exit: 0 3 -->           it may end with one of these statuses
    <!-- server -->              a server has to run

    unshare -rn python -m tests.support.documented_commands <script>

runs a script in a network of its own, so that the ports that the documentation names are free.
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
    """The commands of one block. `kind`: its mark, or empty; `value`: what the mark says."""

    page: str
    line: int
    kind: str
    value: str
    code: str

    @property
    def is_run(self) -> bool:
        """Whether it is run at all."""
        return self.kind != "not run"


def blocks(path: Path, name: str) -> list[Block]:
    """All blocks of shell commands of a page."""
    text = path.read_text(encoding="utf-8")
    found = []
    for one in _BLOCK.finditer(text):
        line = text.count("\n", 0, one.start("code")) + 1
        found.append(Block(name, line, one["kind"] or "", one["value"] or "", one["code"]))
    return found


def script(found: Iterable[Block], folder: Path) -> str:
    """A script of bash that runs blocks in their order, and ends with the first that fails."""
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
    """Switch the network on and become the script."""
    set_up()
    os.execvp("bash", ["bash", arguments[0]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
