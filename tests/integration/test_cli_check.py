"""`stagemill check` and `stagemill test`: exit codes, carets, --json."""
import json
import re

import pytest

from conftest import ROOT

GOOD = """stagemill: 1
name: good
stages:
  - { id: info, uses: probe }
"""
BAD = """stagemill: 1
name: bad
stages:
  - { id: info, uses: prboe }
  - { id: poster, uses: thumbnail, with: { widht: 640 } }
"""


def test_a_right_pipeline_exits_0_and_says_so(mill):
    mill.write("good.yaml", GOOD)
    done = mill("check", "good.yaml")
    assert (done.code, done.err) == (0, "")
    assert "good.yaml: ok, pipeline good with 1 stage" in done.out
    assert mill("check", "--quiet", "good.yaml").out == ""


def test_every_problem_has_a_place_a_caret_and_the_nearest_word(mill):
    mill.write("bad.yaml", BAD)
    done = mill("check", "bad.yaml")
    assert done.code == 2
    assert "bad.yaml:4:" in done.out and "bad.yaml:5:" in done.out
    assert "probe" in done.out and "width" in done.out and "^" in done.out


def test_several_files_are_checked_and_one_bad_one_fails(mill):
    mill.write("good.yaml", GOOD)
    mill.write("bad.yaml", BAD)
    done = mill("check", "good.yaml", "bad.yaml")
    assert done.code == 2
    assert "good.yaml: ok" in done.out


def test_json_lists_files_and_problems(mill):
    mill.write("good.yaml", GOOD)
    mill.write("bad.yaml", BAD)
    done = mill("check", "--json", "good.yaml", "bad.yaml")
    good, bad = json.loads(done.out)
    assert done.code == 2
    assert good["ok"] is True and good["pipeline"] == "good" and good["problems"] == []
    assert bad["ok"] is False and bad["pipeline"] is None
    assert {p["line"] for p in bad["problems"]} == {4, 5}
    assert all(p["level"] == "error" and p["message"] and p["column"] > 0 for p in bad["problems"])


def test_a_missing_file_is_a_problem_that_names_it(mill):
    done = mill("check", "nowhere.yaml")
    assert done.code == 2
    assert "nowhere.yaml" in done.out


@pytest.mark.parametrize("name", ["vod", "thumbnails", "upload-to-hls"])
def test_pipelines_that_ship_are_right_and_found_by_name(mill, name):
    done = mill("check", name)
    assert done.code == 0, done.out


# ---- fixtures ----

FIXTURE = """stagemill-test: 1
pipeline: good.yaml
cases:
  - name: it runs
    input: clip.mp4
    stages: { info: { fail: no luck, times: 1 } }
    expect: { status: completed, order: [info, info], delays: { info: 2s }, elapsed: 2s }
"""


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines" / "tests").glob("*.yaml")), ids=lambda f: f.stem)
def test_fixtures_that_ship_pass(mill, file):
    done = mill("test", file)
    assert done.code == 0, done.out


def test_a_case_as_expected_exits_0(mill):
    mill.write("good.yaml", GOOD)
    mill.write("good.test.yaml", FIXTURE)
    done = mill("test", "good.test.yaml")
    assert done.code == 0, done.out
    assert "ok    it runs" in done.out and "1 case, 0 failed" in done.out


@pytest.mark.parametrize("change, says", [
    (("order: [info, info]", "order: [info]"), ["order", "expected: info", "got: info, info"]),
    (("delays: { info: 2s }", "delays: { info: 3s }"), ["delays.info", "expected: 3s", "got: 2s"]),
    (("status: completed", "status: failed"), ["status", "expected: failed", "got: completed"]),
    (("elapsed: 2s", "elapsed: 5s"), ["elapsed", "expected: 5s", "got: 2s"]),
    (("elapsed: 2s", "skipped: info"), ["skipped", "expected: info", "got: nothing"]),
    (("elapsed: 2s", "attempts: { info: 7 }"), ["attempts.info", "expected: 7", "got: 2"]),
])
def test_what_differs_is_shown_side_by_side_and_exits_1(mill, change, says):
    mill.write("good.yaml", GOOD)
    mill.write("good.test.yaml", FIXTURE.replace(*change))
    done = mill("test", "good.test.yaml")
    assert done.code == 1
    assert "FAIL  it runs" in done.out
    for word in says:
        assert word in done.out


