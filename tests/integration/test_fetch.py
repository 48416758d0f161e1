"""The fetch stage against a server that misbehaves: every ending has the right verdict, and nothing half done is passed on."""
import hashlib
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
from faulty_http import BODY, SHA256, FaultyServer  # noqa: E402
from task_stage import kill_stage, run_stage  # noqa: E402


@pytest.fixture
def server():
    server = FaultyServer()
    yield server
    server.stop()


def fetch(tmp_path, url, params=None, **options):
    return run_stage("fetch", "fetch", tmp_path / "out", {"url": url, **(params or {})}, **options)


def brought(tmp_path, report):
    assert report.verdict == "ok", report.message
    (output,) = report["outputs"]
    data = (tmp_path / "out" / output["name"]).read_bytes()
    assert report.results["sha256"] == hashlib.sha256(data).hexdigest()
    assert report.results["bytes"] == len(data)
    assert os.listdir(tmp_path / "out") == [output["name"]], "nothing but the file is left behind"
    return data


def test_a_whole_file_comes_with_its_facts(server, tmp_path):
    report = fetch(tmp_path, server.url + "/good/clip.mp4", {"sha256": SHA256})
    assert brought(tmp_path, report) == BODY
    assert report.results["name"] == "clip.mp4"
    assert report.results["media_type"] == "video/mp4"
    assert report["progress"]["fraction"] == 1


def test_a_broken_connection_is_taken_up_where_it_stopped(server, tmp_path):
    report = fetch(tmp_path, server.url + "/cut/clip.mp4?after=900000&times=3")
    assert brought(tmp_path, report) == BODY
    ranges = [headers.get("Range") for _, headers in server.seen]
    starts = [0] + [int(wanted[len("bytes=") : -1]) for wanted in ranges[1:]]
    assert ranges[0] is None and len(starts) == 4
    assert all(0 < b - a <= 900000 for a, b in zip(starts, starts[1:])), "each goes on exactly where the last one ended"
    assert all(headers.get("If-Range") == '"v1"' for _, headers in server.seen[1:])


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    report = fetch(tmp_path, server.url + "/changing/clip.mp4?after=900000")
    assert brought(tmp_path, report) == BODY


def test_without_a_validator_nothing_is_glued_together(server, tmp_path):
    report = fetch(tmp_path, server.url + "/cut-plain/clip.mp4?after=900000")
    assert report.verdict == "retry"
    assert len(server.seen) == 1


def test_a_wrong_range_starts_over(server, tmp_path):
    report = fetch(tmp_path, server.url + "/wrong-range/clip.mp4")
    assert brought(tmp_path, report) == BODY


def test_a_server_that_dies_for_good_is_a_retry(server, tmp_path):
    report = fetch(tmp_path, server.url + "/cut/clip.mp4?after=0&times=100")
    assert report.verdict == "retry"
    report = fetch(tmp_path, server.url + "/cut/clip.mp4?after=1000&times=1000")
    assert report.verdict == "retry" and len(server.seen) < 40


@pytest.mark.parametrize("path", ["/endless/clip.mp4", "/plain/clip.mp4"])
def test_max_size_holds_whatever_the_server_announces(server, tmp_path, path):
    report = fetch(tmp_path, server.url + path, {"max-size": "1000k"})
    assert report.verdict == "fail" and "max-size" in report.message
    assert not any((tmp_path / "out").iterdir())
    assert report["wall_s"] < 10


def test_fewer_bytes_than_announced_is_no_success(server, tmp_path):
    report = fetch(tmp_path, server.url + "/long/clip.mp4")
    assert report.verdict == "retry" and report["outputs"] == []


@pytest.mark.parametrize("status, verdict", [(404, "fail"), (403, "fail"), (410, "fail"), (418, "fail"),
                                             (500, "retry"), (503, "retry"), (429, "retry"), (501, "fail")])
def test_statuses_and_verdicts(server, tmp_path, status, verdict):
    report = fetch(tmp_path, f"{server.url}/status/{status}")
    assert report.verdict == verdict and str(status) in report.message


