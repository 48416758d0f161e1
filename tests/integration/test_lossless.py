"""Nothing is lost and nothing comes twice: followers that come and go at random, jobs that run, a daemon that is killed and started
again in the middle. Every follower must have seen every lifecycle event of its job exactly once, in order."""
import asyncio
import json
import os
import random
import time

import websockets

from serving import Daemon

FOLLOWERS, JOBS = (200, 10) if os.environ.get("STAGEMILL_LONG") else (200, 5)
STEPS = "stagemill: 1\nname: steps\nparams: { n: { type: int, default: 0 } }\nstages:\n" + "".join(
    f"  - {{ id: s{i}, uses: slow, with: {{ for: 300ms }}{f', needs: s{i - 1}' if i else ''} }}\n" for i in range(6))


class Follower:
    """Follows one job to its end by /ws or a session, and hangs up now and then; `seen` is what it got, over all its sockets."""

    def __init__(self, number, job, daemon, token, seed):
        self.job, self.daemon, self.token, self.session = job, daemon, token, number % 2 == 1
        self.seen, self.sockets, self.wrong, self.random = [], 0, [], random.Random(seed)

    @property
    def last(self):
        return self.seen[-1]["seq"] if self.seen else 0

    @property
    def ended(self):
        return bool(self.seen) and self.seen[-1]["type"] in ("completed", "failed", "cancelled")

    async def open(self):
        since = f"&since={self.last}"
        path = f"/api/v1/stream?token={self.token}" if self.session else f"/ws?jobId={self.job}&token={self.token}{since}"
        socket = await websockets.connect(self.daemon.ws + path, open_timeout=5, close_timeout=0.2, ping_interval=None, max_queue=None)
        self.sockets += 1
        if self.session:
            await socket.send(json.dumps({"type": "subscribe", "topic": f"job:{self.job}", "since": self.last}))
        else:
            first = json.loads(await asyncio.wait_for(socket.recv(), 5))
            assert first["type"] == "state" and first["seq"] >= self.last, first
        return socket

    def hear(self, text):
        event = json.loads(text)
        if event["type"] in ("progress", "subscribed"):
            return
        if event["type"] == "completed" and event["seq"] == self.last and not self.session:
            return  # told again to who comes back after the end
        if event.get("jobId") != self.job or event.get("seq") != self.last + 1:
            self.wrong.append(f"after {self.last}: {text[:200]}")
        self.seen.append(event)

    async def live(self, socket):
        """One socket, for a while."""
        until = time.monotonic() + self.random.uniform(0.05, 1.5)
        while not self.ended and time.monotonic() < until:
            try:
                self.hear(await asyncio.wait_for(socket.recv(), max(0.01, until - time.monotonic())))
            except asyncio.TimeoutError:
                pass

    async def run(self, deadline):
        while not self.ended and not self.wrong and time.monotonic() < deadline:
            try:
                socket = await self.open()
            except (OSError, asyncio.TimeoutError, websockets.WebSocketException, EOFError):
                await asyncio.sleep(0.1)  # the daemon is down
                continue
            try:
                await self.live(socket)
            except websockets.ConnectionClosed:
                pass
            if self.random.random() < 0.5:
                socket.transport.abort()  # without a word
            else:
                asyncio.ensure_future(socket.close())
            await asyncio.sleep(self.random.uniform(0, 0.1))


async def follow_all(followers, interrupt, seconds):
    deadline = time.monotonic() + seconds
    work = [asyncio.ensure_future(f.run(deadline)) for f in followers]
    await asyncio.get_running_loop().run_in_executor(None, interrupt)
    await asyncio.gather(*work)


def test_followers_that_come_and_go_see_every_event_once_though_the_daemon_is_killed(mill):
    with Daemon(mill, pipelines={"steps": STEPS}, settings="limits: { attempts: 4 }\n") as daemon:
        token = daemon.mint("alice")
        jobs = [daemon.submit("steps", token=token, params={"n": str(i)})["id"] for i in range(JOBS)]
        followers = [Follower(i, jobs[i % JOBS], daemon, token, 4711 + i) for i in range(FOLLOWERS)]

        def interrupt():
            time.sleep(1.2)
            daemon.restart(kill=True)
            time.sleep(1.0)
            daemon.restart(kill=True)

        asyncio.run(follow_all(followers, interrupt, 60))
        wrong = [w for f in followers for w in f.wrong]
        assert not wrong, wrong[:5]
        assert all(f.ended for f in followers), [(f.job, f.last, f.sockets) for f in followers if not f.ended][:5]
        for job in jobs:
            stored = daemon.get(f"/api/v1/jobs/{job}/events", token=token).json["events"]
            assert [e["seq"] for e in stored] == list(range(1, len(stored) + 1))
            for f in followers:
                assert f.job != job or f.seen == stored
        assert sum(f.sockets for f in followers) > 3 * FOLLOWERS, "nobody hung up: that proves little"
