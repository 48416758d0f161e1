"""Uploads: announced, put to a signed address, confirmed once, and then the input of a job that is about an asset."""
import asyncio
import concurrent.futures
import hashlib
import json
import random
import re
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest
import websockets

from conftest import Mill, wait_until
from serving import Daemon

TAKE = """
stagemill: 1
name: take
params: { word: { type: text, default: none } }
stages:
  - { id: file, uses: fetch, with: { url: "${{ job.input }}" } }
  - { id: say, uses: noop, with: { text: "${{ params.word }}" } }
result: { sha256: "${{ stages.file.sha256 }}", bytes: "${{ stages.file.bytes }}", said: "${{ stages.say.text }}" }
"""
LOOK = """
stagemill: 1
name: look
stages:
  - { id: poster, uses: thumbnail, with: { at: 10%, width: 64 } }
  - { id: info, uses: probe }
result: { playlist: "https://cdn.example.org/a.m3u8", poster: "${{ stages.poster.file }}", duration: "${{ stages.info.duration }}" }
"""
SLOW = """
stagemill: 1
name: nap
stages: [ { id: nap, uses: slow, with: { for: 60s } } ]
"""
KEY = re.compile(r"uploads/([A-Za-z0-9._~-]+)/(\d{13})-([A-Za-z0-9_-]+)-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                 r"[0-9a-f]{12}\.([a-z0-9]+)")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    mill = Mill(tmp_path_factory.mktemp("uploads"))
    with Daemon(mill, settings="uploads: { max: 3M }\n", pipelines={"take": TAKE, "look": LOOK, "nap": SLOW}) as daemon:
        daemon.ann, daemon.bob = daemon.mint("ann@example.org"), daemon.mint("bob")
        yield daemon
    mill.clean()


def announce(daemon, token, name="clip one.MP4", kind="video/mp4", **more):
    answer = daemon.post("/api/v1/uploads", {"filename": name, "contentType": kind, **more}, token=token)
    assert answer.status == 201, answer
    return answer.json


def put(daemon, upload, data, kind="video/mp4", **more):
    return daemon.put(upload["uploadUrl"], data, token=None, headers={"Content-Type": kind} if kind else {}, **more)


def confirm(daemon, upload, token, **more):
    same = {key: upload[key] for key in ("fileKey", "fileName", "bucketName")}
    return daemon.post("/api/v1/uploads/confirm", {**same, "originalName": "clip one.MP4", **more}, token=token)


def folder(daemon):
    return daemon.state / "uploads"


def visible(daemon):
    return [p for p in folder(daemon).rglob("*") if p.is_file() and ".partial" not in p.parts]


def test_the_whole_way(daemon):
    data = random.Random(1).randbytes(1_500_000)
    upload = announce(daemon, daemon.ann, pipeline="take", params={"word": "moin"})
    assert set(upload) == {"uploadUrl", "fileKey", "bucketName", "fileUrl", "fileName", "expiresAt"}
    owner, milliseconds, name, extension = KEY.fullmatch(upload["fileKey"]).groups()
    assert (owner, name, extension) == ("ann~40example.org", "clip-one", "mp4")
    assert abs(int(milliseconds) / 1000 - time.time()) < 10 and upload["bucketName"] == "local"
    assert confirm(daemon, upload, daemon.ann).status == 409  # nothing has come
    assert put(daemon, upload, data).status == 200
    first = confirm(daemon, upload, daemon.ann)
    assert first.status == 202, first
    assert set(first.json) == {"assetId", "jobId", "websocketUrl"} and first.json["jobId"] in first.json["websocketUrl"]
    done = daemon.wait_job(first.json["jobId"], token=daemon.ann)
    assert done["status"] == "completed", done
    assert done["result"] == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "said": "moin"}
    assert done["asset"] == first.json["assetId"] and done["owner"] == "ann@example.org"
    assert confirm(daemon, upload, daemon.ann).json == first.json
    assert put(daemon, upload, b"other").status == 409  # what a job reads is not changed
    back = daemon.get(urllib.parse.urlsplit(upload["fileUrl"]).path, token=daemon.ann)
    assert back.body == data
    events = daemon.get(f"/api/v1/events?asset={first.json['assetId']}&since=0", token=daemon.ann).json["events"]
    told = [e for e in events if e["type"] == "upload-confirmed"]
    assert len(told) == 1 and told[0]["asset"] == first.json["assetId"] and told[0]["fileKey"] == upload["fileKey"]
    assert told[0]["jobId"] == first.json["jobId"] and told[0]["bytes"] == len(data) and told[0]["seq"] == 1
    assert not daemon.get(f"/api/v1/events?asset={first.json['assetId']}&since=0", token=daemon.bob).json.get("events")