def test_an_overloaded_server_is_the_engines_to_retry(server, tmp_path):
    first = fetch(tmp_path, server.url + "/flaky/clip.mp4?times=1")
    assert first.verdict == "retry" and "wait 3 s" in first.message
    assert brought(tmp_path, fetch(tmp_path, server.url + "/flaky/clip.mp4?times=1", attempt=2)) == BODY


def test_redirects_are_bounded_and_stay_on_the_web(server, tmp_path):
    good = server.url + "/good/clip.mp4"
    assert brought(tmp_path, fetch(tmp_path, f"{server.url}/to?code=307&url={good}")) == BODY
    loop = fetch(tmp_path, server.url + "/loop")
    assert loop.verdict == "fail" and "redirects more often" in loop.message and len(server.seen) == 2 + 6
    for bad in ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:70/_x"]:
        report = fetch(tmp_path, f"{server.url}/to?url={bad}")
        assert report.verdict == "fail" and "neither http nor https" in report.message


def test_credentials_stay_with_their_host_and_out_of_every_word(server, tmp_path):
    other = FaultyServer("127.0.0.2")
    try:
        url = server.url.replace("//", "//me:s3cret@") + f"/to?url={other.url}/good/clip.mp4"
        report = fetch(tmp_path, url, {"headers": ["X-Token: hush-hush"]})
        assert brought(tmp_path, report) == BODY
        (_, at_first), (_, at_other) = server.seen[0], other.seen[0]
        assert at_first["X-Token"] == "hush-hush" and at_first["Authorization"].startswith("Basic ")
        assert "X-Token" not in at_other and "Authorization" not in at_other
        assert "s3cret" not in str(report) and "hush" not in str(report)
    finally:
        other.stop()


def test_user_and_password_in_the_url_are_used(server, tmp_path):
    assert brought(tmp_path, fetch(tmp_path, server.url.replace("//", "//me:s3cret@") + "/auth/clip.mp4")) == BODY
    report = fetch(tmp_path, server.url.replace("//", "//me:wrong@") + "/auth/clip.mp4")
    assert report.verdict == "fail" and "401" in report.message and "wrong" not in str(report)


def test_public_only_refuses_this_machine(server, tmp_path):
    for url in [server.url, server.url.replace("127.0.0.1", "localhost")]:
        report = fetch(tmp_path, url + "/good/clip.mp4", {"networks": "public"})
        assert report.verdict == "fail" and "not a public one" in report.message
    assert server.seen == []


def test_silence_ends_in_a_retry(server, tmp_path):
    for path in ["/hang", "/silent"]:
        report = fetch(tmp_path, server.url + path, {"timeout": "1s"})
        assert report.verdict == "retry" and report["wall_s"] < 12, report.message


@pytest.mark.parametrize("path", ["/slow", "/silent", "/hang", "/endless"])
def test_cancelling_takes_effect_at_once(server, tmp_path, path):
    report = fetch(tmp_path, server.url + path, cancel_after=300)
    assert report.verdict == "cancelled" and report["ms"] < 4000  # the transfers would go on for a minute; a busy machine is given its time


def test_an_unreachable_host_is_a_retry_that_names_it(tmp_path):
    report = fetch(tmp_path, "http://127.0.0.1:1/clip.mp4")
    assert report.verdict == "retry" and "127.0.0.1:1" in report.message


@pytest.mark.parametrize("query, name, media_type", [
    ("d=attachment;filename=%22a+b.mov%22", "a b.mov", "video/quicktime"),
    ("d=attachment;filename*=UTF-8''f%25C3%25BCr.mp4", "für.mp4", "video/mp4"),
    ("d=attachment;filename=%22../../etc/x.mp4%22", "x.mp4", "video/mp4"),
    ("d=attachment;filename=%22..%22", "named.webm", "video/webm"),
    ("t=video/webm", "named.webm", "video/webm"),
    ("t=text/html;charset=x", "named.html", "text/html"),
    ("t=bad", "named", "application/octet-stream"),
])
def test_names_and_types_a_server_gives_are_made_harmless(server, tmp_path, query, name, media_type):
    if ".." in query and "x.mp4" not in query:
        query += "&t=video/webm"
    report = fetch(tmp_path, f"{server.url}/named?{query}")
    assert brought(tmp_path, report) == BODY
    assert report.results["name"] == name and report.results["media_type"] == media_type


