"""Peers that only want to harm: the daemon's memory stays bounded and real clients keep being served."""
import base64
import os
import pathlib
import select
import socket
import struct
import time

import pytest

from conftest import wait_until
from serving import Daemon

CROWD = 1000
HEAD = b"GET /api/v1/stats HTTP/1.1\r\nHost: h\r\nX-Filler: "


def rss_mib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture
def daemon(mill):
    with Daemon(mill) as made:
        yield made


class Crowd:
    """Connections that say the same words and then nothing more."""

    def __init__(self, daemon, words, count=CROWD):
        self.sockets = []
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", daemon.port), timeout=10)
            self.sockets.append(s)
            if words:
                self.say(s, words)

    @staticmethod
    def say(s, words):
        try:
            s.sendall(words)
        except OSError:
            pass  # cut already

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()


def served(daemon, first=15.0, later=5.0):
    """Real clients while the crowd is there: the first may have to wait until places are made, the others hardly."""
    took = []
    for _ in range(8):
        begun = time.monotonic()
        assert daemon.get("/api/v1/stats").status == 200
        took.append(time.monotonic() - begun)
    assert took[0] < first and sorted(took)[len(took) // 2] < later, took


@pytest.mark.parametrize("words", [b"", HEAD, b"PUT /api/v1/uploads/put/x HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999\r\n\r\n",
                                   b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"],
                         ids=["silent", "half-a-request", "giant-length", "idle-after-an-answer"])
def test_a_thousand_connections_starve_nobody(daemon, words):
    before, open_before = rss_mib(daemon.pid), descriptors(daemon.pid)
    with Crowd(daemon, words):
        served(daemon)
        assert rss_mib(daemon.pid) - before < 64
    wait_until(lambda: descriptors(daemon.pid) <= open_before + 20, 15)


def test_endless_headers_and_lines_are_cut(daemon):
    before = rss_mib(daemon.pid)
    for words in (b"X-More: " + b"y" * 1000 + b"\r\n", b"y" * 1000):
        with Crowd(daemon, HEAD, 30) as crowd:
            sent = 0
            for s in crowd.sockets:
                s.settimeout(5)
                try:
                    for _ in range(400):
                        s.sendall(words)
                        sent += len(words)
                except OSError:
                    pass  # the daemon had enough
            served(daemon)
            assert rss_mib(daemon.pid) - before < 32, sent


def test_bytes_in_drops_do_not_keep_a_thread(daemon):
    """Slow headers: each peer sends another byte every 100 ms."""
    with Crowd(daemon, HEAD, 200) as crowd:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for s in crowd.sockets:
                Crowd.say(s, b"z")
            assert daemon.get("/healthz", token=None).status == 200
            time.sleep(0.1)
        alive = [s for s in crowd.sockets if not select.select([s], [], [], 0)[0]]
        assert len(alive) < len(crowd.sockets)


def test_giant_frames_take_no_memory(daemon):
    before = rss_mib(daemon.pid)
    sockets = []
    for _ in range(30):
        s = socket.create_connection(("127.0.0.1", daemon.port), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        s.sendall((f"GET /api/v1/stream?token={daemon.token} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += s.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        s.sendall(b"\x81" + struct.pack(">BQ", 0xff, 2**31 - 1) + os.urandom(4) + b"x" * 4000)
        sockets.append(s)
    for s in sockets:
        left = b""
        while True:
            try:
                piece = s.recv(4096)
            except OSError:
                break
            if not piece:
                break
            left += piece
        assert b"\x88" in left and struct.pack(">H", 1009) in left, left
        s.close()
    assert rss_mib(daemon.pid) - before < 16
    served(daemon)