@pytest.mark.parametrize("change, says", [
    (("pipeline: good.yaml", "pipeline: gone.yaml"), "gone.yaml"),
    (("info: { fail", "inof: { fail"), "did you mean `info`"),
    (("times: 1", "tmies: 1"), "did you mean `times`"),
    (("status: completed", "status: complete"), "completed"),
    (("fail: no luck, ", ""), "`times` without `fail`"),
    (("input: clip.mp4", "params: { x: 1 }"), "no parameter `x`"),
    (("fail: no luck", "results: { durration: 3s }, fail: no luck"), "did you mean `duration`"),
    (("elapsed: 2s", "result: { playlist: x }"), "playlist"),
])
def test_a_fixture_file_that_is_off_exits_2_with_its_cure(mill, change, says):
    mill.write("good.yaml", GOOD)
    mill.write("good.test.yaml", FIXTURE.replace(*change))
    done = mill("test", "good.test.yaml")
    assert done.code == 2, done.out
    assert says in done.out
    assert "good.test.yaml:" in done.out


def test_json_says_what_happened_in_each_case(mill):
    mill.write("good.yaml", GOOD)
    mill.write("good.test.yaml", FIXTURE.replace("elapsed: 2s", "elapsed: 5s"))
    done = mill("test", "--json", "good.test.yaml")
    case = json.loads(done.out)[0]["cases"][0]
    assert done.code == 1
    assert case["ok"] is False and case["status"] == "completed" and case["order"] == ["info", "info"]
    assert "elapsed" in case["differences"][0]


README = (ROOT / "pipelines" / "README.md").read_text()


def test_the_fixture_of_the_manual_passes(mill):
    block = re.search(r"^```fixture\n(.*?)^```", README, re.S | re.M).group(1)
    mill.write("manual.yaml", block.replace("pipeline: vod.yaml", f"pipeline: {ROOT}/pipelines/vod.yaml"))
    done = mill("test", "manual.yaml")
    assert done.code == 0, done.out


def test_the_manual_names_every_key_of_fixtures(mill):
    """Keys come from the problems themselves: an unknown key is answered with the valid ones."""
    section = README[README.index("## Fixtures"):README.index("## Values and units")]
    mill.write("good.yaml", GOOD)
    mill.write("odd.yaml", """stagemill-test: 1
pipeline: good.yaml
zzzzzzz: 1
cases:
  - zzzzzzz: 1
    name: x
    stages: { info: { zzzzzzz: 1 } }
    expect: { zzzzzzz: 1 }
""")
    done = mill("test", "odd.yaml")
    lists = re.findall(r"valid: (.*)", done.out)
    assert done.code == 2 and len(lists) == 4, done.out
    keys = {key for line in lists for key in line.split(", ")}
    assert len(keys) > 20
    assert not [key for key in keys if f"`{key}`" not in section]


def test_a_pipeline_that_is_not_there_is_answered_with_those_that_ship(mill):
    done = mill("check", "vodd")
    assert done.code == 2 and "there is no such pipeline file" in done.out + done.err
    assert "thumbnails, upload-to-hls, vod" in done.out + done.err


def test_fixtures_and_pipelines_are_told_apart(mill):
    mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n  - { id: n, uses: noop }\n")
    done = mill("test", "p.yaml")
    assert done.code == 2 and "this is a pipeline, not its fixtures" in done.out
    assert "0 cases" not in done.out


def test_a_result_that_is_no_map_is_said_to_be_none(mill):
    mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n  - { id: n, uses: noop }\nresult: ${{ stages.n.bytes }}\n")
    assert "a single value stands where it has to be a map" in mill("check", "p.yaml").out