def test_an_endless_name_is_cut_and_keeps_its_extension(server, tmp_path):
    report = fetch(tmp_path, f"{server.url}/named?d=attachment;filename=%22{'a' * 900}.mp4%22")
    assert brought(tmp_path, report) == BODY
    assert report.results["name"] == "a" * 196 + ".mp4"


def test_the_operators_name_wins_and_may_not_leave_the_folder(server, tmp_path):
    assert fetch(tmp_path, server.url + "/good/x.mp4", {"name": "mine.bin"}).results["name"] == "mine.bin"
    for bad in ["../x", "a/b", "..", "x" * 300]:
        assert fetch(tmp_path, server.url + "/good/x.mp4", {"name": bad}).verdict == "fail"


def test_a_wrong_digest_is_a_failure_and_no_file(server, tmp_path):
    report = fetch(tmp_path, server.url + "/good/clip.mp4", {"sha256": "0" * 64})
    assert report.verdict == "fail" and SHA256 in report.message and not any((tmp_path / "out").iterdir())


def test_the_next_attempt_goes_on_from_the_kept_part(server, tmp_path):
    (tmp_path / "keep").mkdir()
    kept = {"keep": tmp_path / "keep", "checkpoints": tmp_path / "points.json"}
    params = {"url": server.url + "/slow/clip.mp4?ms=1"}
    kill_stage("fetch", "fetch", tmp_path / "out1", params, kill_at=0.5, **kept)
    part = (tmp_path / "keep" / "fetch.partial").stat().st_size
    assert part >= len(BODY) // 2
    report = run_stage("fetch", "fetch", tmp_path / "out2", params, attempt=2, **kept)
    assert report.verdict == "ok" and (tmp_path / "out2" / "clip.mp4").read_bytes() == BODY
    assert server.seen[1][1]["Range"] == f"bytes={part}-"


def test_a_kept_part_of_another_version_is_not_used(server, tmp_path):
    (tmp_path / "keep").mkdir()
    kept = {"keep": tmp_path / "keep", "checkpoints": tmp_path / "points.json"}
    params = {"url": server.url + "/changing/clip.mp4?after=2000000"}
    kill_stage("fetch", "fetch", tmp_path / "out1", params, kill_at=0.3, **kept)
    report = run_stage("fetch", "fetch", tmp_path / "out2", params, attempt=2, **kept)
    assert report.verdict == "ok" and (tmp_path / "out2" / "clip.mp4").read_bytes() == BODY


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_paths_and_file_urls(tmp_path, form):
    source = tmp_path / "a clip.mkv"
    source.write_bytes(BODY)
    path = str(source) if form == "{}" else str(source).replace(" ", "%20")
    report = fetch(tmp_path, form.format(path))
    assert brought(tmp_path, report) == BODY
    assert report.results["media_type"] == "video/x-matroska" and source.exists()


def test_local_things_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for url, words in [(tmp_path, "not a regular file"), (tmp_path / "fifo", "not a regular file"),
                       (tmp_path / "absent", "correct `url`"), ("file://elsewhere/x", "names host elsewhere"),
                       ("ftp://h/x", "not supported"), ("http://", "has no host"), ("", "is empty")]:
        report = fetch(tmp_path, url)
        assert report.verdict == "fail" and words in report.message


def test_schemes_can_be_narrowed(server, tmp_path):
    report = fetch(tmp_path, "/etc/hostname", {"schemes": ["http", "https"]})
    assert report.verdict == "fail" and "schemes" in report.message
    assert fetch(tmp_path, server.url + "/good/x.mp4", {"schemes": ["http"]}).verdict == "ok"


def test_headers_must_be_headers(server, tmp_path):
    for bad in ["no colon", "A B: c", ": x", "X: a\r\nEvil: b"]:
        assert fetch(tmp_path, server.url + "/good/x", {"headers": [bad]}).verdict == "fail"
    assert server.seen == []
