"""`hls` in real passes: real and awkward clips in, every judge on what comes out."""
import pathlib
import re
import subprocess

import pytest

from conftest import MEDIA

TESTS = pathlib.Path(__file__).resolve().parents[1]
PIPELINE = """
stagemill: 1
name: ladder
params:
  container: {{ type: text, default: ts }}
stages:
  - {{ id: stream, uses: hls, with: {{ preset: ultrafast, ladder: {ladder}, container: {container}, {more} }} }}
result:
  master: ${{{{ stages.stream.master }}}}
"""


@pytest.fixture(scope="session")
def awkward():
    subprocess.run(["sh", str(TESTS / "media" / "make.sh"), str(MEDIA / "awkward")], check=True, timeout=300)
    return MEDIA / "awkward"


@pytest.fixture(scope="session")
def clips():
    done = subprocess.run(["sh", str(TESTS / "media" / "clips.sh"), str(MEDIA / "clips")], capture_output=True,
                          text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"the Debian clips cannot be fetched: {done.stderr.strip()[-200:]}")
    return MEDIA / "clips"


def stream(mill, source, ladder="auto", container="ts", more="", **env):
    mill.write("ladder.yaml", PIPELINE.format(ladder=ladder, container=container, more=more))
    done = mill("run", "ladder.yaml", source, "-o", "out", timeout=120, env=env)
    assert done.code == 0, done.err
    return mill.folder / "out" / "stream"


