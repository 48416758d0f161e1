"""What web/ ships, tested in node: the client library, the React hook, the types."""
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("suite", sorted(path.name for path in (ROOT / "tests" / "web").glob("*.test.mjs")))
def test_node_suite(suite):
    run = subprocess.run(["node", "--test", "--test-reporter=spec", suite], cwd=ROOT / "tests" / "web", text=True,
                         capture_output=True, timeout=90)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
