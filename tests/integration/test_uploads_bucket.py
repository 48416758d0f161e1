"""Uploads straight into a bucket of a real S3 server (Ceph's gateway): the daemon signs, the client puts, the AWS SDK judges."""
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import urllib.parse

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
import rgw  # noqa: E402
from conftest import ROOT, Mill, wait_until  # noqa: E402
from serving import Daemon  # noqa: E402
from test_uploads import KEY, LOOK, TAKE, announce, confirm  # noqa: E402

pytestmark = [
    pytest.mark.skipif(rgw.missing() is not None, reason=str(rgw.missing())),
    pytest.mark.skipif(not (ROOT / "tests/node_modules/@aws-sdk/client-s3").exists(),
                       reason="the AWS SDK is not installed (npm ci in tests/)")]
HERE = pathlib.Path(__file__).resolve().parent
SETTINGS = """
uploads:
  max: 3M
  s3: { bucket: drop, endpoint: "%s", access-key: DROP_ACCESS, secret-key: DROP_SECRET, prefix: "in box/" }
"""


@pytest.fixture(scope="module")
def storage():
    storage = rgw.Rgw()
    storage.make_bucket("drop")
    yield storage
    storage.stop()


@pytest.fixture(scope="module")
def daemon(storage, tmp_path_factory):
    mill = Mill(tmp_path_factory.mktemp("bucket"))
    secrets = {"STAGEMILL_SECRET_DROP_ACCESS": rgw.ACCESS_KEY, "STAGEMILL_SECRET_DROP_SECRET": rgw.SECRET_KEY}
    with Daemon(mill, settings=SETTINGS % storage.endpoint, pipelines={"take": TAKE, "look": LOOK}, env=secrets) as daemon:
        daemon.ann, daemon.bob = daemon.mint("ann"), daemon.mint("bob")
        yield daemon
        assert rgw.SECRET_KEY not in daemon.err and "X-Amz-Signature" not in daemon.err
    mill.clean()


def put(upload, data, kind="video/mp4"):
    """As a browser does it: fetch, straight to the bucket."""
    script = ("const [url, kind] = process.argv.slice(1); const { readFileSync } = require('fs');"
              "fetch(url, { method: 'PUT', body: readFileSync(0), headers: { 'Content-Type': kind } })"
              ".then((answer) => console.log(answer.status))")
    done = subprocess.run(["node", "-e", script, upload["uploadUrl"], kind], input=data, capture_output=True, timeout=30)
    return int(done.stdout or 0)


def stored(storage, upload):
    keys = {"AWS_ACCESS_KEY_ID": rgw.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": rgw.SECRET_KEY}
    line = ["node", str(HERE / "bucket_object.mjs"), storage.endpoint, "drop", "in box/" + upload["fileKey"]]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30, env={**os.environ, **keys})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_the_browser_to_the_bucket_to_a_job(storage, daemon):
    data = random.Random(1).randbytes(1_000_000)
    upload = announce(daemon, daemon.ann, pipeline="take", params={"word": "s3"})
    assert KEY.fullmatch(upload["fileKey"]) and upload["bucketName"] == "drop"
    assert upload["uploadUrl"].startswith(storage.endpoint) and upload["fileUrl"].startswith(storage.endpoint)
    assert "X-Amz-Expires=3600" in upload["uploadUrl"] and "?" not in upload["fileUrl"]
    assert confirm(daemon, upload, daemon.ann).status == 409
    assert not stored(storage, upload)["found"]
    assert put(dict(upload, uploadUrl=upload["uploadUrl"].replace("clip-one", "clip-two")), data) == 403
    assert put(upload, data) == 200
    wanted = hashlib.sha256(data).hexdigest()
    assert stored(storage, upload) == {"found": True, "bytes": len(data), "sha256": wanted, "contentType": "video/mp4"}
    assert confirm(daemon, upload, daemon.bob).status == 404
    first = confirm(daemon, upload, daemon.ann)
    assert first.status == 202, first
    done = daemon.wait_job(first.json["jobId"], token=daemon.ann)
    assert done["status"] == "completed", done
    assert done["result"] == {"sha256": wanted, "bytes": len(data), "said": "s3"}
    assert "X-Amz-Signature=" not in json.dumps(done) or "***" in json.dumps(done)  # no address that others could use
    daemon.restart(kill=True)
    assert confirm(daemon, upload, daemon.ann).json["jobId"] == first.json["jobId"]
    back = daemon.get("/api/v1/uploads/" + upload["fileKey"], token=daemon.ann)
    assert back.status == 307 and urllib.parse.urlsplit(back.headers["Location"]).netloc in storage.endpoint


