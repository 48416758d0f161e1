"""The author's side: an installed SDK, the manual's commands, plugins of other minors, the whole way to a finished job."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import zlib

import pytest

from conftest import BUILD, ROOT

MANUAL = (ROOT / "sdk/README.md").read_text()
HEADERS = {name: (ROOT / "sdk/include/stagemill" / name).read_text() for name in ("abi.h", "stage.h", "media.h")}
SHIMS = BUILD / "tests/shims"


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    """The SDK installed alone, and a link to this build's command beside it."""
    folder = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--component", "sdk", "--prefix", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=1", "-pix_fmt", "yuv420p",
                    path], check=True)
    return path


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", MANUAL, re.M | re.S)


def read_png(path):
    """Rows of RGB bytes of an 8-bit RGB PNG."""
    data, at, packed = path.read_bytes(), 8, b""
    width = height = 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", body[:10])
            assert (depth, color) == (8, 2)
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    raw, stride, rows, last = zlib.decompress(packed), width * 3, [], bytearray(width * 3)
    for y in range(height):
        method, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            left, up, corner = (line[i - 3] if i > 2 else 0), last[i], (last[i - 3] if i > 2 else 0)
            guess = left + up - corner
            nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            line[i] = (line[i] + (0, left, up, (left + up) // 2, nearest)[method]) & 255
        rows.append(line)
        last = line
    return rows


def test_every_command_of_the_manual_runs(prefix, clip, tmp_path):
    script = "set -eu\n" + "\n".join(blocks("sh")).replace("/usr/local", str(prefix))
    assert script.count("cmake --build") == 3 and "pkg-config" in script
    env = dict(os.environ, PATH=f"{BUILD / 'bin'}:{os.environ['PATH']}", XDG_CACHE_HOME=str(tmp_path / "cache"),
               XDG_STATE_HOME=str(tmp_path / "state"), CMAKE_GENERATOR="Ninja", CFLAGS="-Wall -Wextra -Werror")
    env.pop("STAGEMILL_PLUGIN_PATH", None)
    done = subprocess.run(["sh", "-x", "-c", script], cwd=tmp_path, env=env, text=True, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "org.example.digest 1.0.0" in done.stdout
    expected = hashlib.sha256((tmp_path / "digest/digest.c").read_bytes()).hexdigest()
    assert (tmp_path / "sum.out/sum/digest.txt").read_text() == expected + "\n"
    assert json.loads((tmp_path / "sum.out/job.json").read_text())["result"] == {"sha256": expected}
    middle = read_png(tmp_path / "gray.out/poster/poster.png")[90]
    assert all(max(middle[i:i + 3]) - min(middle[i:i + 3]) <= 2 for i in range(0, len(middle), 3)), "the poster has colour"


def test_the_manual_shows_the_examples_as_they_are():
    shown = blocks("c")
    assert shown[0] == (ROOT / "sdk/examples/digest/digest.c").read_text()
    assert shown[1].strip() in (ROOT / "sdk/examples/grayscale/grayscale.c").read_text()
    assert blocks("cmake") == [(ROOT / "sdk/examples/digest/CMakeLists.txt").read_text()]


def test_the_manual_names_every_service_row_and_verdict():
    services = re.findall(r"SM_INLINE_ [\w \*]+?\*?(sm_\w+)\(", HEADERS["stage.h"] + HEADERS["media.h"])
    rows = re.findall(r"^#define (SM_[A-Z0-9_]*[A-Z0-9])\(", HEADERS["abi.h"] + HEADERS["media.h"], re.M)
    verdicts = re.findall(r"(SM_\w+) = \d+,? +/\*", HEADERS["abi.h"].split("verdicts")[1].split("};")[0])
    assert len(services) > 30 and len(rows) > 30 and len(verdicts) == 6
    missing = [name for name in services + rows + verdicts if not re.search(rf"\b{name}\b", MANUAL)]
    assert not missing, f"sdk/README.md does not mention {missing}"


def test_another_major_is_not_found_at_build_time(prefix, tmp_path):
    shutil.copytree(prefix / "share/stagemill/sdk/template", tmp_path / "new")
    lists = tmp_path / "new/CMakeLists.txt"
    lists.write_text(lists.read_text().replace("Stagemill 1.0", "Stagemill 2.0"))
    done = subprocess.run(["cmake", "-S", tmp_path / "new", "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}"],
                          capture_output=True, text=True)
    assert done.returncode != 0 and "version: 1.0" in done.stderr
    env = dict(os.environ, PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"))
    assert subprocess.run(["pkg-config", "--atleast-version=1.0", "stagemill"], env=env).returncode == 0
    assert subprocess.run(["pkg-config", "--atleast-version=2.0", "stagemill"], env=env).returncode != 0


def shim_records(mill):
    for mark in SHIMS.glob("*.ran"):
        mark.unlink()
    listed = mill("plugins", "--json", env={"STAGEMILL_PLUGIN_PATH": str(SHIMS), "XDG_CACHE_HOME": str(mill.folder / "cache")})
    assert listed.code == 0, listed.err
    return {pathlib.Path(p["file"]).stem: p for p in json.loads(listed.out) if p["file"].startswith(str(SHIMS))}


def test_plugins_of_an_older_and_a_newer_minor_load(mill):
    records = shim_records(mill)
    assert records["shim_smaller"]["state"] == "loaded" and records["shim_larger"]["state"] == "loaded"
    assert records["shim_smaller"]["stages"] == ["shim-smaller", "shim-smaller-two"]
    assert records["shim_larger"]["stages"] == ["shim-larger", "shim-larger-two"]
    assert (SHIMS / "smaller.ran").exists() and (SHIMS / "larger.ran").exists()


def test_code_of_a_refused_plugin_never_runs(mill):
    records = shim_records(mill)
    for name, versions, cure in (("shim_too_new", ("1.9", "1.0"), "upgrade stagemill"),
                                 ("shim_other_major", ("2.0", "1.0"), "install a build of the plugin for ABI 1")):
        record = records[name]
        assert record["state"] == "refused" and record["stages"] == []
        for words in (str(SHIMS / f"{name}.so"), *versions, cure):
            assert words in record["reason"]
    assert not (SHIMS / "too_new.ran").exists() and not (SHIMS / "other_major.ran").exists()


@pytest.mark.parametrize("stage, word, count", [("shim-smaller", "small", 3), ("shim-smaller-two", "small", 3),
                                                ("shim-larger", "large", 5), ("shim-larger-two", "large", 5)])
def test_stages_of_other_minors_run(mill, stage, word, count):
    mill.write("p.yaml", f"stagemill: 1\nname: p\nstages:\n  - {{ id: a, uses: {stage} }}\n"
                         f"  - {{ id: b, uses: {stage}, with: {{ word: other, count: 7 }} }}\n"
                         "result: { a: '${{ stages.a.said }}', n: '${{ stages.a.times }}', b: '${{ stages.b.said }}' }\n")
    (mill.folder / "in").write_text("x")
    done = mill("run", "p.yaml", "in", "-o", "out", env={"STAGEMILL_PLUGIN_PATH": str(SHIMS)})
    assert done.code == 0, done.err
    assert mill.job()["result"] == {"a": word, "n": count, "b": "other"}
    assert (mill.folder / "out/b/word.txt").read_text() == "other 7\n"


def test_a_bad_value_for_a_stage_of_another_minor_is_found_by_its_own_table(mill):
    mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n  - { id: a, uses: shim-smaller, with: { count: 10 } }\n")
    done = mill("check", "p.yaml", env={"STAGEMILL_PLUGIN_PATH": str(SHIMS)})
    assert done.code == 2 and "count" in done.out + done.err
