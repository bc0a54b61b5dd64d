"""Cost of waveforms: speed as a multiple of real time, latency, and memory.

    python benchmarks/waveforms.py [--hours 3] [--stems 8] [--format wav|flac] [--json FILE]

Files of noise and tones are generated in a temporary folder. The process is the one that the server
starts, at its own low priority: on a busy machine it takes longer. The CPU seconds are therefore
reported as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.common import print_heading, write_json
from crowdstream.system.process import PROJECT

RATE = 44100


def make(path: Path, seconds: float) -> None:
    """Write a 16-bit stereo file: a tone and bursts of noise."""
    random = np.random.default_rng(1)
    minute = np.arange(60 * RATE) / RATE
    sound = (
        0.3 * np.sin(2 * np.pi * 100 * minute)[:, None]
        + 0.1 * random.standard_normal((60 * RATE, 2)) * (np.sin(3 * minute) > 0)[:, None]
    )
    samples = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
    left = int(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 2) as file:
        while left > 0:
            file.write(samples[:left])
            left -= len(samples)


def status(pid: int, name: str) -> float:
    """Return a size in MB from /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def measure(paths: list[Path], seconds: float, cache: Path) -> dict[str, Any]:
    """Request all waveforms once; times start with the request."""
    environ = dict(os.environ, XDG_CACHE_HOME=str(cache), PYTHONPATH=str(PROJECT))
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "crowdstream.web.waveforms.main"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, bufsize=0,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        process.stdout.readline()
        up = time.monotonic() - begun
        before = cpu_seconds(process.pid)
        want = {"want": [str(path) for path in paths], "roots": []}
        begun = time.monotonic()
        process.stdin.write(json.dumps(want).encode() + b"\n")
        glances: dict[str, float] = {}
        exact: dict[str, float] = {}
        while True:
            message = json.loads(process.stdout.readline())
            now = time.monotonic() - begun
            if "idle" in message:
                break
            if "failed" in message:
                raise SystemExit(message["reason"])
            if message.get("rough", -1) >= 0 or message.get("ready"):
                glances.setdefault(message["wave"], now)
            if message.get("ready"):
                exact.setdefault(message["wave"], now)
        cost = cpu_seconds(process.pid) - before
        total = seconds * len(paths)
        result = {
            "start_ms": up * 1000, "first_glance_ms": min(glances.values()) * 1000,
            "all_glances_ms": max(glances.values()) * 1000,
            "first_exact_ms": min(exact.values()) * 1000,
            "finished_s": now, "processor_s": cost, "times_real_time": total / cost,
            "times_real_time_wall": total / now, "most_resident_mb": status(process.pid, "VmHWM"),
            "own_memory_mb": status(process.pid, "RssAnon"),
            "cache_mb": sum(one.stat().st_size for one in cache.rglob("*.wave")) / 1e6,
        }  # fmt: skip
        process.stdin.close()
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=3.0, help="length of the long file")
    parser.add_argument("--stems", type=int, default=8, help="number of stems of five minutes")
    parser.add_argument("--format", default="wav", choices=["wav", "flac"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print_heading("Waveforms")
    results = {}
    with tempfile.TemporaryDirectory(prefix="crowdstream-waves-") as folder:
        for name, count, seconds in (
            (f"{options.stems} stems of 5 minutes", options.stems, 300.0),
            (f"one file of {options.hours:g} hours", 1, options.hours * 3600),
        ):
            paths = [Path(folder) / f"{count}_{n}.{options.format}" for n in range(count)]
            for path in paths:
                make(path, seconds)
            cache = Path(folder) / f"cache{count}"
            results[name] = measure(paths, seconds, cache)
            results[f"{name}, from the cache"] = measure(paths, seconds, cache)
            for path in paths:
                path.unlink()
    for name, result in results.items():
        print(f"\n{name}")
        for what, value in result.items():
            if "cache" not in name or what.endswith(("_ms", "_s")):
                print(f"  {what:22} {value:10.1f}")
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
