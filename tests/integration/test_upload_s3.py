"""The upload stage into a real S3 server (Ceph's gateway), judged by s3cmd; faults come from a proxy in between."""
import itertools
import pathlib
import random
import sys
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
import rgw  # noqa: E402
from faulty_proxy import FaultyProxy  # noqa: E402
from task_stage import kill_stage, run_stage  # noqa: E402

pytestmark = pytest.mark.skipif(rgw.missing() is not None, reason=str(rgw.missing()))

MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n480p/index.m3u8\n"
MEDIA = "#EXTM3U\n#EXTINF:6,\nseg_000.ts\n#EXT-X-ENDLIST\n"
number = itertools.count(1)
ODD = "odd a+b=(c)'*!~é&%.ts"
MIB = 1 << 20


@pytest.fixture(scope="module")
def storage():
    storage = rgw.Rgw()
    yield storage
    storage.stop()


@pytest.fixture
def bucket(storage):
    return storage.make_bucket(f"bucket-{next(number)}")


@pytest.fixture
def proxy(storage):
    proxy = FaultyProxy(storage.endpoint)
    yield proxy
    proxy.stop()


@pytest.fixture
def tree(tmp_path):
    stream, poster = tmp_path / "stream", tmp_path / "poster"
    (stream / "480p").mkdir(parents=True)
    poster.mkdir()
    (stream / "master.m3u8").write_text(MASTER)
    (stream / "480p/index.m3u8").write_text(MEDIA)
    (stream / "480p/seg_000.ts").write_bytes(random.Random(1).randbytes(300_000))
    (stream / "480p" / ODD).write_bytes(random.Random(2).randbytes(100_000))
    (stream / "480p/empty.ts").write_bytes(b"")
    (poster / "poster.jpg").write_bytes(b"jpeg")
    return tmp_path


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.mp4"
    path.write_bytes(random.Random(3).randbytes(17 * MIB + 123))
    return path


def both(tree):
    return [("tree", f"files={tree}/stream,stage=stream"), ("tree", f"files={tree}/poster,stage=poster")]


def settings(endpoint, bucket, **more):
    return {"to": f"s3://{bucket}/vod/job 1/", "endpoint": endpoint, "access-key": rgw.ACCESS_KEY,
            "secret-key": rgw.SECRET_KEY, **{name.replace("_", "-"): value for name, value in more.items()}}


def upload(tmp_path, params, inputs, **options):
    return run_stage("upload", "upload", tmp_path / "out", params, inputs, **options)


def test_everything_arrives_with_types_and_the_right_bytes(storage, bucket, tree):
    report = upload(tree, settings(storage.endpoint, bucket, cache_control="max-age=31536000",
                                   playlist_cache_control="no-cache", acl="public-read"), both(tree))
    assert report.verdict == "ok", report.message
    names = ["poster/poster.jpg", "stream/480p/empty.ts", "stream/480p/index.m3u8", f"stream/480p/{ODD}",
             "stream/480p/seg_000.ts", "stream/master.m3u8"]
    assert storage.keys(bucket) == sorted("vod/job 1/" + name for name in names)
    for name in names:
        assert storage.read(bucket, "vod/job 1/" + name) == (tree / name).read_bytes()
    info = storage.info(bucket, "vod/job 1/stream/master.m3u8")
    assert "application/vnd.apple.mpegurl" in info and "READ" in info, info
    info = storage.info(bucket, "vod/job 1/stream/480p/seg_000.ts")
    assert "video/mp2t" in info, info
    url = f"{storage.endpoint}/{bucket}/vod/job%201/stream/master.m3u8"
    assert report.results["url"] == url and report.results["target"] == f"s3://{bucket}/vod/job 1/"
    assert (report.results["files"], report.results["sent"]) == (6, 6)
    with urllib.request.urlopen(url) as answer:
        assert answer.read().decode() == MASTER, "with public-read the URL in the result is playable as it stands"
        assert answer.headers["Cache-Control"] == "no-cache"
    with urllib.request.urlopen(url.replace("master.m3u8", "480p/seg_000.ts")) as answer:
        assert answer.headers["Cache-Control"] == "max-age=31536000"


def test_playlists_come_after_what_they_name(bucket, tree, proxy):
    assert upload(tree, settings(proxy.url, bucket), both(tree)).verdict == "ok"
    order = [request.path.rsplit("/", 1)[1] for request in proxy.asked("PUT")]
    assert order[-2:] == ["index.m3u8", "master.m3u8"] and len(order) == 6