def test_what_is_missing_is_named(daemon):
    for body, word in (({"contentType": "video/mp4"}, "filename"), ({"filename": "a"}, "contentType"), ({}, "filename"),
                       ({"filename": "", "contentType": "a/b"}, "filename"), ({"filename": 7, "contentType": "a/b"}, "filename"),
                       ({"filename": "a", "contentType": "video"}, "contentType"),
                       ({"filename": "a", "contentType": "a/b\r\nX: y"}, "contentType"),
                       ({"filename": "a", "contentType": "a/b", "pipeline": "tkae"}, "tkae"),
                       ({"filename": "a", "contentType": "a/b", "params": []}, "params"),
                       ({"filename": "a", "contentType": "a/b", "owner": "bob"}, "owner")):
        answer = daemon.post("/api/v1/uploads", body, token=daemon.ann)
        assert answer.status == 400 and word in answer.json["detail"], (body, answer)
        assert answer.headers["Content-Type"].startswith("application/problem+json")
    for body in ({}, {"fileKey": 7}):
        answer = daemon.post("/api/v1/uploads/confirm", body, token=daemon.ann)
        assert answer.status == 400 and "fileKey" in answer.json["detail"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c.mp4", "..", ".mp4", "🎬 film.mov", "a" * 255, "x.y.z.webm",
                                  "con\tq?#%00.m4v", "name.toolongextension", "C:\\clips\\ä.mkv"])
def test_keys_are_clean_whatever_the_name(daemon, name):
    upload = announce(daemon, daemon.ann, name=name)
    assert KEY.fullmatch(upload["fileKey"]) and len(upload["fileKey"]) < 256
    assert put(daemon, upload, b"x").status == 200
    path = folder(daemon) / upload["fileKey"].removeprefix("uploads/")
    assert path.read_bytes() == b"x"


def test_owners_never_share_a_folder(daemon):
    subjects = ["a.b", "a~2eb", "a/b", "../x", "..", "ä", "x" * 200, "x" * 199 + "y", "A", "a"]
    words = {KEY.fullmatch(announce(daemon, daemon.mint(sub))["fileKey"])[1] for sub in subjects}
    assert len(words) == len(subjects)


def test_an_address_is_good_for_one_file_one_method_and_an_hour(daemon):
    upload, other = announce(daemon, daemon.ann), announce(daemon, daemon.ann)
    url = upload["uploadUrl"]
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query))
    assert 3500 < int(query["expires"]) - time.time() <= 3601
    wrong = [url.replace(upload["fileKey"], other["fileKey"]), url.replace(query["expires"], str(int(query["expires"]) + 1)),
             url.replace("signature=", "signature=A"), url.split("?")[0], url.split("&")[0]]
    for address in wrong:
        assert daemon.put(address, b"x", token=None).status == 403, address
    assert daemon.put(url, b"x", token=None, headers={"Content-Type": "text/html"}).status == 415
    assert daemon.put(url, b"x", token=None, headers={"Content-Type": "Video/MP4; codecs=avc1"}).status == 200
    bare = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", "-", url], input=b"again",
                          capture_output=True, timeout=20)
    assert bare.stdout == b"200", bare  # no type at all
    assert not [p for p in visible(daemon) if other["fileName"] == p.name]


def test_what_is_too_large_is_refused_early_and_late(daemon):
    upload = announce(daemon, daemon.ann)
    before = set(visible(daemon))
    assert daemon.post("/api/v1/uploads", {"filename": "a", "contentType": "a/b", "bytes": 3_000_001},
                       token=daemon.ann).status == 413
    assert put(daemon, upload, b"x" * 3_000_001).status == 413
    chunked = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", "-", "-H", "Expect:", "-H",
                              "Content-Type: video/mp4", upload["uploadUrl"]], input=b"x" * 3_000_001, capture_output=True,
                             timeout=20)
    assert chunked.stdout == b"413", chunked
    exact = announce(daemon, daemon.ann, bytes=5)
    assert put(daemon, exact, b"1234").status == 400 and put(daemon, exact, b"12345").status == 200
    assert len(set(visible(daemon)) - before) == 1
    assert not list((folder(daemon) / ".partial").iterdir())


