"""Uploads in pieces by tus 1.0: the protocol by hand, and npm tus-js-client cut off and resumed."""
import base64
import calendar
import hashlib
import json
import pathlib
import random
import socket
import subprocess
import time
import urllib.parse

import pytest

from conftest import ROOT, Mill, wait_until
from serving import Daemon
from test_uploads import KEY, TAKE

HERE = pathlib.Path(__file__).resolve().parent
PATH = "/api/v1/uploads/tus/"
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    mill = Mill(tmp_path_factory.mktemp("tus"))
    with Daemon(mill, settings="uploads: { max: 9M, expires: 2h }\n", pipelines={"take": TAKE}) as daemon:
        daemon.ann, daemon.bob = daemon.mint("ann"), daemon.mint("bob")
        yield daemon
    mill.clean()


def metadata(**pairs):
    return ",".join(f"{name} {base64.b64encode(str(value).encode()).decode()}" for name, value in pairs.items())


def create(daemon, length, token=None, body=None, headers=None, **pairs):
    headers = {**TUS, "Upload-Length": str(length), **(headers or {})}
    if pairs:
        headers["Upload-Metadata"] = metadata(**pairs)
    answer = daemon.request("POST", PATH, body, token=token or daemon.ann, headers=headers)
    return answer


def address(daemon, answer):
    assert answer.status == 201, answer
    assert answer.headers["Location"].startswith(daemon.url + PATH)
    return urllib.parse.urlsplit(answer.headers["Location"]).path


def begin(daemon, length, **more):
    return address(daemon, create(daemon, length, **more))


def patch(daemon, path, offset, data, token=None, headers=None):
    return daemon.request("PATCH", path, data, token=token or daemon.ann,
                          headers={**PIECE, "Upload-Offset": str(offset), **(headers or {})})


def head(daemon, path, token=None):
    return daemon.request("HEAD", path, token=token or daemon.ann, headers=TUS)


def offset(daemon, path):
    answer = head(daemon, path)
    assert answer.status == 200, answer
    return int(answer.headers["Upload-Offset"])


def confirm(daemon, path, token=None):
    return daemon.post("/api/v1/uploads/confirm", {"fileKey": path.removeprefix(PATH)}, token=token or daemon.ann)


def checksum(kind, data):
    return {"Upload-Checksum": f"{kind} {base64.b64encode(hashlib.new(kind, data).digest()).decode()}"}


def stored(daemon, path):
    return daemon.get("/api/v1/uploads/" + path.removeprefix(PATH), token=daemon.ann)


def test_what_the_server_can_is_told_without_a_credential(daemon):
    answer = daemon.request("OPTIONS", PATH, token=None)
    assert answer.status in (200, 204) and answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) >= {"creation", "termination", "checksum", "expiration"}
    assert set(answer.headers["Tus-Checksum-Algorithm"].split(",")) == {"sha1", "sha256", "md5"}
    assert answer.headers["Tus-Max-Size"] == "9000000"


def test_piece_by_piece_to_a_job(daemon):
    data = random.Random(1).randbytes(300_000)
    created = create(daemon, len(data), filename="a film.mp4", filetype="video/mp4", asset="a1", pipeline="take",
                     params=json.dumps({"word": "tus"}))
    path = address(daemon, created)
    assert KEY.fullmatch(path.removeprefix(PATH))[3] == "a-film"
    expires = calendar.timegm(time.strptime(created.headers["Upload-Expires"], "%a, %d %b %Y %H:%M:%S GMT"))
    assert created.headers["Tus-Resumable"] == "1.0.0" and 7100 < expires - time.time() <= 7201
    assert confirm(daemon, path).status == 409
    first = patch(daemon, path, 0, data[:100_000])
    assert first.status == 204 and first.headers["Upload-Offset"] == "100000" and first.headers["Upload-Expires"]
    assert patch(daemon, path, 0, data[:10]).status == 409 and patch(daemon, path, 100_001, data[:10]).status == 409
    looked = head(daemon, path)
    assert looked.headers["Upload-Offset"] == "100000" and looked.headers["Upload-Length"] == "300000"
    assert looked.headers["Cache-Control"] == "no-store" and "filename" in looked.headers["Upload-Metadata"]
    assert patch(daemon, path, 100_000, data[100_000:], headers=checksum("sha256", data[100_000:])).status == 204
    assert offset(daemon, path) == len(data) and stored(daemon, path).body == data
    made = confirm(daemon, path)
    assert made.status == 202 and made.json["assetId"] == "a1", made
    done = daemon.wait_job(made.json["jobId"], token=daemon.ann)
    assert done["result"]["sha256"] == hashlib.sha256(data).hexdigest() and done["result"]["said"] == "tus"
    assert confirm(daemon, path).json == made.json


