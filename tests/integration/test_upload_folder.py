"""The upload stage into a folder: each file whole or absent, playlists after what they name, nothing sent twice."""
import os
import pathlib
import random
import subprocess

import pytest

from task_stage import kill_stage, run_stage

MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n480p/index.m3u8\n"
MEDIA = "#EXTM3U\n#EXTINF:6,\nseg_000.ts\n#EXT-X-ENDLIST\n"


@pytest.fixture
def tree(tmp_path):
    """What an hls and a poster stage leave behind."""
    stream, poster = tmp_path / "stream", tmp_path / "poster"
    (stream / "480p").mkdir(parents=True)
    poster.mkdir()
    (stream / "master.m3u8").write_text(MASTER)
    (stream / "480p" / "index.m3u8").write_text(MEDIA)
    for number in range(3):
        (stream / "480p" / f"seg_00{number}.ts").write_bytes(random.Random(number).randbytes(200_000))
    (poster / "poster.jpg").write_bytes(b"jpeg")
    return tmp_path


def both(tree):
    return [("tree", f"files={tree}/stream,stage=stream"), ("tree", f"files={tree}/poster,stage=poster")]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*") if path.is_file())


def upload(tree, to, params=None, inputs=None, **options):
    return run_stage("upload", "upload", tree / "out", {"to": to, **(params or {})}, inputs or both(tree), **options)


def test_artifacts_of_several_stages_stand_in_folders_of_their_own(tree):
    report = upload(tree, tree / "www/job-1/")
    assert report.verdict == "ok", report.message
    assert files(tree / "www/job-1") == ["poster/poster.jpg", "stream/480p/index.m3u8", "stream/480p/seg_000.ts",
                                         "stream/480p/seg_001.ts", "stream/480p/seg_002.ts", "stream/master.m3u8"]
    assert report.results["url"] == f"{tree}/www/job-1/stream/master.m3u8"
    assert report.results["target"] == f"{tree}/www/job-1/"
    assert (report.results["files"], report.results["sent"]) == (6, 6)
    assert report["progress"]["fraction"] == 1 and report["progress"]["items"] == 6
    for name in files(tree / "www/job-1"):
        assert (tree / "www/job-1" / name).read_bytes() == (tree / name).read_bytes()


def test_one_stage_alone_needs_no_folder_unless_asked(tree):
    one = [("tree", f"files={tree}/stream,stage=stream")]
    assert upload(tree, tree / "a", inputs=one).results["url"] == f"{tree}/a/master.m3u8"
    assert upload(tree, tree / "b", {"layout": "stages"}, inputs=one).results["url"] == f"{tree}/b/stream/master.m3u8"
    assert upload(tree, tree / "c", {"layout": "flat"}).results["url"] == f"{tree}/c/master.m3u8"


def test_playlists_appear_after_what_they_name(tree):
    trace = tree / "trace"
    line = ["strace", "-f", "-e", "trace=rename", "-o", str(trace)]
    if not any(os.access(f"{folder}/strace", os.X_OK) for folder in os.environ["PATH"].split(":")):
        pytest.skip("strace is not installed")
    import task_stage
    whole = line + task_stage.arguments("upload", "upload", tree / "out", {"to": tree / "www"}, both(tree), {})
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")  # the leak checker cannot look into a traced process
    subprocess.run(whole, check=True, capture_output=True, timeout=60, env=env)
    order = [row.split('"')[3].rsplit("/", 1)[1] for row in trace.read_text().splitlines() if "rename(" in row]
    assert sorted(order[:4]) == ["poster.jpg", "seg_000.ts", "seg_001.ts", "seg_002.ts"]
    assert order[4:] == ["index.m3u8", "master.m3u8"]


def test_what_is_there_already_is_not_written_again(tree):
    upload(tree, tree / "www")
    before = {name: (tree / "www" / name).stat().st_ino for name in files(tree / "www")}
    (tree / "stream/480p/seg_001.ts").write_bytes(b"other bytes")
    report = upload(tree, tree / "www", attempt=2)
    assert report.results["sent"] == 1 and "5 of 6" in report.lines
    changed = [name for name in before if (tree / "www" / name).stat().st_ino != before[name]]
    assert changed == ["stream/480p/seg_001.ts"]
    assert (tree / "www/stream/480p/seg_001.ts").read_bytes() == b"other bytes"


