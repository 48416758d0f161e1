"""What a person sees on a terminal."""
import re

import pexpect
import pytest

from conftest import STAGEMILL
from test_pass import clip  # noqa: F401


@pytest.fixture
def terminal(mill):
    def start(*words):
        return pexpect.spawn(str(STAGEMILL), [str(w) for w in words], cwd=str(mill.folder), encoding="utf-8", timeout=30,
                             dimensions=(24, 100), env=dict(mill.env, TERM="xterm"))
    return start


def test_a_line_for_each_active_stage_and_the_total(mill, clip, terminal):  # noqa: F811
    mill.write("p.yaml", "stagemill: 1\nname: bars\nstages:\n"
                         "  - { id: one, uses: count-frames, with: { at: 1, how: slow } }\n"
                         "  - { id: two, uses: count-frames }\n")
    shown = terminal("run", "p.yaml", clip, "-o", "out")
    shown.expect(r"one +.*█.* \d+\.\d % \d\.\d\dx .*counts frames")
    shown.expect(r"total .*█+.* \d+\.\d %")
    shown.expect(r"ETA \d+:\d\d")
    shown.sendintr()
    shown.expect("again to kill them")
    shown.expect("the same command goes on")
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == 3


def test_no_line_is_wider_than_the_terminal(mill, terminal):
    mill.write("p.yaml", "stagemill: 1\nname: bars\nstages:\n  - { id: nap, uses: slow, title: \"" + "a very long title " * 20
               + "\", with: { for: 500ms } }\n")
    shown = terminal("run", "p.yaml", "-o", "out")
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == 0
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown.before)
    assert all(len(line) <= 100 for line in re.split(r"[\r\n]+", plain)), max(plain.splitlines(), key=len)