def test_malformed_requests_are_refused(daemon):
    path = begin(daemon, 10)
    assert daemon.request("HEAD", path, token=daemon.ann).status == 412
    wrong = daemon.request("POST", PATH, token=daemon.ann, headers={"Tus-Resumable": "0.2.2", "Upload-Length": "1"})
    assert wrong.status == 412 and wrong.headers["Tus-Version"] == "1.0.0"
    for headers in ({}, {"Upload-Length": "-1"}, {"Upload-Length": "1e3"}, {"Upload-Length": ""}, {"Upload-Defer-Length": "1"},
                    {"Upload-Length": "9" * 40}):
        assert daemon.request("POST", PATH, token=daemon.ann, headers={**TUS, **headers}).status == 400, headers
    for text in ("filename", "filename ????", "filename YQ", ",", "filename YQ==,filename YQ==", "a AAAA"):
        status = create(daemon, 1, headers={"Upload-Metadata": text}).status
        assert status == (201 if text == "filename" else 400), (text, status)
    assert create(daemon, 9_000_001).status == 413
    assert create(daemon, 1, pipeline="none").status == 400
    assert daemon.request("PATCH", path, b"x", token=daemon.ann, headers={**TUS, "Upload-Offset": "0", "Content-Type": "a/b"}
                          ).status == 415
    assert patch(daemon, path, 0, b"x", headers={"Upload-Offset": "zero"}).status == 400
    assert patch(daemon, path, 0, b"x" * 11).status == 413
    for text in ("crc32 AAAA", "sha1", "sha1 AAAA", "sha1 !!!!"):
        assert patch(daemon, path, 0, b"x", headers={"Upload-Checksum": text}).status == 400, text
    assert offset(daemon, path) == 0
    assert head(daemon, path, daemon.bob).status == 404 and patch(daemon, path, 0, b"x", daemon.bob).status == 404
    assert daemon.request("HEAD", path, token=None, headers=TUS).status == 401
    assert head(daemon, path.replace("file", "fine")).status == 404


@pytest.mark.parametrize("kind", ["sha1", "sha256", "md5"])
def test_a_piece_with_a_wrong_checksum_counts_for_nothing(daemon, kind):
    path = begin(daemon, 6)
    assert patch(daemon, path, 0, b"ab").status == 204
    assert patch(daemon, path, 2, b"xd", headers=checksum(kind, b"cd")).status == 460
    assert offset(daemon, path) == 2
    assert patch(daemon, path, 2, b"cd", headers=checksum(kind, b"cd")).status == 204
    assert patch(daemon, path, 4, b"xy", headers=checksum(kind, b"ef")).status == 460  # the last one too
    assert confirm(daemon, path).status == 409
    assert patch(daemon, path, 4, b"ef", headers=checksum(kind, b"ef")).status == 204
    assert stored(daemon, path).body == b"abcdef"


def test_creation_can_bring_the_first_piece_and_an_empty_file_is_complete(daemon):
    created = create(daemon, 6, body=b"abc", headers={"Content-Type": PIECE["Content-Type"]})
    assert created.headers["Upload-Offset"] == "3"
    path = address(daemon, created)
    override = daemon.request("POST", path, b"def", token=daemon.ann,
                              headers={**PIECE, "Upload-Offset": "3", "X-HTTP-Method-Override": "PATCH"})
    assert override.status == 204 and stored(daemon, path).body == b"abcdef"
    whole = address(daemon, create(daemon, 3, body=b"abc", headers={"Content-Type": PIECE["Content-Type"]}))
    assert stored(daemon, whole).body == b"abc"
    empty = begin(daemon, 0)
    assert offset(daemon, empty) == 0 and stored(daemon, empty).status == 200 and confirm(daemon, empty).status == 400


def test_termination(daemon):
    path = begin(daemon, 10)
    assert patch(daemon, path, 0, b"12345").status == 204
    assert daemon.request("DELETE", path, token=daemon.bob, headers=TUS).status == 404
    assert daemon.request("DELETE", path, token=daemon.ann, headers=TUS).status == 204
    assert head(daemon, path).status == 404 and patch(daemon, path, 5, b"6").status == 404
    name = path.rsplit("/", 1)[1]
    assert not [p for p in (daemon.state / "uploads").rglob("*") if p.name.startswith(name)]


