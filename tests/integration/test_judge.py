"""The judges of HLS output can fail: each fault that a stream may have is made on purpose and must be named."""
import pathlib
import re
import shutil
import subprocess

import pytest

JUDGE = pathlib.Path(__file__).resolve().parents[1] / "judge" / "judge.sh"
PIPELINE = """
stagemill: 1
name: two
stages:
  - { id: stream, uses: hls, with: { ladder: [180p, 144p], preset: ultrafast, segment: 2s, gop: 1s } }
"""


def judge(folder, source=None, playlists_only=False):
    """All judges, or only the one that reads playlists and sizes: it is the quick one."""
    words = [str(JUDGE), str(folder / "master.m3u8")] + ([str(source)] if source else [])
    if playlists_only:
        words = ["node", str(JUDGE.with_name("hls.mjs")), str(folder / "master.m3u8")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A sound stream of our own, and its source."""
    from conftest import Mill
    folder = tmp_path_factory.mktemp("judged")
    source = folder / "clip.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=4", "-f", "lavfi", "-i",
                    "sine=d=4", "-c:v",
                    "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", str(source)], check=True)
    mill = Mill(folder)
    mill.write("two.yaml", PIPELINE)
    done = mill("run", "two.yaml", source, "-o", "out")
    assert done.code == 0, done.err
    return folder / "out" / "stream", source


@pytest.fixture
def copy(good, tmp_path):
    shutil.copytree(good[0], tmp_path / "stream")
    return tmp_path / "stream"


def edit(path, pattern, text):
    before = path.read_text()
    after = re.sub(pattern, text, before, count=1)
    assert before != after
    path.write_text(after)


def test_a_sound_stream_passes(good):
    code, said = judge(good[0], good[1])
    assert code == 0, said


PLAYLIST_FAULTS = {
    "bandwidth": ("master.m3u8", r"BANDWIDTH=\d+", "BANDWIDTH=140800", "BANDWIDTH says 140800"),
    "average": ("master.m3u8", r"AVERAGE-BANDWIDTH=\d+", "AVERAGE-BANDWIDTH=1", "AVERAGE-BANDWIDTH says 1"),
    "decimals": ("master.m3u8", r"FRAME-RATE=[\d.]+", "FRAME-RATE=25.00001", "three decimals"),
    "missing playlist": ("master.m3u8", r"clip_144p.m3u8", "clip_145p.m3u8", "does not exist"),
    "no end": ("clip_144p.m3u8", r"#EXT-X-ENDLIST\n", "", "EXT-X-ENDLIST"),
    "target": ("clip_144p.m3u8", r"TARGETDURATION:\d+", "TARGETDURATION:1", "target duration"),
    "not VOD": ("clip_144p.m3u8", r"TYPE:VOD", "TYPE:EVENT", "not VOD"),
    "lost line": ("clip_144p.m3u8", r"#EXTINF:.*\nclip_144p_001.ts\n", "", "1 segments"),
    "lost segment": ("clip_144p.m3u8", r"clip_144p_001.ts", "clip_144p_009.ts", "does not exist"),
}
MEDIA_FAULTS = {
    "codecs": ("master.m3u8", r"avc1\.\w+", "avc1.4d401f", "CODECS says"),
    "no audio codec": ("master.m3u8", r",mp4a\.40\.2", "", "CODECS says"),
    "resolution": ("master.m3u8", r"RESOLUTION=\d+x\d+", "RESOLUTION=640x360", "RESOLUTION says 640x360"),
    "frame rate": ("master.m3u8", r"FRAME-RATE=[\d.]+", "FRAME-RATE=50.000", "FRAME-RATE says 50"),
    "length": ("clip_144p.m3u8", r"#EXTINF:2\.0+", "#EXTINF:1.500000", "EXTINF says 1.500"),
}


@pytest.mark.parametrize("name", [*PLAYLIST_FAULTS, *MEDIA_FAULTS])
def test_faults_of_playlists_are_named(copy, name):
    file, pattern, text, says = {**PLAYLIST_FAULTS, **MEDIA_FAULTS}[name]
    edit(copy / file, pattern, text)
    code, said = judge(copy, playlists_only=name in PLAYLIST_FAULTS)
    assert code == 1 and says in said, said


def remake(segment, *words):
    part = segment.with_suffix(".new.ts")
    subprocess.run(["ffmpeg", "-v", "error", "-copyts", "-i", str(segment), *words, "-f", "mpegts", "-mpegts_copyts",
                    "1", str(part)], check=True)
    part.rename(segment)


def test_a_segment_without_audio_is_named(copy):
    remake(copy / "clip_144p_001.ts", "-an", "-c", "copy")
    code, said = judge(copy)
    assert code == 1 and "segment 1: has no audio" in said, said


def test_idr_frames_that_do_not_align_are_named(copy):
    remake(copy / "clip_144p_001.ts", "-c:a", "copy", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "10")
    code, said = judge(copy)
    assert code == 1 and "IDR frame" in said, said


def test_a_segment_that_starts_without_an_idr_frame_is_named(copy):
    segment = copy / "clip_144p_001.ts"
    data = segment.read_bytes()
    start = next(i for i in range(188 * 30, len(data), 188) if data[i + 1] & 0x40 and (data[i + 1] & 31,
                                                            data[i + 2]) == (1, 0))
    tables = data[:188 * 3]
    segment.write_bytes(tables + data[start:])
    code, said = judge(copy)
    assert code == 1 and "segment 1: " in said, said


def test_damage_within_a_segment_is_named(copy):
    segment = copy / "clip_180p_000.ts"
    data = bytearray(segment.read_bytes())
    for at in range(188 * 8, 188 * 20, 188):
        data[at + 20:at + 60] = bytes(40)
    segment.write_bytes(data)
    code, said = judge(copy)
    assert code == 1 and "does not decode cleanly" in said, said


def test_a_lost_packet_is_named(copy):
    segment = copy / "clip_180p_001.ts"
    data = segment.read_bytes()
    segment.write_bytes(data[:188 * 12] + data[188 * 13:])
    code, said = judge(copy)
    assert code == 1 and "continuity counter" in said, said


def test_a_stream_shorter_than_its_source_is_named(copy, good):
    for rendition in ("180p", "144p"):
        edit(copy / f"clip_{rendition}.m3u8", r"#EXTINF:[\d.]+,\nclip_\d+p_001.ts\n", "")
    code, said = judge(copy, good[1])
    assert code == 1 and "lasts 2.000 s, the source 4.0" in said, said
