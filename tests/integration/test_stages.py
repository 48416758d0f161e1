"""probe, thumbnail and watermark in the real pass: upright pictures, one decode, seeking, sentences for bad sources."""
import json
import struct
import subprocess

import pytest

from conftest import BUILD


def ffmpeg(*words):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)], check=True)


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    # Brightness is time: 20 levels a second, so that a picture tells which frame it is.
    ffmpeg("-f", "lavfi", "-i", "color=black:s=320x180:r=10:d=8,format=yuv420p,geq=lum='16+20*T':cb=128:cr=128", *x264, "-qp", "0",
           "-g", "10", folder / "levels.mp4")
    ffmpeg("-f", "lavfi", "-i", "color=black:s=320x180:r=10:d=8,format=yuv420p,geq=lum='16+20*T':cb=128:cr=128", *x264, "-qp", "0",
           "-g", "10", "-output_ts_offset", "100", folder / "offset.ts")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=1", *x264, folder / "upright.mp4")
    ffmpeg("-i", folder / "upright.mp4", "-c", "copy", "-metadata:s:v:0", "rotate=270", folder / "rotated.mp4")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=720x576:r=25:d=1", "-vf", "setsar=64/45", "-c:v", "mpeg2video", "-flags", "+ildct+ilme",
           folder / "anamorphic.mpg")
    ffmpeg("-f", "lavfi", "-i", "sine=d=2", folder / "audio.mp3")
    ffmpeg("-f", "lavfi", "-i", "color=white:s=64x32,format=rgba", "-frames:v", "1", folder / "logo.png")
    (folder / "text.mp4").write_text("hello, this is not a film\n")
    (folder / "empty.mp4").write_bytes(b"")
    whole = (folder / "upright.mp4").read_bytes()
    (folder / "no_moov.mp4").write_bytes(whole[:len(whole) // 2])
    (folder / "reach.m3u8").write_text(f"#EXTM3U\n#EXTINF:4,\nfile://{folder}/upright.mp4\n#EXT-X-ENDLIST\n")
    return folder


def pipeline(mill, *stages, result="{}"):
    return mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n" + "".join(f"  - {s}\n" for s in stages) + f"result: {result}\n")


def gray(path):
    """Mean brightness, 0-255, and the size."""
    raw = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "-"], check=True,
                         capture_output=True).stdout
    size = struct.unpack(">II", path.read_bytes()[16:24])
    return sum(raw) / len(raw), size


def shown_time(path):
    return gray(path)[0] * 219 / 255 / 20


def finished(mill, out="out"):
    return json.loads((mill.folder / out / "job.json").read_text())


@pytest.mark.parametrize("name", ["levels.mp4", "offset.ts"])
def test_a_poster_shows_the_frame_of_its_time(mill, clips, name):
    pipeline(mill, "{ id: a, uses: thumbnail, with: { at: [50%, 3250ms, 1h], format: png } }", result="{ n: '${{ stages.a.count }}' }")
    done = mill("run", "p.yaml", clips / name, "-o", "out")
    assert done.code == 0, done.err
    times = [shown_time(mill.folder / f"out/a/thumb_{i:03}.png") for i in (1, 2, 3)]
    assert times == pytest.approx([4.0, 3.2, 7.9], abs=0.11 if name == "offset.ts" else 0.03)
    assert finished(mill)["result"] == {"n": 3}


def test_pictures_alone_are_taken_by_seeking(mill, clips):
    pipeline(mill, "{ id: a, uses: thumbnail, with: { at: 7s } }")
    assert mill("run", "p.yaml", clips / "levels.mp4", "-o", "out").code == 0
    decoded = finished(mill)["decodedFrames"]
    assert decoded <= 20, "nearly all of the 80 frames were decoded for one picture"
    assert finished(mill)["artifacts"][0]["metadata"] == {"at": 7, "width": 320, "height": 180}


def test_a_phone_clip_is_shown_upright(mill, clips):
    pipeline(mill, "{ id: info, uses: probe }", "{ id: a, uses: thumbnail, with: { at: 0s, format: png } }",
             result="{ w: '${{ stages.info.width }}', h: '${{ stages.info.height }}', turn: '${{ stages.info.rotation }}' }")
    assert mill("run", "p.yaml", clips / "rotated.mp4", "-o", "out").code == 0
    assert finished(mill)["result"] == {"w": 360, "h": 640, "turn": 90}
    assert gray(mill.folder / "out/a/poster.png")[1] == (360, 640)