def test_a_failing_segment_keeps_the_playlists_away(storage, bucket, tree, proxy):
    proxy.rule = lambda r: ("answer", 503, b"") if r.method == "PUT" and "seg_000" in r.path else None
    report = upload(tree, settings(proxy.url, bucket, attempts=2), both(tree))
    assert report.verdict == "retry" and "503" in report.message
    assert not any(key.endswith(".m3u8") for key in storage.keys(bucket))


def test_a_second_attempt_sends_only_what_is_missing(storage, bucket, tree, proxy):
    proxy.rule = lambda r: ("answer", 500, b"") if r.method == "PUT" and "master" in r.path else None
    assert upload(tree, settings(proxy.url, bucket, attempts=1), both(tree)).verdict == "retry"
    proxy.rule = lambda r: None
    proxy.seen.clear()
    report = upload(tree, settings(proxy.url, bucket), both(tree), attempt=2)
    assert report.verdict == "ok" and report.results["sent"] == 1
    assert [request.path.rsplit("/", 1)[1] for request in proxy.asked("PUT")] == ["master.m3u8"]
    assert storage.read(bucket, "vod/job 1/stream/master.m3u8").decode() == MASTER


def test_changed_bytes_or_headers_are_sent_again(storage, bucket, tree):
    upload(tree, settings(storage.endpoint, bucket), both(tree))
    (tree / "poster/poster.jpg").write_bytes(b"JPEG")
    assert upload(tree, settings(storage.endpoint, bucket), both(tree)).results["sent"] == 1
    assert storage.read(bucket, "vod/job 1/poster/poster.jpg") == b"JPEG"
    report = upload(tree, settings(storage.endpoint, bucket, playlist_cache_control="no-cache"), both(tree))
    assert report.results["sent"] == 2, "the two playlists have another Cache-Control now"


@pytest.mark.parametrize("fault", [("cut",), ("deaf",), ("answer", 500, b""), ("etag", '"' + "0" * 32 + '"'),
                                   ("answer", 503, b"<Error><Code>SlowDown</Code></Error>")])
def test_an_object_that_fails_once_is_sent_once_more(storage, bucket, tree, proxy, fault):
    hit = []

    def rule(request):
        if request.method == "PUT" and "seg_000" in request.path and not hit:
            hit.append(request)
            return fault
    proxy.rule = rule
    report = upload(tree, settings(proxy.url, bucket), both(tree))
    assert report.verdict == "ok", report.message
    assert len([r for r in proxy.asked("PUT") if "seg_000" in r.path]) == 2
    assert storage.read(bucket, "vod/job 1/stream/480p/seg_000.ts") == (tree / "stream/480p/seg_000.ts").read_bytes()


def test_large_files_go_in_parts(storage, bucket, large, tmp_path, proxy):
    report = upload(tmp_path, settings(proxy.url, bucket, part_size="5Mi"), [("input", f"files={large}")])
    assert report.verdict == "ok", report.message
    assert sorted(int(r.query["partNumber"]) for r in proxy.asked("PUT", uploadId=None)) == [1, 2, 3, 4]
    assert storage.read(bucket, "vod/job 1/large.mp4") == large.read_bytes()
    assert storage.uploads(bucket) == []
    assert "video/mp4" in storage.info(bucket, "vod/job 1/large.mp4")


def test_a_killed_multipart_upload_goes_on_with_the_missing_parts(storage, bucket, large, tmp_path, proxy):
    params = settings(proxy.url, bucket, part_size="5Mi", concurrency="1")
    saved = {"checkpoints": tmp_path / "points.json"}
    kill_stage("upload", "upload", tmp_path / "out", params, [("input", f"files={large}")], kill_at=0.7, **saved)
    first = proxy.asked("POST", uploads="")
    proxy.seen.clear()
    report = upload(tmp_path, params, [("input", f"files={large}")], attempt=2, **saved)
    assert report.verdict == "ok", report.message
    assert len(first) == 1 and proxy.asked("POST", uploads="") == [], "the same upload goes on"
    assert "2 of 4 parts are there" in report.lines
    assert sorted(int(r.query["partNumber"]) for r in proxy.asked("PUT", uploadId=None)) == [3, 4]
    assert storage.read(bucket, "vod/job 1/large.mp4") == large.read_bytes()


