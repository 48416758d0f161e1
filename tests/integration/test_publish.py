"""fetch and upload as stages of a real pipeline: over broken connections, killed in the middle, with secrets that stay secret."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
import rgw  # noqa: E402
from faulty_http import BODY, SHA256, FaultyServer  # noqa: E402
from faulty_proxy import FaultyProxy  # noqa: E402

PIPELINE = """\
stagemill: 1
name: relay
params:
  source: { type: text, required: true }
  to: { type: target, required: true }
  endpoint: { type: text, default: "" }
stages:
  - { id: original, uses: fetch, with: { url: "${{ params.source }}" } }
  - id: publish
    uses: upload
    needs: [original]
    with:
      to: "${{ params.to }}"
      endpoint: ${{ params.endpoint }}
      access-key: ${{ secrets.ACCESS }}
      secret-key: ${{ secrets.SECRET }}
    retry: { attempts: 2, backoff: 100ms }
result:
  url: ${{ stages.publish.url }}
  sha256: ${{ stages.original.sha256 }}
"""


@pytest.fixture(scope="module")
def storage():
    if rgw.missing():
        pytest.skip(rgw.missing())
    storage = rgw.Rgw()
    yield storage
    storage.stop()


@pytest.fixture
def server():
    server = FaultyServer()
    yield server
    server.stop()


def everything_written(folder):
    return b"".join(path.read_bytes() for path in pathlib.Path(folder).rglob("*") if path.is_file())


def test_a_file_goes_from_the_web_into_a_folder_over_a_broken_connection(mill, server):
    mill.write("relay.yaml", PIPELINE)
    done = mill("run", "relay.yaml", "-p", f"source={server.url}/cut/clip.bin?after=1000000", "-p", "to=www", "-o", "out", "--json")
    assert done.code == 0, done.out + done.err
    assert (mill.folder / "www/clip.bin").read_bytes() == BODY
    assert done.of("completed")[0]["result"] == {"url": f"{mill.folder}/www/clip.bin", "sha256": SHA256}


def test_a_server_that_recovers_costs_one_retry(mill, server):
    mill.write("relay.yaml", PIPELINE.replace('params.source }}" }', 'params.source }}" }, retry: { attempts: 2, backoff: 100ms }'))
    done = mill("run", "relay.yaml", "-p", f"source={server.url}/flaky/clip.bin?times=1", "-p", "to=www", "-o", "out", "--json")
    assert done.code == 0, done.out + done.err
    assert len(done.of("retrying")) == 1 and "503" in str(done.of("retrying")[0]["error"])


def test_a_bucket_gets_it_and_no_secret_is_left_anywhere(mill, server, storage):
    bucket = storage.make_bucket("publish-1")
    mill.env.update(STAGEMILL_SECRET_ACCESS=rgw.ACCESS_KEY, STAGEMILL_SECRET_SECRET=rgw.SECRET_KEY)
    mill.write("relay.yaml", PIPELINE)
    source = server.url.replace("//", "//me:s3cret@") + "/auth/clip.bin"
    done = mill("run", "relay.yaml", "-p", f"source={source}", "-p", f"to=s3://{bucket}/x", "-p",
                f"endpoint={storage.endpoint}", "-o", "out", "--json")
    assert done.code == 0, done.out + done.err
    assert storage.read(bucket, "x/clip.bin") == BODY
    assert done.of("completed")[0]["result"]["url"] == f"{storage.endpoint}/{bucket}/x/clip.bin"
    left = everything_written(mill.folder / "out") + (done.out + done.err).encode()
    assert rgw.SECRET_KEY.encode() not in left


def test_a_bucket_that_is_missing_fails_at_once_with_the_cure(mill, server, storage):
    mill.env.update(STAGEMILL_SECRET_ACCESS=rgw.ACCESS_KEY, STAGEMILL_SECRET_SECRET=rgw.SECRET_KEY)
    mill.write("relay.yaml", PIPELINE)
    done = mill("run", "relay.yaml", "-p", f"source={server.url}/good/clip.bin", "-p", "to=s3://never-made/x", "-p",
                f"endpoint={storage.endpoint}", "-o", "out", "--json")
    assert done.code == 1 and done.of("retrying") == []
    assert "never-made" in str(done.of("failed")[-1]) and "does not exist" in str(done.of("failed")[-1])


def test_a_retried_upload_does_not_send_again_what_is_there(mill, server, storage):
    bucket = storage.make_bucket("publish-2")
    mill.env.update(STAGEMILL_SECRET_ACCESS=rgw.ACCESS_KEY, STAGEMILL_SECRET_SECRET=rgw.SECRET_KEY)
    mill.write("relay.yaml", PIPELINE.replace('to: "${{ params.to }}"', 'to: "${{ params.to }}"\n      part-size: 5Mi\n      attempts: 1'))
    large = mill.folder / "large.bin"
    large.write_bytes(BODY * 4)
    hit = []

    def rule(request):
        if request.query.get("partNumber") == "3" and not hit:
            hit.append(request)
            return ("answer", 503, b"")
    proxy = FaultyProxy(storage.endpoint, rule)
    try:
        done = mill("run", "relay.yaml", "-p", f"source={large}", "-p", f"to=s3://{bucket}/x", "-p", f"endpoint={proxy.url}",
                    "-o", "out", "--json")
        assert done.code == 0, done.out + done.err
        assert len(done.of("retrying")) == 1
        assert len(proxy.asked("POST", uploads="")) == 1, "the second attempt goes on with the first one's upload"
        parts = [int(request.query["partNumber"]) for request in proxy.asked("PUT", uploadId=None)]
        assert parts.count(3) == 2
        assert storage.read(bucket, "x/large.bin") == BODY * 4
    finally:
        proxy.stop()
