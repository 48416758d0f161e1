"""Many inputs in one request: a job a file, nothing done twice, one bad file never in the way of the others."""
import os
import pathlib
import shutil
import sys
import time
import zipfile

import pytest
from conftest import ROOT
from serving import Daemon

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
from drive import DOCUMENT, Drive  # noqa: E402

LOOK = """
stagemill: 1
name: look
stages: [{ id: info, uses: probe, retry: { attempts: 1 } }]
result: { duration: "${{ stages.info.duration }}" }
"""
NAP = "stagemill: 1\nname: nap\nstages: [{ id: nap, uses: slow, with: { for: 400ms } }]\n"


@pytest.fixture
def clip(tmp_path):
    source = pathlib.Path(os.environ.get("STAGEMILL_CLIPS", ROOT / "build" / "clips")) / "VID_20191220_170832.mp4"
    shutil.copy(source, tmp_path / "clip.mp4")
    return tmp_path / "clip.mp4"


def submit(daemon, pipeline, source, headers=None, token="", **more):
    answer = daemon.post("/api/v1/batches", {"pipeline": pipeline, "source": source, **more}, headers=headers or {}, token=token)
    assert answer.status == 202, answer
    assert answer.json["websocketUrl"].endswith(f"/ws?batchId={answer.json['id']}")
    return answer.json["id"]


def ended(daemon, batch, seconds=40):
    end = time.monotonic() + seconds
    while True:
        found = daemon.get(f"/api/v1/batches/{batch}").json
        if found["status"] in ("completed", "failed", "cancelled"):
            return found
        assert time.monotonic() < end, f"{found}\n{daemon.err}"
        time.sleep(0.05)


def files(daemon, batch):
    return {f["name"]: f for f in daemon.get(f"/api/v1/batches/{batch}/files").json["files"]}


def events(daemon, batch):
    found = daemon.get(f"/api/v1/batches/{batch}/events?since=0").json["events"]
    return [e for e in found if e["type"].startswith("batch-")]


def totals(batch):
    return [batch[f"{word}Files"] for word in ("processed", "failed", "oversized", "skipped")]