def test_parts_of_another_file_are_not_taken_over(storage, bucket, large, tmp_path, proxy):
    params = settings(proxy.url, bucket, part_size="5Mi", concurrency="1")
    saved = {"checkpoints": tmp_path / "points.json"}
    kill_stage("upload", "upload", tmp_path / "out", params, [("input", f"files={large}")], kill_at=0.7, **saved)
    data = bytearray(large.read_bytes())
    data[7] ^= 1
    large.write_bytes(data)
    report = upload(tmp_path, params, [("input", f"files={large}")], attempt=2, **saved)
    assert report.verdict == "ok", report.message
    assert storage.read(bucket, "vod/job 1/large.mp4") == bytes(data)


@pytest.mark.parametrize("fault", [("cut",), ("deaf",), ("answer", 500, b""), ("etag", '"' + "0" * 32 + '"')])
def test_a_part_that_fails_once_is_sent_once_more(storage, bucket, large, tmp_path, proxy, fault):
    hit = []

    def rule(request):
        if request.query.get("partNumber") == "2" and not hit:
            hit.append(request)
            return fault
    proxy.rule = rule
    report = upload(tmp_path, settings(proxy.url, bucket, part_size="5Mi"), [("input", f"files={large}")])
    assert report.verdict == "ok", report.message
    assert storage.read(bucket, "vod/job 1/large.mp4") == large.read_bytes()


def test_a_lost_answer_to_complete_is_no_second_upload(storage, bucket, large, tmp_path, proxy):
    hit = []

    def rule(request):
        if request.method == "POST" and "uploadId" in request.query and not hit:
            hit.append(request)
            return ("deaf",)
    proxy.rule = rule
    report = upload(tmp_path, settings(proxy.url, bucket, part_size="5Mi"), [("input", f"files={large}")])
    assert report.verdict == "ok", report.message
    assert len(proxy.asked("PUT", uploadId=None)) == 4 and len(proxy.asked("POST", uploads="")) == 1


def test_a_refused_large_file_leaves_no_upload_behind(storage, bucket, large, tmp_path, proxy):
    proxy.rule = lambda r: (("answer", 403, b"<Error><Code>AccessDenied</Code></Error>")
                            if r.query.get("partNumber") == "2" else None)
    report = upload(tmp_path, settings(proxy.url, bucket, part_size="5Mi"), [("input", f"files={large}")])
    assert report.verdict == "fail"
    assert storage.uploads(bucket) == [] and storage.keys(bucket) == []


@pytest.mark.parametrize("change, words", [
    ({"secret-key": "wrong"}, "secret-key"), ({"access-key": "nobody"}, "access-key"),
    ({"to": "s3://no-such-bucket/x"}, "does not exist"), ({"endpoint": "ftp://x"}, "neither http nor https"),
    ({"to": "s3://x/y"}, "bucket name")])
def test_what_the_operator_must_mend_fails_with_the_cure(storage, bucket, tree, change, words):
    report = upload(tree, {**settings(storage.endpoint, bucket), **change}, both(tree))
    assert report.verdict == "fail" and words in report.message, report.message
    if "endpoint" not in change and change.get("to") != "s3://x/y":
        assert storage.endpoint in report.message and (bucket in report.message or "no-such-bucket" in report.message)
    assert rgw.SECRET_KEY not in str(report)


def test_a_server_that_is_away_is_a_retry(tree):
    report = upload(tree, settings("http://127.0.0.1:1", "bucket", attempts=3), both(tree))
    assert report.verdict == "retry" and "http://127.0.0.1:1" in report.message and report["ms"] < 3000


@pytest.mark.parametrize("when", ["GET", "PUT"])
def test_cancelling_takes_less_than_a_second(bucket, tree, proxy, when):
    proxy.rule = lambda r: ("hang",) if r.method == when else None
    report = upload(tree, settings(proxy.url, bucket), both(tree), cancel_after=700)
    assert report.verdict == "cancelled" and report["ms"] < 1700


def test_a_server_that_stalls_is_given_up(bucket, tree, proxy):
    proxy.rule = lambda r: ("hang",) if r.method == "PUT" else None
    report = upload(tree, settings(proxy.url, bucket, timeout="1s", attempts=1), both(tree))
    assert report.verdict == "retry" and report["ms"] < 12000