def test_a_pipeline_that_reads_a_file_gets_it_from_the_bucket(storage, daemon, tmp_path):
    clip = tmp_path / "clip.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10:duration=1", "-c:v", "libx264",
                    "-preset", "ultrafast", str(clip)], check=True, timeout=30)
    upload = announce(daemon, daemon.ann, pipeline="look")
    assert put(upload, clip.read_bytes()) == 200
    made = confirm(daemon, upload, daemon.ann).json
    done = daemon.wait_job(made["jobId"], token=daemon.ann)
    assert done["status"] == "completed", done
    asset = daemon.get(f"/api/v1/assets/{made['assetId']}", token=daemon.ann).json
    assert asset["width"] == 320 and asset["bytes"] == clip.stat().st_size
    job = daemon.submit("look", input=upload["fileKey"], token=daemon.ann)
    assert daemon.wait_job(job["id"], token=daemon.ann)["status"] == "completed"
    assert daemon.delete("/api/v1/uploads/" + upload["fileKey"], token=daemon.ann).status == 204
    assert not stored(storage, upload)["found"]


def test_what_is_too_large_is_found_at_confirmation(storage, daemon):
    upload = announce(daemon, daemon.ann, pipeline="take")
    assert put(upload, b"x" * 3_000_001) == 200  # a bucket takes what comes
    assert confirm(daemon, upload, daemon.ann).status == 413


def test_a_batch_over_a_prefix_makes_a_job_an_object(storage, daemon):
    """Sizes are known from the listing; what a caller may list is what is theirs."""
    clip = (pathlib.Path(os.environ.get("STAGEMILL_CLIPS", ROOT / "build" / "clips")) / "VID_20191220_170832.mp4").read_bytes()
    for name, data in (("one.mp4", clip), ("two three.mp4", clip + b"tail"), ("big.mp4", bytes(9_000_000)), ("empty.mp4", b"")):
        path = storage.folder / name
        path.write_bytes(data)
        storage.s3cmd("put", str(path), f"s3://drop/films/2026/{name}")
    source = {"s3": {"bucket": "drop", "prefix": "films/"}}
    body = {"pipeline": "look", "source": source, "maxFileSize": 8_000_000}
    assert daemon.post("/api/v1/batches", body, token=daemon.ann).status == 403
    batch = daemon.post("/api/v1/batches", body).json["id"]
    wait_until(lambda: daemon.get(f"/api/v1/batches/{batch}").json["status"] in ("completed", "failed"), 40)
    found = daemon.get(f"/api/v1/batches/{batch}").json
    files = {f["name"]: f["status"] for f in daemon.get(f"/api/v1/batches/{batch}/files").json["files"]}
    assert files == {"2026/one.mp4": "completed", "2026/two three.mp4": "completed", "2026/big.mp4": "oversized",
                     "2026/empty.mp4": "skipped"}, (found, files)
    again = daemon.post("/api/v1/batches", body).json["id"]
    wait_until(lambda: daemon.get(f"/api/v1/batches/{again}").json["status"] in ("completed", "failed"), 40)
    assert daemon.get(f"/api/v1/batches/{again}").json["skippedFiles"] == 3, "what was done is not done again"