def test_half_an_upload_is_nobodys(daemon):
    upload = announce(daemon, daemon.ann)
    address = urllib.parse.urlsplit(upload["uploadUrl"])
    with socket.create_connection((address.hostname, address.port)) as peer:
        peer.sendall(f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 1000000\r\n"
                     "Content-Type: video/mp4\r\n\r\n".encode() + b"x" * 200_000)
        wait_until(lambda: any(p.stat().st_size >= 100_000 for p in (folder(daemon) / ".partial").iterdir()))
        assert upload["fileName"] not in [p.name for p in visible(daemon)]
        assert put(daemon, upload, b"meanwhile").status == 429  # one at a time
        assert confirm(daemon, announce(daemon, daemon.ann), daemon.ann).status == 409
    wait_until(lambda: not list((folder(daemon) / ".partial").iterdir()))
    assert confirm(daemon, upload, daemon.ann).status == 409
    assert put(daemon, upload, b"whole").status == 200


def test_foreign_and_unknown_uploads_are_alike(daemon):
    upload = announce(daemon, daemon.ann, pipeline="take")
    assert put(daemon, upload, b"mine").status == 200
    unknown = dict(upload, fileKey=upload["fileKey"].replace("clip", "clap"), fileName=upload["fileName"].replace("clip", "clap"))
    for which in (upload, unknown):
        assert confirm(daemon, which, daemon.bob).status == 404
        assert daemon.get("/api/v1/uploads/" + which["fileKey"], token=daemon.bob).status == 404
        assert daemon.delete("/api/v1/uploads/" + which["fileKey"], token=daemon.bob).status == 404
        answer = daemon.post("/api/v1/jobs", {"pipeline": "take", "input": which["fileKey"]}, token=daemon.bob)
        assert answer.status in (400, 404), answer
    reader = daemon.mint("ann@example.org", "read")
    assert confirm(daemon, upload, reader).status == 403
    assert daemon.post("/api/v1/uploads", {"filename": "a", "contentType": "a/b"}, token=None).status == 401
    for field, value in (("fileName", "other.mp4"), ("bucketName", "other")):
        assert confirm(daemon, upload, daemon.ann, **{field: value}).status == 400
    keys = [u["fileKey"] for u in daemon.get("/api/v1/uploads?limit=1000", token=daemon.bob).json["uploads"]]
    assert upload["fileKey"] not in keys


def test_an_upload_can_be_a_jobs_input_by_its_key(daemon):
    upload = announce(daemon, daemon.ann)
    early = daemon.post("/api/v1/jobs", {"pipeline": "take", "input": upload["fileKey"]}, token=daemon.ann)
    assert early.status == 409, early
    assert put(daemon, upload, b"by key").status == 200
    job = daemon.submit("take", input=upload["fileKey"], token=daemon.ann)
    assert daemon.wait_job(job["id"], token=daemon.ann)["result"]["bytes"] == 6


