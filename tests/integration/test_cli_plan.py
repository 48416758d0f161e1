"""`stagemill plan`: the graph as text and JSON, the ladder for an input, the difference of two pipelines."""
import json
import shutil
import subprocess

import pytest

from conftest import ROOT

VOD = ROOT / "pipelines" / "vod.yaml"


def test_the_vod_pipeline_is_one_pass_with_one_decode(mill):
    plan = json.loads(mill("plan", "--json", VOD, "-p", "publish_to=/srv/out").out)
    passes = [step for step in plan["steps"] if step["kind"] == "pass"]
    assert [[s["id"] for s in step["stages"]] for step in passes] == [["poster", "brand", "stream"]]
    assert passes[0]["source"] == "input"
    brand = passes[0]["stages"][1]
    assert brand["kind"] == "filter" and brand["feeds"] == ["stream"]
    assert plan["result"] == ["playlist", "poster", "duration"]


def test_text_names_passes_conditions_and_retries(mill):
    done = mill("plan", VOD, "-p", "publish_to=/srv/out")
    assert done.code == 0
    assert "pass over the input: one demux, one decode" in done.out
    assert "if params.publish_to != ''" in done.out and "(decided when those stages are done)" in done.out
    assert "4 attempts, up to 2 s, 4 s, 8 s apart; at most 30 min each" in done.out


def test_a_stage_excluded_by_parameters_is_listed_with_its_reason(mill):
    done = mill("plan", VOD)
    assert "Not run:" in done.out and "is false" in done.out


def test_what_cuts_a_pass_is_said(mill):
    mill.write("cut.yaml", VOD.read_text().replace("default: brand/logo.png", f"default: {VOD.parent}/brand/logo.png")
               .replace("id: poster, uses: thumbnail,", "id: poster, uses: thumbnail, isolate: true,"))
    plan = json.loads(mill("plan", "--json", "cut.yaml").out)
    assert plan["cuts"] == [{"stage": "stream", "other": "poster", "reason": "one of them is isolated"}]
    assert len([step for step in plan["steps"] if step["kind"] == "pass"]) == 2


def test_the_difference_of_two_versions_names_keys_and_passes(mill):
    new = VOD.read_text().replace("default: brand/logo.png", f"default: {VOD.parent}/brand/logo.png")
    new = new.replace("segment: 6s", "segment: 4s")
    new = new.replace("with: { at: 10%, width: 640 }", "isolate: true, with: { at: 20%, width: 640 }")
    mill.write("new.yaml", new)
    done = mill("plan", "new.yaml", "--against", VOD)
    assert done.code == 0, done.err
    assert "with.segment: 6s -> 4s" in done.out
    assert "with.at: 10% -> 20%" in done.out
    assert "stream: with poster, brand -> with brand" in done.out
    assert mill("plan", VOD, "--against", VOD).out == "No difference.\n"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Ten frames of a portrait picture, made here: plan() only reads headers."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed: no clip to plan for")
    path = tmp_path_factory.mktemp("clip") / "portrait.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=480x854:rate=10:duration=1", "-pix_fmt", "yuv420p",
                    "-y", path], check=True, timeout=30)
    return path


def test_the_ladder_for_an_input_comes_from_the_stages(mill, clip):
    plan = json.loads(mill("plan", "--json", VOD, clip).out)
    stages = {s["id"]: s for step in plan["steps"] for s in step["stages"]}
    rungs = [n["text"] for n in stages["stream"]["notes"] if n["what"] == "rung"]
    assert rungs and rungs[0].startswith("480p 480x854"), rungs
    assert any(n["what"] == "output" and n["text"] == "master.m3u8" for n in stages["stream"]["notes"])
    assert [p.name for p in mill.folder.iterdir()] == []  # planning writes nothing


def test_bad_input_and_bad_parameters_exit_2(mill):
    assert mill("plan", VOD, "nowhere.mp4").code == 2
    done = mill("plan", VOD, "-p", "publish=1")
    assert done.code == 2 and "publish_to" in done.err
    assert mill("plan", VOD, "-p", "=1").code == 2
    assert mill("plan", "nowhere.yaml").code == 2
    assert mill("plan").code == 2
