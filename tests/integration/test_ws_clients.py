"""Followers as others write them: python3-websockets, npm `ws`, and clients that know nothing but /ws?jobId&token."""
import asyncio
import json
import subprocess

import pytest
import websockets

from conftest import ROOT
from serving import Daemon

NAP = """stagemill: 1
name: nap
stages:
  - { id: a, uses: noop, with: { text: hello } }
  - { id: nap, uses: slow, needs: a, with: { for: 700ms } }
result: { said: "${{ stages.a.text }}" }
"""
BROKEN = "stagemill: 1\nname: broken\nstages:\n  - { id: a, uses: flaky, with: { failures: 9 }, retry: { attempts: 1 } }\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    from conftest import Mill
    mill = Mill(tmp_path_factory.mktemp("sockets"))
    with Daemon(mill, pipelines={"nap": NAP, "broken": BROKEN}) as running:
        running.alice = running.mint("alice")
        running.bob = running.mint("bob")
        yield running
    mill.clean()


async def collect(url, **options):
    """Everything until the server closes: messages, code, reason."""
    got = []
    async with websockets.connect(url, **options) as socket:
        try:
            while True:
                got.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
        except websockets.ConnectionClosed:
            return got, socket.close_code, socket.close_reason, socket.subprotocol


def follow(url, **options):
    return asyncio.run(collect(url, **options))


def test_a_job_from_state_to_1000(daemon):
    job = daemon.submit("nap", token=daemon.alice)
    messages, code, reason, _ = follow(f"{daemon.ws}/ws?jobId={job['id']}&token={daemon.alice}")
    assert (code, reason) == (1000, "Job complete")
    assert messages[0]["type"] == "state" and {"status", "pct", "jobId", "seq"} <= set(messages[0])
    assert messages[-1]["type"] == "completed" and messages[-1]["result"] == {"said": "hello"}
    stored = [m["seq"] for m in messages[1:] if m["type"] != "progress"]
    assert stored == list(range(messages[0]["seq"] + 1, stored[-1] + 1))
    progress = [m["pct"] for m in messages if m["type"] == "progress"]
    assert progress == sorted(progress) and all("stage" in m for m in messages if m["type"] == "progress")
    again, code, reason, _ = follow(f"{daemon.ws}/ws?jobId={job['id']}&token={daemon.alice}")
    assert [m["type"] for m in again] == ["state", "completed"] and (code, reason) == (1000, "Job complete")
    assert again[0]["status"] == "completed" and again[1] == messages[-1]


def test_a_failed_job_says_why(daemon):
    job = daemon.submit("broken", token=daemon.alice)
    messages, code, _, _ = follow(f"{daemon.ws}/ws?jobId={job['id']}&token={daemon.alice}")
    assert messages[-1]["type"] == "failed" and messages[-1]["error"] and code == 1000


@pytest.mark.parametrize("how", ["header", "subprotocol", "ticket"])
def test_other_ways_to_bring_a_token(daemon, how):
    job = daemon.submit("nap", token=daemon.alice)["id"]
    url, options = f"{daemon.ws}/ws?jobId={job}", {}
    if how == "header":
        options["extra_headers"] = {"Authorization": f"Bearer {daemon.alice}"}
    elif how == "subprotocol":
        options["subprotocols"] = ["stagemill.v1", f"stagemill.token.{daemon.alice}"]
    else:
        made = daemon.post("/api/v1/tickets", token=daemon.alice)
        assert made.status == 201, made
        url += f"&ticket={made.json['ticket']}"
    messages, code, _, subprotocol = follow(url, **options)
    assert messages[-1]["type"] == "completed" and code == 1000
    assert subprotocol == ("stagemill.v1" if how == "subprotocol" else None)


def test_close_codes(daemon):
    job = daemon.submit("nap", token=daemon.alice)["id"]
    for query, wanted in ((f"token={daemon.alice}", 4001), (f"jobId={job}", 4001), (f"jobId={job}&token=no.such.token", 4003),
                          (f"jobId={job}&token={daemon.bob}", 4003), (f"jobId=01nosuchjob&token={daemon.bob}", 4003),
                          (f"jobId=01nosuchjob&token={daemon.token}", 4004)):
        messages, code, _, _ = follow(f"{daemon.ws}/ws?{query}")
        assert (messages, code) == ([], wanted), query