def test_probe_and_the_pass_agree_about_the_size(mill, clips):
    pipeline(mill, "{ id: info, uses: probe }", "{ id: a, uses: thumbnail, with: { at: 0s, format: png } }",
             result="{ w: '${{ stages.info.width }}', h: '${{ stages.info.height }}' }")
    assert mill("run", "p.yaml", clips / "anamorphic.mpg", "-o", "out").code == 0
    assert finished(mill)["result"] == {"w": 1024, "h": 576}
    assert gray(mill.folder / "out/a/poster.png")[1] == (1024, 576)


def test_a_watermark_is_under_later_pictures_and_not_under_earlier_ones(mill, clips):
    pipeline(mill, "{ id: before, uses: thumbnail, with: { at: 1s, format: png } }",
             f"{{ id: brand, uses: watermark, with: {{ image: {clips / 'logo.png'}, size: 100%, margin: 0, position: center }} }}",
             "{ id: after, uses: thumbnail, with: { at: 1s, format: png } }")
    done = mill("run", "p.yaml", clips / "levels.mp4", "-o", "out")
    assert done.code == 0, done.err
    assert gray(mill.folder / "out/before/poster.png")[0] == pytest.approx(23, abs=2)
    assert gray(mill.folder / "out/after/poster.png")[0] > 200


def test_text_is_drawn_with_the_font_that_ships(mill, clips):
    pipeline(mill, "{ id: brand, uses: watermark, with: { text: 'it''s 100%: a, b', size: 50%, position: center } }",
             "{ id: after, uses: thumbnail, with: { at: 0s, format: png } }")
    done = mill("run", "p.yaml", clips / "levels.mp4", "-o", "out")
    assert done.code == 0, done.err
    assert gray(mill.folder / "out/after/poster.png")[0] > 3


@pytest.mark.parametrize("name, words", [("empty.mp4", "is empty (0 bytes)"), ("text.mp4", "is text, not media"),
                                         ("no_moov.mp4", "without its index (moov)"),
                                         ("reach.m3u8", "is a playlist that refers to other files")])
def test_probe_says_what_is_wrong_with_a_source(mill, clips, name, words):
    pipeline(mill, "{ id: info, uses: probe }")
    done = mill("run", "p.yaml", clips / name, "-o", "out", timeout=20)
    assert done.code == 1
    assert words in done.out + done.err and name in done.out + done.err


def test_no_picture_of_an_audio_file(mill, clips):
    pipeline(mill, "{ id: a, uses: thumbnail }")
    done = mill("run", "p.yaml", clips / "audio.mp3", "-o", "out", timeout=20)
    assert done.code == 1 and "video" in done.out + done.err


def test_a_watermark_without_its_image_is_refused_in_words(mill, clips):
    pipeline(mill, "{ id: brand, uses: watermark, with: { image: nowhere.png } }", "{ id: a, uses: thumbnail }")
    done = mill("run", "p.yaml", clips / "levels.mp4", "-o", "out", timeout=20)
    assert done.code in (1, 2) and "nowhere.png" in done.out + done.err


def test_probe_takes_the_source_also_after_other_artifacts(mill, clips):
    pipeline(mill, "{ id: a, uses: thumbnail, with: { at: 0s } }", "{ id: info, uses: probe, needs: a }",
             result="{ codec: '${{ stages.info.video_codec }}', d: '${{ stages.info.duration }}' }")
    assert mill("run", "p.yaml", clips / "levels.mp4", "-o", "out").code == 0
    assert finished(mill)["result"] == {"codec": "h264", "d": 8}


def test_an_installed_stagemill_finds_its_font(mill, clips, tmp_path):
    prefix = tmp_path / "prefix"
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
    pipeline(mill, "{ id: brand, uses: watermark, with: { text: here, size: 50%, position: center } }",
             "{ id: after, uses: thumbnail, with: { at: 0s, format: png } }")
    env = dict(mill.env)
    env.pop("STAGEMILL_PLUGIN_PATH")
    done = subprocess.run([prefix / "bin/stagemill", "run", "p.yaml", clips / "levels.mp4", "-o", "out"], cwd=mill.folder, env=env,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert gray(mill.folder / "out/after/poster.png")[0] > 3
    assert (prefix / "share/stagemill/fonts/DejaVuSans.ttf").exists()
