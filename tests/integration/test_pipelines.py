"""The pipelines that ship, on real clips: what their comment headers promise."""
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from conftest import BUILD, MEDIA, ROOT, lines_until

sys.path.insert(0, str(ROOT / "tests" / "servers"))
import rgw  # noqa: E402

PIPELINES = ROOT / "pipelines"
JUDGE = ROOT / "tests" / "judge" / "judge.sh"


@pytest.fixture(scope="session")
def clips():
    folder = os.environ.get("STAGEMILL_CLIPS", str(MEDIA / "clips"))
    fetch = f". {ROOT}/packaging/packages.sh; packages_clip {folder}"
    done = subprocess.run(["sh", "-c", fetch], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"the Debian clips cannot be fetched: {done.stderr.strip()[-200:]}")
    return {"phone": f"{folder}/VID_20191220_170832.mp4", "hello": f"{folder}/movie-hello.mp4"}


def frames_of(clip):
    out = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_frames", "-show_entries",
                          "stream=nb_read_frames", "-of", "csv=p=0", clip], capture_output=True, text=True).stdout
    return int(out.strip().split(",")[0])


def judged(master, source):
    done = subprocess.run(["sh", str(JUDGE), str(master), str(source)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def test_vod_decodes_once_and_publishes_what_it_made(mill, clips):
    done = mill("run", PIPELINES / "vod.yaml", clips["phone"], "-p", f"publish_to={mill.folder}/pub", "-o", "out", timeout=240)
    assert done.code == 0, done.err
    job = mill.job()
    assert job["decodedFrames"] == frames_of(clips["phone"])
    assert [a["stages"] for a in job["attempts"]] == ["info", "poster,brand,stream", "publish"]
    assert (mill.folder / "out" / "stream" / "master.m3u8").exists()
    assert list((mill.folder / "out" / "poster").glob("*.jpg"))
    playlist = job["result"]["playlist"]
    assert playlist == f"{mill.folder}/pub/{job['jobId']}/stream/master.m3u8"
    judged(playlist, clips["phone"])


def test_vod_without_a_target_skips_the_upload(mill, clips):
    done = mill("run", "vod", clips["phone"], "-o", "out", "--json", timeout=240)
    assert done.code == 0, done.err
    assert done.of("completed")[0]["result"]["playlist"] == "stream/master.m3u8"
    assert done.of("stage", stage="publish", status="skipped")


def test_vod_survives_kill_9_and_keeps_what_was_finished(mill, clips):
    """Kills anywhere, then the same command: the decoder's work of finished stages is not done again."""
    random.seed(7)
    for _ in range(3):
        running = mill.start("run", PIPELINES / "vod.yaml", clips["phone"], "-p", f"publish_to={mill.folder}/pub", "-o", "out", "-q")
        time.sleep(random.uniform(0.3, 3))
        running.kill()
        running.communicate()
    done = mill("run", PIPELINES / "vod.yaml", clips["phone"], "-p", f"publish_to={mill.folder}/pub", "-o", "out", timeout=240)
    assert done.code == 0, done.err
    job = mill.job()
    good = [s for a in job["attempts"] if a["outcome"] == "ok" for s in a["stages"].split(",")]
    assert len(good) == len(set(good)), job["attempts"]
    judged(job["result"]["playlist"], clips["phone"])


@pytest.mark.skipif(rgw.missing() is not None, reason=str(rgw.missing()))
def test_vod_publishes_to_s3(mill, clips):
    storage = rgw.Rgw()
    try:
        bucket = storage.make_bucket("vod")
        name = getattr(bucket, "name", "vod")
        secrets = {"STAGEMILL_SECRET_S3_ACCESS_KEY": rgw.ACCESS_KEY, "STAGEMILL_SECRET_S3_SECRET_KEY": rgw.SECRET_KEY}
        done = mill("run", PIPELINES / "vod.yaml", clips["phone"], "-p", f"publish_to=s3://{name}/videos", "-p",
                    f"s3_endpoint={storage.endpoint}", "-o", "out", "--json", timeout=240, env=secrets)
        assert done.code == 0, done.err
        assert "master.m3u8" in done.of("completed")[0]["result"]["playlist"]
        for folder, _, files in os.walk(mill.folder):
            for file in files:
                content = open(os.path.join(folder, file), "rb").read()
                assert rgw.SECRET_KEY.encode() not in content, f"the secret stands in {folder}/{file}"
        assert rgw.SECRET_KEY not in done.out + done.err
    finally:
        storage.stop()


def test_thumbnails_seek_instead_of_decoding(mill, clips):
    done = mill("run", PIPELINES / "thumbnails.yaml", clips["hello"], "-p", "every=2s", "-o", "out", timeout=120)
    assert done.code == 0, done.err
    job = mill.job()
    assert job["result"]["thumbnails"] == 5  # 0, 2, 4, 6 and 8 s of 8.3
    assert len(list((mill.folder / "out" / "strip").iterdir())) == 5
    assert 0 < job["decodedFrames"] < frames_of(clips["hello"])


def test_upload_to_hls_turns_portrait_and_keeps_its_bitrates(mill, clips):
    turned = mill.folder / "turned.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-i", clips["phone"], "-c", "copy", "-metadata:s:v:0", "rotate=90", str(turned)], check=True)
    done = mill("run", PIPELINES / "upload-to-hls.yaml", turned, "-p", f"to={mill.folder}/pub", "-o", "out", timeout=240)
    assert done.code == 0, done.err
    job = mill.job()
    assert job["result"]["portrait"] is True
    master = (mill.folder / "out" / "stream" / "master.m3u8").read_text()
    sizes = [tuple(map(int, part.split("RESOLUTION=")[1].split(",")[0].split("x"))) for part in master.split("#EXT-X-STREAM-INF")[1:]]
    assert all(height > width for width, height in sizes) and len(sizes) == 2
    judged(job["result"]["playlist"], turned)