def test_a_killed_attempt_leaves_whole_files_and_the_next_one_goes_on(tree):
    (tree / "stream/480p/seg_001.ts").write_bytes(random.Random(9).randbytes(8_000_000))
    kill_stage("upload", "upload", tree / "out", {"to": tree / "www"}, both(tree), kill_at=0.5)
    there = [name for name in files(tree / "www") if "/.stagemill-" not in f"/{name}"]
    assert there and "stream/master.m3u8" not in there
    for name in there:
        assert (tree / "www" / name).read_bytes() == (tree / name).read_bytes()
    report = upload(tree, tree / "www", attempt=2)
    assert report.verdict == "ok" and report.results["sent"] == 6 - len(there)
    assert not any(".stagemill-" in name for name in files(tree / "www")), "the killed attempt's part file is gone"


def test_file_urls_and_public_urls(tree):
    report = upload(tree, f"file://{tree}/my%20www", {"public-url": "https://cdn.example.org/v/"})
    assert report.verdict == "ok" and (tree / "my www/stream/master.m3u8").exists()
    assert report.results["url"] == "https://cdn.example.org/v/stream/master.m3u8"
    assert report.results["target"] == f"file://{tree}/my%20www/"
    assert upload(tree, f"file://{tree}/my%20www").results["url"] == f"file://{tree}/my%20www/stream/master.m3u8"


def test_names_that_collide_are_refused_before_anything_is_written(tree):
    (tree / "poster/master.m3u8").write_text(MASTER)
    report = upload(tree, tree / "www", {"layout": "flat"})
    assert report.verdict == "fail" and "two files want to be master.m3u8" in report.message
    report = upload(tree, tree / "www", inputs=[("input", f"files={tree}/poster/poster.jpg,name=a"),
                                                ("input", f"files={tree}/poster/poster.jpg,name=a/b")])
    assert report.verdict == "fail" and "a file and a folder" in report.message
    assert not (tree / "www").exists()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a//b", "./x", "a/"])
def test_names_that_lead_out_of_the_target_are_refused(tree, name):
    report = upload(tree, tree / "www", inputs=[("input", f"files={tree}/poster/poster.jpg,name={name}")])
    assert report.verdict == "fail" and "leads elsewhere" in report.message


def test_a_link_in_the_target_is_replaced_not_followed(tree):
    (tree / "www/poster").mkdir(parents=True)
    (tree / "victim").write_text("untouched")
    (tree / "www/poster/poster.jpg").symlink_to(tree / "victim")
    assert upload(tree, tree / "www").verdict == "ok"
    assert (tree / "victim").read_text() == "untouched" and not (tree / "www/poster/poster.jpg").is_symlink()


@pytest.mark.parametrize("to, words", [("", "is empty"), ("relative/folder", "neither an absolute folder"),
                                       ("ftp://h/x", "cannot be written to"), ("https://u:pw@h/x", "cannot be written to"),
                                       ("file://other/x", "names host other"), ("s3:///x", "names no bucket"),
                                       ("s3://bucket/../x", '".."'), ("s3://bucket/x", "access-key"),
                                       ("/dev/null/x", "Not a directory")])
def test_targets_that_cannot_be(tree, to, words):
    report = upload(tree, to)
    assert report.verdict == "fail" and words in report.message and "pw" not in report.message


def test_a_full_disk_is_a_retry_that_says_so(tree):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = tree / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(small)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        report = upload(tree, small / "www")
        assert report.verdict == "retry" and "disk" in report.message and "make room" in report.message
        assert not any(".stagemill-" in name for name in files(small)), "the part that did not fit is removed"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_nothing_to_upload_is_an_error_not_a_success(tree):
    (tree / "empty").mkdir()
    report = upload(tree, tree / "www", inputs=[("tree", f"files={tree}/empty,stage=stream")])
    assert report.verdict == "fail" and "nothing to upload" in report.message


def test_cancelling_stops_a_large_copy_within_a_second(tree):
    large = tree / "large.bin"
    with open(large, "wb") as file:
        file.truncate(4 << 30)
    report = upload(tree, tree / "www", inputs=[("input", f"files={large}")], cancel_at=0.01)
    assert report.verdict == "cancelled" and report["ms"] < 3000
    assert files(tree / "www") == []