def judged(folder, source):
    done = subprocess.run([str(TESTS / "judge" / "judge.sh"), str(folder / "master.m3u8"), str(source)],
                          capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def loudness(segment):
    done = subprocess.run(["ffmpeg", "-i", str(segment), "-map", "0:a", "-af", "volumedetect", "-f", "null", "-"],
                          capture_output=True, text=True)
    return float(re.search(r"mean_volume: (-?[\d.]+|-inf) dB", done.stderr)[1])


# Each of these broke some prototype: timestamps, sizes, colours, streams that come late, end early or are missing.
AWKWARD = ["audio51.m4a", "audio_only.mp3", "avi.avi", "cover.mp3", "early_end.mp4", "editlist.mp4", "hdr10.mp4",
           "hlg.mkv", "interlaced.mpg", "keys.mp4",
           "late20.mp4", "long_sound.mp4", "odd.mkv", "odd444.mp4", "offset.mkv", "plain.mp4", "rot90.mp4",
            "tall.mkv", "tenbit.mkv", "tracks.mkv", "vfr.mp4",
           "video_only.mp4", "wrap.ts"]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_media_make_sound_streams(mill, awkward, name):
    judged(stream(mill, awkward / name), awkward / name)


def test_real_clips_make_sound_ladders(mill, clips):
    folder = judged(stream(mill, clips / "hello.mp4", ladder="[720p, 360p]"), clips / "hello.mp4")
    assert (folder / "hello_720p_001.ts").exists()


def test_a_phones_uneven_frames_keep_their_times(mill, clips):
    source = clips / "phone.mp4"
    folder = judged(stream(mill, source, ladder="[360p]"), source)
    times = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0"]
    seen = [[float(x.strip(",")) for x in subprocess.run([*times, str(f)], capture_output=True, text=True,
                                                         check=True).stdout.split()]
            for f in (source, folder / "phone_360p_000.ts")]
    assert len(seen[0]) == len(seen[1])
    steps = [[b - a for a, b in zip(t, t[1:])] for t in seen]
    assert max(abs(a - b) for a, b in zip(*steps)) < 0.001


def test_fragmented_mp4_is_as_sound_as_ts(mill, awkward):
    source = awkward / "late20.mp4"
    judged(stream(mill, source, container="fmp4", ladder="auto"), source)


def test_badly_interleaved_file_has_the_right_sound_everywhere(mill, awkward):
    """A minute of TS with all video before all audio."""
    folder = judged(stream(mill, awkward / "apart.ts"), awkward / "sixty.ts")
    segments = sorted(folder.glob("*.ts"))
    assert len(segments) == 10
    assert all(-25 < loudness(s) < -15 for s in segments)


@pytest.mark.parametrize("name,truth", [("apart.ts", "sixty.ts"), ("late20.mp4", "late20.mp4"), ("early_end.mp4", "early_end.mp4")])
def test_queues_of_one_frame_hang_nowhere_and_lose_nothing(mill, awkward, name, truth):
    one = {"STAGEMILL_PASS_FRAMES": "1", "STAGEMILL_PASS_PACKETS": "1"}
    judged(stream(mill, awkward / name, ladder="[180p]", **one), awkward / truth)


def test_sound_that_starts_at_20_s_is_silence_before(mill, awkward):
    folder = stream(mill, awkward / "late20.mp4")
    levels = [loudness(s) for s in sorted(folder.glob("*.ts"))]
    assert all(level < -80 for level in levels[:3]) and -30 < levels[3] < -15 and -25 < levels[4] < -15


def test_sound_that_ends_early_is_silence_after(mill, awkward):
    folder = stream(mill, awkward / "early_end.mp4", more="segment: 4s")
    levels = [loudness(s) for s in sorted(folder.glob("*.ts"))]
    assert -30 < levels[0] < -15 and all(level < -80 for level in levels[1:])


def test_portrait_turns_the_boxes_and_job_json_describes_the_segments(mill, awkward):
    ladder = "[{ name: low, width: 128, height: 72, bitrate: 100k }, { name: top, width: 320, height: 180, crf: 30 }]"
    folder = judged(stream(mill, awkward / "rot90.mp4", ladder=ladder), awkward / "rot90.mp4")
    master = (folder / "master.m3u8").read_text()
    assert "RESOLUTION=72x128" in master and "RESOLUTION=180x320" in master
    job = mill.job()
    made = [a for a in job["artifacts"] if a["stage"] == "stream"]
    assert sorted(a["path"] for a in made) == sorted(f"stream/{f.name}" for f in folder.iterdir())
    results = next(s for s in job["stages"] if s["id"] == "stream")["results"]
    assert results["master"] == "stream/master.m3u8" and results["renditions"] == 2
    assert results["width"] == 180


def test_names_mp4_and_folders_follow_the_parameters(mill, awkward):
    more = ("mp4: true, names: '{rendition}/seg-{index}', playlist: '{rendition}/list.m3u8', master: index.m3u8, "
            "gop: 25, segment: 2s")
    folder = stream(mill, awkward / "plain.mp4", ladder="[180p, 144p]", more=more)
    done = subprocess.run([str(TESTS / "judge" / "judge.sh"), str(folder / "index.m3u8"), str(awkward / "plain.mp4")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "180p" / "seg-001.ts").exists() and (folder / "plain.mp4").exists()
    frames = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries",
                             "stream=nb_read_frames", "-of", "csv=p=0",
                             str(folder / "plain.mp4")], capture_output=True, text=True).stdout
    assert int(frames.strip().strip(",")) == 100


def test_a_contradiction_in_the_ladder_fails_with_its_sentence(mill, awkward):
    mill.write("ladder.yaml", PIPELINE.format(ladder="[{ height: 90, bitrate: 100k, crf: 20 }]", container="ts",
                                              more=""))
    done = mill("run", "ladder.yaml", awkward / "plain.mp4", "-o", "out", "--json")
    assert done.code == 1
    assert "both bitrate and crf" in done.out + done.err


def test_plan_prints_the_ladder_of_this_input(mill, awkward):
    mill.write("ladder.yaml", PIPELINE.format(ladder="[144p]", container="ts", more=""))
    done = mill("plan", "ladder.yaml", awkward / "plain.mp4")
    assert done.code == 0, done.err
    assert "144p 256x144 crf 23" in done.out