def raw_patch(daemon, path, at, announced, data, headers=""):
    """A piece whose rest does not come."""
    host = urllib.parse.urlsplit(daemon.url)
    peer = socket.create_connection((host.hostname, host.port))
    peer.sendall(f"PATCH {path} HTTP/1.1\r\nHost: {host.netloc}\r\nAuthorization: Bearer {daemon.ann}\r\nTus-Resumable: 1.0.0\r\n"
                 f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: {at}\r\nContent-Length: {announced}\r\n{headers}\r\n"
                 .encode() + data)
    return peer


def partial(daemon, path):
    file = daemon.state / "uploads" / ".partial" / path.rsplit("/", 1)[1]
    return file.stat().st_size if file.exists() else 0


def test_one_at_a_time_and_what_came_is_kept(daemon):
    path = begin(daemon, 500_000)
    with raw_patch(daemon, path, 0, 500_000, b"a" * 200_000):
        wait_until(lambda: partial(daemon, path) >= 100_000)
        assert patch(daemon, path, 200_000, b"b").status == 423
        assert head(daemon, path).status == 423
        assert daemon.request("DELETE", path, token=daemon.ann, headers=TUS).status in (423, 429)
    wait_until(lambda: head(daemon, path).status == 200)
    assert offset(daemon, path) == 200_000
    rest = b"b" * 300_000
    with raw_patch(daemon, path, 200_000, 300_000, rest[:100_000],
                   "Upload-Checksum: " + checksum("sha1", rest)["Upload-Checksum"] + "\r\n"):
        wait_until(lambda: partial(daemon, path) >= 250_000)
    wait_until(lambda: head(daemon, path).status == 200)
    assert offset(daemon, path) == 200_000  # nobody knows whether half of it is right
    assert patch(daemon, path, 200_000, rest).status == 204
    assert stored(daemon, path).body == b"a" * 200_000 + rest


def test_the_offset_is_true_after_kill_9(daemon):
    plain, checked = begin(daemon, 500_000), begin(daemon, 500_000)
    assert patch(daemon, checked, 0, b"k" * 1000).status == 204
    piece = b"c" * 400_000
    with raw_patch(daemon, plain, 0, 500_000, b"p" * 123_456), \
            raw_patch(daemon, checked, 1000, 400_000, piece[:200_000],
                      "Upload-Checksum: " + checksum("md5", piece)["Upload-Checksum"] + "\r\n"):
        wait_until(lambda: partial(daemon, plain) >= 65_536 and partial(daemon, checked) >= 65_536)
        daemon.restart(kill=True)
    at = partial(daemon, plain)
    assert offset(daemon, plain) == at and 65_536 <= at <= 123_456 and offset(daemon, checked) == 1000
    assert patch(daemon, plain, at, b"q" * (500_000 - at)).status == 204
    assert stored(daemon, plain).body == b"p" * at + b"q" * (500_000 - at)


def run_client(daemon, file, store, abort=0, *pairs):
    line = ["node", str(HERE / "tus_upload.mjs"), daemon.url + PATH, daemon.ann, str(file), str(store), str(abort), *pairs]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not (ROOT / "tests/node_modules/tus-js-client").exists(), reason="tus-js-client is not installed (npm ci in tests/)")
def test_tus_js_client_is_cut_off_and_goes_on(daemon, tmp_path):
    """Killed in the middle; begun again while the daemon is killed and restarted under it."""
    data = random.Random(2).randbytes(8_000_000)
    file, store = tmp_path / "film.mp4", tmp_path / "store.json"
    file.write_bytes(data)
    words = ["filename=film.mp4", "filetype=video/mp4", "pipeline=take"]
    cut = run_client(daemon, file, store, 2_000_000, *words)
    out, _ = cut.communicate(timeout=30)
    assert cut.returncode == -9 and '"done"' not in out
    again = run_client(daemon, file, store, 0, *words)
    lines = []
    for line in again.stdout:
        lines.append(json.loads(line))
        if lines[-1].get("method") == "PATCH" and len([x for x in lines if x.get("method") == "PATCH"]) == 3:
            daemon.restart(kill=True)
    assert again.wait(30) == 0, (lines, again.stderr.read())
    assert lines[0] == {"resumed": True} and not [x for x in lines if x.get("method") == "POST"]
    looked = next(x for x in lines if x.get("method") == "HEAD")
    assert int(looked["offset"]) >= 1_500_000  # it did not begin anew
    path = urllib.parse.urlsplit(lines[-1]["done"]).path
    made = confirm(daemon, path)
    assert made.status == 202, made
    done = daemon.wait_job(made.json["jobId"], token=daemon.ann)
    assert done["result"]["sha256"] == hashlib.sha256(data).hexdigest()

