"""Clients that mean no good on open sockets: the daemon's memory stays bounded and others are served."""
import json
import pathlib
import socket
import struct

from conftest import wait_until
from serving import Daemon

NAP = "stagemill: 1\nname: nap\nstages:\n  - { id: nap, uses: slow, with: { for: 300ms } }\n"
CROWD = 300


def rss_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Raw:
    """A socket that sends what it likes."""

    def __init__(self, daemon, path):
        self.socket = socket.create_connection(("127.0.0.1", daemon.port), timeout=20)
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
                             "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        self.got = b""
        while b"\r\n\r\n" not in self.got:
            self.got += self.socket.recv(4096)
        head, self.got = self.got.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def send(self, data):
        self.socket.sendall(data)

    def frame(self):
        """First byte and payload of the next frame; None: the end."""
        while True:
            if len(self.got) >= 2:
                size, at = self.got[1] & 127, 2
                if size == 126 and len(self.got) >= 4:
                    size, at = struct.unpack(">H", self.got[2:4])[0], 4
                if size != 126 and len(self.got) >= at + size:
                    frame = self.got[0], self.got[at:at + size]
                    self.got = self.got[at + size:]
                    return frame
            more = self.socket.recv(4096)
            if not more:
                return None
            self.got += more

    def close_code(self):
        while (frame := self.frame()) is not None:
            if frame[0] == 0x88:
                return struct.unpack(">H", frame[1][:2])[0]


def masked(first, size, payload=b""):
    """A client's frame that declares `size` bytes; the mask is zeros."""
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 65536 else b"\xff" + struct.pack(">Q", size)
    return bytes([first]) + length + b"\0\0\0\0" + payload


def test_declared_lengths_half_messages_and_silence_cost_next_to_nothing(mill):
    with Daemon(mill, pipelines={"nap": NAP}) as daemon:
        token = daemon.mint("alice")
        follow = f"/api/v1/stream?token={token}"
        Raw(daemon, follow).socket.close()
        before = rss_mib(daemon.pid)
        giants = [Raw(daemon, follow) for _ in range(CROWD)]
        for raw in giants:
            raw.send(masked(0x81, 2 ** 31 - 1))  # the head alone: judged before a byte of it came
        assert {raw.close_code() for raw in giants} == {1009}
        halves = [Raw(daemon, follow) for _ in range(CROWD)]
        for raw in halves:
            raw.send(masked(0x01, 40000, b"x" * 20000))
        unknown = [Raw(daemon, "/api/v1/stream") for _ in range(CROWD)]
        for raw in unknown:
            raw.send(masked(0x81, 20000))  # more than a token is
        assert {raw.close_code() for raw in unknown} == {1009}
        assert rss_mib(daemon.pid) - before < 40, "20 kB each of half a message is 6 MB; the rest is slack"
        job = daemon.submit("nap", token=token)["id"]
        honest = Raw(daemon, f"/ws?jobId={job}&token={token}")
        seen = []
        while (frame := honest.frame()) and frame[0] == 0x81:
            seen.append(json.loads(frame[1])["type"])
        assert seen[0] == "state" and seen[-1] == "completed" and frame[1][:2] == b"\x03\xe8"
        flood = Raw(daemon, follow)
        flood.socket.settimeout(0.5)
        ping, sent = masked(0x89, 125, b"p" * 125) * 500, 0
        try:  # pings without reading the answers: back-pressure, not memory
            for _ in range(200):
                sent += flood.socket.send(ping)
        except (TimeoutError, OSError):
            pass
        assert sent < 200 * len(ping), "the daemon took 13 MB of pings from a peer that reads nothing"
        assert rss_mib(daemon.pid) - before < 40
        for raw in [*giants, *halves, *unknown, honest, flood]:
            raw.socket.close()
        wait_until(lambda: daemon.get("/api/v1/stats").json["followers"] == 0, seconds=15)
