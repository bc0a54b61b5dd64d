"""A network between a client and a server on this machine: delay, jitter and loss."""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import threading
import time
from typing import Self


class SlowNetwork:
    """Relays UDP packets from `port` to the server's port, for a `with` block.

    `delay` and `jitter` in seconds: each packet takes `delay`, and up to `jitter` more. `loss`:
    share of the packets that are lost in each direction. Packets may overtake each other.
    """

    def __init__(
        self, server_port: int, delay: float, jitter: float, loss: float, seed: int = 1
    ) -> None:
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", 0))
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._far.connect(("127.0.0.1", server_port))
        self.port = int(self._near.getsockname()[1])
        self.lost = 0
        self._delay, self._jitter, self._loss = delay, jitter, loss
        self._dice = random.Random(seed)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending.set()
        self._thread.join()
        self._near.close()
        self._far.close()

    def _run(self) -> None:
        client, order = None, itertools.count()
        under_way: list[tuple[float, int, bool, bytes]] = []
        while not self._ending.is_set():
            due = under_way[0][0] - time.monotonic() if under_way else 0.05
            for one in select.select([self._near, self._far], [], [], max(0.0, min(due, 0.05)))[0]:
                packet, origin = one.recvfrom(65536)
                client = origin if one is self._near else client
                if self._dice.random() < self._loss:
                    self.lost += 1
                    continue
                arrives = time.monotonic() + self._delay + self._jitter * self._dice.random()
                heapq.heappush(under_way, (arrives, next(order), one is self._near, packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _arrives, _number, outward, packet = heapq.heappop(under_way)
                if outward:
                    self._far.send(packet)
                elif client is not None:
                    self._near.sendto(packet, client)