def test_confirming_at_once_and_after_a_crash_makes_one_job(daemon):
    upload = announce(daemon, daemon.ann, pipeline="take", asset="video-7")
    assert put(daemon, upload, b"once").status == 200
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: confirm(daemon, upload, daemon.ann), range(8)))
    assert {a.status for a in answers} == {202} and len({a.json["jobId"] for a in answers}) == 1
    assert answers[0].json["assetId"] == "video-7"
    daemon.restart(kill=True)
    assert confirm(daemon, upload, daemon.ann).json["jobId"] == answers[0].json["jobId"]
    jobs = daemon.get("/api/v1/assets/video-7/jobs", token=daemon.ann).json["jobs"]
    assert [job["id"] for job in jobs] == [answers[0].json["jobId"]]
    again = announce(daemon, daemon.ann, pipeline="take", asset="video-7")
    assert put(daemon, again, b"twice").status == 200
    second = confirm(daemon, again, daemon.ann).json
    assert second["assetId"] == "video-7" and second["jobId"] != answers[0].json["jobId"]
    taken = daemon.post("/api/v1/uploads", {"filename": "a", "contentType": "a/b", "asset": "video-7"}, token=daemon.bob)
    assert taken.status == 409 and daemon.get("/api/v1/assets/video-7", token=daemon.bob).status == 404


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01, 0.02])
def test_killed_while_confirming_it_still_makes_one_job(daemon, delay):
    upload = announce(daemon, daemon.ann, pipeline="take", asset=f"cut-{delay}")
    assert put(daemon, upload, b"cut").status == 200
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(confirm, daemon, upload, daemon.ann)
        time.sleep(delay)
        daemon.kill()
        first = asked.result() if not asked.exception() else None
    daemon.start()
    made = confirm(daemon, upload, daemon.ann)
    assert made.status == 202 and (first is None or first.json == made.json)
    assert daemon.wait_job(made.json["jobId"], token=daemon.ann)["status"] == "completed"
    jobs = daemon.get(f"/api/v1/assets/cut-{delay}/jobs", token=daemon.ann).json["jobs"]
    assert [job["id"] for job in jobs] == [made.json["jobId"]]
    events = daemon.get(f"/api/v1/events?asset=cut-{delay}&since=0", token=daemon.ann).json["events"]
    assert len([e for e in events if e["type"] == "upload-confirmed"]) == 1


def test_an_asset_knows_what_its_jobs_found(daemon, tmp_path):
    clip = tmp_path / "clip.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10:duration=1", "-c:v", "libx264",
                    "-preset", "ultrafast", str(clip)], check=True, timeout=30)
    upload = announce(daemon, daemon.ann, pipeline="look")
    assert put(daemon, upload, clip.read_bytes()).status == 200
    made = confirm(daemon, upload, daemon.ann, title="A title", recordedAt="2026-01-31T12:00:00Z").json
    daemon.wait_job(made["jobId"], token=daemon.ann)
    path = f"/api/v1/assets/{made['assetId']}"
    asset = daemon.get(path, token=daemon.ann).json
    assert asset["bytes"] == clip.stat().st_size and asset["duration"] == pytest.approx(1, abs=0.1)
    assert (asset["width"], asset["height"], asset["status"], asset["playlist"]) == (320, 180, "completed", "https://cdn.example.org/a.m3u8")
    poster = daemon.get(asset["poster"], token=daemon.ann)
    assert poster.status == 200 and poster.headers["Content-Type"] == "image/jpeg"
    assert asset["jobId"] == made["jobId"] and asset["originalName"] == "clip one.MP4" and asset["title"] == "A title"
    changed = daemon.patch(path, {"title": "Another", "author": "Ann", "recordedAt": None}, token=daemon.ann)
    assert changed.status == 200 and changed.json["title"] == "Another" and changed.json["recordedAt"] is None
    assert changed.json["originalName"] == "clip one.MP4" and changed.json["author"] == "Ann"
    for body in ({"owner": "bob"}, {"title": 7}, {"recordedAt": "yesterday"}):
        assert daemon.patch(path, body, token=daemon.ann).status == 400
    assert daemon.patch(path, {"title": "x"}, token=daemon.bob).status == 404
    assert daemon.delete(f"/api/v1/jobs/{made['jobId']}", token=daemon.ann).status == 204
    kept = daemon.get(path, token=daemon.ann).json  # what was measured outlives the job
    assert kept["width"] == 320 and kept["duration"] == asset["duration"] and kept["playlist"] is None
    listed = daemon.get("/api/v1/assets?limit=1000", token=daemon.ann).json["assets"]
    assert made["assetId"] in [a["id"] for a in listed]
    assert made["assetId"] not in [a["id"] for a in daemon.get("/api/v1/assets", token=daemon.bob).json["assets"]]


def test_followers_of_an_asset_hear_of_it_live(daemon):
    upload = announce(daemon, daemon.ann, asset="room-9", pipeline="take")
    assert put(daemon, upload, b"x").status == 200

    async def follow():
        async with websockets.connect(f"{daemon.ws}/api/v1/stream?token={daemon.ann}") as stream:
            await stream.send(json.dumps({"type": "subscribe", "topic": "asset:room-9", "id": 1}))
            assert json.loads(await asyncio.wait_for(stream.recv(), 5))["type"] == "subscribed"
            made = await asyncio.to_thread(confirm, daemon, upload, daemon.ann)
            told = [{"type": ""}]
            while told[-1]["type"] != "completed":
                told.append(json.loads(await asyncio.wait_for(stream.recv(), 10)))
            return made.json, [e for e in told if e["type"] == "upload-confirmed"]

    made, told = asyncio.run(follow())
    assert len(told) == 1 and told[0]["jobId"] == made["jobId"] and told[0]["cursor"]