def test_a_plain_get_is_told_to_upgrade(daemon):
    out = subprocess.run(["curl", "-sS", "-D-", f"{daemon.url}/ws?jobId=x"], capture_output=True, text=True, check=True).stdout
    assert out.startswith("HTTP/1.1 426 ") and "upgrade: websocket" in out.lower() and "sec-websocket-version: 13" in out.lower()


def test_a_batch_from_state_to_1000(daemon):
    clip = daemon.state.parent / "input.txt"
    clip.write_text("any file")
    batch = daemon.post("/api/v1/batches", {"pipeline": "nap", "source": {"list": [{"input": str(clip)}]}}, token=daemon.token)
    assert batch.status == 202, batch
    url = batch.json["websocketUrl"] + f"&token={daemon.token}"
    messages, code, _, _ = follow(url)
    assert messages[0]["type"] == "state" and messages[0]["batchId"] == batch.json["id"] and code == 1000
    assert messages[-1]["type"] == "batch-completed" and messages[-1]["processedFiles"] == 1
    stored = [m["seq"] for m in messages[1:]]
    assert stored == list(range(messages[0]["seq"] + 1, messages[0]["seq"] + 1 + len(stored)))
    again, code, _, _ = follow(url)
    assert [m["type"] for m in again] == ["state", "batch-completed"] and again[1] == messages[-1] and code == 1000


def test_a_revoked_token_ends_what_is_open(daemon):
    token = daemon.mint("carol")

    async def revoked():
        async with websockets.connect(f"{daemon.ws}/api/v1/stream?token={token}") as socket:
            await socket.send(json.dumps({"type": "subscribe", "topic": "own"}))
            assert json.loads(await socket.recv())["type"] == "subscribed"
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(None, lambda: daemon.post("/api/v1/tokens/revoke", {"sub": "carol"}))
            assert answer.status in (200, 204), answer
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 5)
            assert closed.value.rcvd.code == 4003
    asyncio.run(revoked())
    assert follow(f"{daemon.ws}/api/v1/stream?token={token}")[1] == 4003


NODE = """
import WebSocket from "ws";
const seen = [], socket = new WebSocket(process.argv[2]);
socket.on("message", (data, binary) => seen.push(JSON.parse(data)));
socket.on("close", (code, reason) => console.log(JSON.stringify({ seen, code, reason: String(reason) })));
"""


def test_npm_ws(daemon):
    job = daemon.submit("nap", token=daemon.alice)
    url = job["websocketUrl"]
    url += ("&" if "?" in url else "?") + f"token={daemon.alice}"
    done = subprocess.run(["node", "--input-type=module", "-e", NODE, "-", url], cwd=ROOT / "tests", capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert [m["type"] for m in heard["seen"]][:: len(heard["seen"]) - 1] == ["state", "completed"]
    assert (heard["code"], heard["reason"]) == (1000, "Job complete")


def test_a_room_of_assets(daemon):
    """One socket that follows what it is asked to, by asset, and everything one owns."""

    async def room():
        async with websockets.connect(f"{daemon.ws}/api/v1/stream") as socket:
            async def say(**message):
                await socket.send(json.dumps(message))
                while True:
                    heard = json.loads(await asyncio.wait_for(socket.recv(), 10))
                    if heard["type"] in ("authenticated", "subscribed", "unsubscribed", "error", "pong"):
                        return heard

            async def until(kind, job, alone=True):
                while True:
                    heard = json.loads(await asyncio.wait_for(socket.recv(), 10))
                    assert alone is False or heard["jobId"] == job, heard
                    if heard["type"] == kind and heard["jobId"] == job:
                        return heard

            loop = asyncio.get_running_loop()
            submit = lambda asset: loop.run_in_executor(None, lambda: daemon.submit("nap", token=daemon.alice, asset=asset)["id"])
            assert (await say(type="auth", token=daemon.alice))["type"] == "authenticated"
            assert (await say(type="subscribe", topic="asset:film-7", id=1))["id"] == 1
            await submit("film-8")
            mine = await submit("film-7")
            assert "cursor" in await until("completed", mine)
            assert (await say(type="unsubscribe", topic="asset:film-7"))["type"] == "unsubscribed"
            assert (await say(type="subscribe", topic="own", minStep=10))["type"] == "subscribed"
            await until("completed", await submit("film-9"), alone=False)
            assert (await say(type="subscribe", topic="all"))["code"] == "denied"

    asyncio.run(room())