def test_one_bad_file_never_stops_the_others(mill, clip, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with Daemon(mill, pipelines={"look": LOOK}) as daemon:
        batch = submit(daemon, "look", {"list": [{"input": str(clip)}, {"input": str(tmp_path / "text.mp4")},
                                                 {"input": str(tmp_path / "nowhere.mp4")}]})
        found = ended(daemon, batch)
        assert found["status"] == "completed" and totals(found) == [1, 2, 0, 0]
        told = events(daemon, batch)
        assert told[0]["type"] == "batch-started" and told[0]["totalFiles"] == 3
        assert told[-1]["type"] == "batch-completed" and told[-1]["failedFiles"] == 2
        assert [e["seq"] for e in told] == list(range(1, len(told) + 1))
        assert all(e["batchId"] == batch and "jobId" not in e for e in (told[0], told[-1]))
        last = [e for e in told if e.get("filename") == "clip.mp4"][-1]
        assert last["status"] == "completed" and daemon.job(last["jobId"])["batchId"] == batch
        assert files(daemon, batch)["text.mp4"]["status"] == "failed"
        stranger = daemon.mint("stranger")
        assert daemon.get(f"/api/v1/batches/{batch}", token=stranger).status == 404
        assert daemon.post(f"/api/v1/batches/{batch}/cancel", token=stranger).status == 404
        assert daemon.post(f"/api/v1/batches/{batch}/cancel").status == 409


def test_an_archive_is_unpacked_and_what_was_done_is_not_done_again(mill, clip, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as z:
        z.write(clip, "a/one.mp4")
        z.writestr("two.mp4", clip.read_bytes() + b"tail")
        z.writestr("huge.mp4", b"\0" * 20_000_000)
        z.writestr("text.mp4", b"no video")
    with Daemon(mill, pipelines={"look": LOOK}) as daemon:
        batch = submit(daemon, "look", {"archive": str(tmp_path / "all.zip")}, maxFileSize=10_000_000)
        assert totals(ended(daemon, batch)) == [2, 1, 1, 0]
        assert files(daemon, batch)["huge.mp4"]["status"] == "oversized"
        again = submit(daemon, "look", {"archive": str(tmp_path / "all.zip")}, maxFileSize=10_000_000)
        assert totals(ended(daemon, again)) == [0, 1, 1, 2]
        assert files(daemon, again)["a/one.mp4"]["jobId"] == files(daemon, batch)["a/one.mp4"]["jobId"]
        forced = submit(daemon, "look", {"archive": str(tmp_path / "all.zip")}, maxFileSize=10_000_000, force=True)
        assert totals(ended(daemon, forced)) == [2, 1, 1, 0]
        broken = submit(daemon, "look", {"archive": str(clip)})
        found = ended(daemon, broken)
        assert found["status"] == "failed" and "archive" in found["error"]


def test_a_drive_is_read_with_the_callers_token_which_stays_nowhere(mill, clip):
    drive = Drive(token="caller-drive-token-4711")
    try:
        drive.add("folder1", "one.mp4", clip.read_bytes())
        drive.add("folder1", "notes", kind=DOCUMENT)
        drive.add("folder1", "big.mp4", b"\0" * 9_000_000)
        settings = f"batches: {{ drive-url: '{drive.url}' }}\n"
        with Daemon(mill, pipelines={"look": LOOK}, settings=settings) as daemon:
            assert daemon.post("/api/v1/batches", {"pipeline": "look", "source": {"drive": {"folderId": "folder1"}}}).status == 400
            batch = submit(daemon, "look", {"drive": {"folderId": "folder1"}}, headers={"X-Drive-Token": drive.token},
                           maxFileSize=8_000_000)
            found = ended(daemon, batch)
            assert found["status"] == "completed" and totals(found) == [1, 0, 1, 1], (found, files(daemon, batch))
            fetched = [path for path, query, _ in drive.seen if query.get("alt") == "media"]
            assert len(fetched) == 1, "what is too large is known before a byte of it is fetched"
            assert daemon.token not in daemon.err and drive.token not in daemon.err
            daemon.stop()
        for folder, _, names in os.walk(daemon.state):
            for name in names:
                assert drive.token.encode() not in pathlib.Path(folder, name).read_bytes(), f"the token stands in {folder}/{name}"
    finally:
        drive.stop()


def test_a_restart_does_nothing_twice_and_forgets_nothing(mill):
    with Daemon(mill, pipelines={"nap": NAP}, settings="limits: { attempts: 2 }\n") as daemon:
        batch = submit(daemon, "nap", {"list": [{"input": f"https://example.org/{i}.mp4"} for i in range(8)]})
        while daemon.get(f"/api/v1/batches/{batch}").json["processedFiles"] < 2:
            time.sleep(0.05)
        daemon.restart()
        found = ended(daemon, batch)
        assert found["status"] == "completed" and totals(found) == [8, 0, 0, 0]
        jobs = daemon.get(f"/api/v1/jobs?batch={batch}").json["jobs"]
        assert len(jobs) == 8 and all(j["status"] == "completed" for j in jobs)
        told = events(daemon, batch)
        ends = [e["filename"] for e in told if e.get("status") == "completed"]
        assert sorted(ends) == [f"{i}.mp4" for i in range(8)], "each file ends once"


def test_a_cancelled_batch_stops_its_jobs_and_makes_no_more(mill):
    long = NAP.replace("400ms", "60s")
    with Daemon(mill, pipelines={"nap": long}) as daemon:
        batch = submit(daemon, "nap", {"list": [{"input": f"https://example.org/{i}.mp4"} for i in range(100)]})
        while len(daemon.get(f"/api/v1/jobs?batch={batch}&status=processing").json["jobs"]) < 1:
            time.sleep(0.05)
        assert daemon.post(f"/api/v1/batches/{batch}/cancel").status == 202
        assert ended(daemon, batch)["status"] == "cancelled"
        assert events(daemon, batch)[-1]["type"] == "batch-cancelled"
        assert len(daemon.get(f"/api/v1/jobs?batch={batch}&limit=1000").json["jobs"]) <= 64
        assert not daemon.get(f"/api/v1/jobs?batch={batch}&status=processing,queued").json["jobs"]


@pytest.mark.parametrize("body, says", [
    ({"pipeline": "nap"}, "source"), ({"pipeline": "nap", "source": {}}, "one of"), ({"pipeline": "nap", "source": {"list": []}}, "1 to"),
    ({"pipeline": "nap", "source": {"lst": []}}, "did you mean 'list'"), ({"pipeline": "np", "source": {"list": [{"input": "x"}]}}, "np"),
    ({"pipeline": "nap", "source": {"list": [{"url": "x"}]}}, "url"), ({"pipeline": "nap", "source": {"s3": {}}}, "bucket"),
    ({"pipeline": "nap", "source": {"list": [{"input": "x"}]}, "maxFileSize": "1G"}, "maxFileSize"),
])
def test_a_request_that_makes_no_sense_is_told_why(shared, body, says):
    answer = shared.post("/api/v1/batches", body)
    assert answer.status == 400 and says in answer.json["detail"], answer


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from conftest import Mill
    made = Mill(tmp_path_factory.mktemp("shared"))
    with Daemon(made, pipelines={"nap": NAP}) as daemon:
        yield daemon
    made.clean()