def test_a_job_that_names_an_asset_makes_it(daemon):
    upload = announce(daemon, daemon.bob)
    assert put(daemon, upload, b"x").status == 200
    daemon.submit("take", input=upload["fileKey"], asset="room 1", token=daemon.bob)
    wait_until(lambda: "room 1" in [a["id"] for a in daemon.get("/api/v1/assets", token=daemon.bob).json["assets"]])
    assert daemon.get("/api/v1/assets/room%201", token=daemon.ann).status == 404


def test_deleting_is_for_what_no_job_works_with(daemon):
    upload = announce(daemon, daemon.bob, pipeline="nap")
    assert put(daemon, upload, b"x").status == 200
    job = confirm(daemon, upload, daemon.bob).json["jobId"]
    path = "/api/v1/uploads/" + upload["fileKey"]
    assert daemon.delete(path, token=daemon.bob).status == 409
    assert daemon.post(f"/api/v1/jobs/{job}/cancel", token=daemon.bob).status == 202
    daemon.wait_job(job, token=daemon.bob)
    assert daemon.delete(path, token=daemon.bob).status == 204
    assert daemon.delete(path, token=daemon.bob).status == 404
    assert upload["fileName"] not in [p.name for p in visible(daemon)]


def test_without_a_pipeline_it_is_an_asset_and_an_empty_file_is_none(daemon):
    upload, empty = announce(daemon, daemon.bob), announce(daemon, daemon.bob)
    assert put(daemon, upload, b"x").status == 200 and put(daemon, empty, b"").status == 200
    made = confirm(daemon, upload, daemon.bob)
    assert made.status == 202 and made.json["jobId"] is None and made.json["websocketUrl"] is None
    assert daemon.get(f"/api/v1/assets/{made.json['assetId']}", token=daemon.bob).json["status"] is None
    assert confirm(daemon, empty, daemon.bob).status == 400


def test_many_slow_peers_leave_room_for_others(daemon):
    """Half of the workers may read uploads; the rest keep answering."""
    peers = []
    try:
        for _ in range(40):
            address = urllib.parse.urlsplit(announce(daemon, daemon.bob)["uploadUrl"])
            peer = socket.create_connection((address.hostname, address.port))
            peer.sendall(f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 9\r\n"
                         "\r\n".encode())
            peers.append(peer)
        begin = time.monotonic()
        assert daemon.get("/healthz", token=None).status == 200
        assert put(daemon, announce(daemon, daemon.bob), b"x").status == 429
        assert time.monotonic() - begin < 3
    finally:
        for peer in peers:
            peer.close()


def test_a_full_disk_is_507_and_heals(tmp_path):
    """A small disk of its own for uploads; of it 64 MiB stay free, for uploads are not all that a daemon has to write."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=66m", "none", str(small)], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    mill = Mill(tmp_path)
    try:
        with Daemon(mill, settings=f"uploads: {{ folder: {small} }}\n", pipelines={"take": TAKE}) as daemon:
            daemon.ann = daemon.mint("ann")
            assert daemon.post("/api/v1/uploads", {"filename": "a", "contentType": "a/b", "bytes": 5_000_000},
                               token=daemon.ann).status == 507
            upload = announce(daemon, daemon.ann)
            answer = put(daemon, upload, b"x" * 5_000_000)
            assert answer.status == 507 and "room" in answer.json["detail"], answer
            assert subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", "-", "-H", "Expect:", "-H",
                                   "Content-Type: video/mp4", upload["uploadUrl"]], input=b"x" * 5_000_000,
                                  capture_output=True, timeout=20).stdout == b"507"
            assert not [p for p in small.rglob("*") if p.is_file()]
            subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
            assert put(daemon, upload, b"x" * 5_000_000).status == 200
    finally:
        mill.clean()
        subprocess.run(["umount", str(small)])
