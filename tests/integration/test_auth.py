"""Who may what, seen from outside: keys of an operator's own, forged tokens, revocation, tickets, ownership, narrow tokens."""
import json
import os
import stat
import subprocess
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from conftest import Mill, wait_until
from serving import Daemon

SECRET, OTHER = "s" * 20 + "-first-secret-of-all", "t" * 20 + "-another-secret-then"
QUICK = """
stagemill: 1
name: quick
stages: [ { id: one, uses: noop, with: { text: hello } } ]
result: { said: "${{ stages.one.text }}" }
"""
SLOW = """
stagemill: 1
name: nap
stages: [ { id: nap, uses: slow, with: { for: 60s } } ]
"""


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())


def write_keys(folder, secret):
    (folder / "rsa.pub").write_bytes(pem(RSA))
    (folder / "ec.pub").write_bytes(pem(EC))
    fresh = folder / "keys.new"
    fresh.touch(mode=0o600)
    fresh.write_text(f"keys:\n  - {{ kid: hs, alg: HS256, secret: {secret} }}\n"
                     "  - { kid: rs, alg: RS256, public-key-file: rsa.pub }\n  - { kid: es, alg: ES256, public-key-file: ec.pub }\n")
    fresh.replace(folder / "keys.yaml")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    mill = Mill(tmp_path_factory.mktemp("auth"))
    write_keys(mill.folder, SECRET)
    settings = f"auth: {{ keys: {mill.folder}/keys.yaml, issuer: https://id.example.org, audience: stagemill }}\n"
    with Daemon(mill, settings=settings, pipelines={"quick": QUICK, "nap": SLOW}) as daemon:
        yield daemon
        for secret in (SECRET, OTHER):
            assert secret not in daemon.err
    mill.clean()


def claims(sub="ann", scope="read submit", **more):
    made = {"sub": sub, "scope": scope, "exp": int(time.time()) + 600, "iss": "https://id.example.org", "aud": "stagemill", **more}
    return {name: value for name, value in made.items() if value is not None}


def sign(payload, key=SECRET, alg="HS256", kid="hs", **headers):
    return jwt.encode(payload, key, alg, {"kid": kid, **headers})


def who(daemon, token):
    return daemon.get("/api/v1/whoami", token=token)


def test_tokens_of_each_key_are_taken(daemon):
    for token in (sign(claims()), sign(claims(), private(RSA), "RS256", "rs"), sign(claims(), private(EC), "ES256", "es"),
                  sign(claims(aud=["other", "stagemill"]))):
        answer = who(daemon, token)
        assert answer.status == 200 and answer.json["subject"] == "ann", answer
        assert sorted(answer.json["scopes"]) == ["read", "submit"]


def b64(text):
    return jwt.utils.base64url_encode(text.encode()).decode()


def test_forged_tokens_get_401_each_with_its_reason(daemon):
    good = sign(claims())
    head, body, signature = good.split(".")
    confused = b64(json.dumps({"alg": "HS256", "kid": "rs"})) + "." + b64(json.dumps(claims()))
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(confused.encode(), pem(RSA))
    confused += "." + jwt.utils.base64url_encode(mac).decode()
    deep = b64('{"sub":"ann","exp":9999999999,"x":' + "[" * 2000)
    table = {
        "expired": sign(claims(exp=int(time.time()) - 1)), "`exp` is required": sign(claims(exp=None)),
        "wrong type": sign(claims(scope=7)), "not valid yet": sign(claims(nbf=int(time.time()) + 300)),
        "another issuer": sign(claims(iss="https://evil.example.org")), "another audience": sign(claims(aud=["x"])),
        "`sub` is required": sign(claims(sub=None)), "not known here": sign(claims(), kid="nobody"),
        "names no key": jwt.encode(claims(), SECRET, "HS256"), "`crit`": sign(claims(), crit=["exp"]),
        "does not match": sign(claims(), OTHER), "is not its key's, HS256": sign(claims(), private(RSA), "RS256", "hs"),
        "is not its key's, RS256": confused, "`alg`": b64('{"alg":"none","kid":"hs"}') + f".{body}.",
        "three parts": f"{head}.{body}", "no JSON object": f"{head}.{deep}.{signature}", "8 KiB": "a" * 8500}
    for why, token in table.items():
        answer = who(daemon, token)
        assert answer.status == 401 and why in answer.json["detail"], (why, answer)
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert token not in answer.text and token not in daemon.err
    assert who(daemon, None).status == 401 and who(daemon, good).status == 200


def test_changed_keys_are_taken_without_a_restart(daemon):
    old, new = sign(claims()), sign(claims(), OTHER)
    write_keys(daemon.mill.folder, OTHER)
    wait_until(lambda: who(daemon, new).status == 200, seconds=20)
    assert who(daemon, old).status == 401
    (daemon.mill.folder / "keys.yaml").write_text("keys: [ { kid: hs, alg: none } ]\n")
    wait_until(lambda: "the old ones stay" in daemon.err, seconds=20)
    assert who(daemon, new).status == 200
    write_keys(daemon.mill.folder, SECRET)
    wait_until(lambda: who(daemon, old).status == 200, seconds=20)


def test_what_is_taken_back_stays_so_after_a_restart(daemon):
    admin = sign(claims("root", "admin"))
    first, second = sign(claims("tim", jti="t1", iat=time.time() - 5)), sign(claims("tim", jti="t2", iat=time.time() - 5))
    assert daemon.post("/api/v1/tokens/revoke", {"jti": "t1"}, token=second).status == 403
    assert daemon.post("/api/v1/tokens/revoke", {"jti": "t1"}, token=admin).status == 200
    assert who(daemon, first).status == 401 and who(daemon, second).status == 200
    assert daemon.post("/api/v1/tokens/revoke", {"sub": "tim"}, token=admin).status == 200
    later = sign(claims("tim", jti="t3", iat=time.time() + 1))
    for _ in range(2):
        assert "revoked" in who(daemon, first).json["detail"] and who(daemon, second).status == 401
        assert who(daemon, later).status == 200
        daemon.restart(kill=True)


def test_a_ticket_opens_one_door_once(daemon):
    token = sign(claims())
    job = daemon.submit("quick", token=token)["id"]
    daemon.wait_job(job, token=token)
    path = f"/api/v1/jobs/{job}/events?since=0&"
    ticket = daemon.post("/api/v1/tickets", token=token).json["ticket"]
    assert daemon.get(path + f"ticket={ticket}", token=None).status == 200
    assert daemon.get(path + f"ticket={ticket}", token=None).status == 401
    assert daemon.get(path + f"token={token}", token=None).status == 200
    assert daemon.get(f"/api/v1/jobs?token={token}", token=None).status == 401  # where a header can be sent, it has to be
    assert token not in daemon.err and ticket not in daemon.err


def test_what_is_anothers_does_not_exist(daemon):
    ann, bob, admin = sign(claims()), sign(claims("bob")), sign(claims("root", "admin"))
    job = daemon.submit("nap", token=ann, asset="ann's")["id"]
    at = f"/api/v1/jobs/{job}"
    unknown = "/api/v1/jobs/" + "0" * 26
    for below in ("", "/events?since=0", "/artifacts", "/logs", "/explain"):
        assert daemon.get(at + below, token=ann).status == 200, below
        assert daemon.get(at + below, token=admin).status == 200, below
        mine, none = daemon.get(at + below, token=bob), daemon.get(unknown + below, token=bob)
        assert mine.status == none.status == 404, below
        assert mine.json["detail"].replace(job, "") == none.json["detail"].replace("0" * 26, "")
    for below, body in (("/cancel", None), ("/retry", {}), ("/pause", {}), ("/resume", {}), ("/priority", {"priority": 1}),
                        ("/release", {"stage": "nap", "decision": "released"}), ("/links", {})):
        assert daemon.post(at + below, body, token=bob).status == 404, below
    assert daemon.delete(at, token=bob).status == 404
    assert job not in daemon.get("/api/v1/jobs?limit=1000", token=bob).text
    assert job not in daemon.get("/api/v1/jobs?owner=ann", token=bob).text
    bulk = daemon.post("/api/v1/jobs/bulk", {"action": "cancel", "filter": {}}, token=bob)
    assert bulk.status == 200 and bulk.json["done"] == 0
    assert daemon.get("/api/v1/assets/ann's", token=bob).status == 404
    granted = sign(claims("bob", grants=[f"job:{job}"]))
    assert daemon.get(at, token=granted).status == 200
    reader = sign(claims(scope="read"))
    assert daemon.get(at, token=reader).status == 200 and daemon.post(at + "/cancel", token=reader).status == 403
    narrow = sign(claims(scope="follow read admin", grants=[f"job:{job}"]))
    assert daemon.get(at, token=narrow).status == 200 and daemon.get("/api/v1/jobs", token=narrow).status == 403
    assert daemon.post(at + "/cancel", token=narrow).status == 403
    blind = sign(claims(scope="follow", grants=["job:other"]))
    assert daemon.get(at, token=blind).status == 404  # its own, but not granted
    assert daemon.post(at + "/cancel", token=granted).status == 202


def test_operators_scopes(daemon):
    ann = sign(claims())
    for method, path, body in (("POST", "/api/v1/queue/pause", {}), ("POST", "/api/v1/pipelines/quick/pause", {}),
                               ("POST", "/api/v1/tokens/revoke", {"jti": "x"}), ("POST", "/api/v1/jobs", {"inline": QUICK})):
        answer = daemon.request(method, path, body, token=ann)
        assert answer.status == 403, (path, answer)
    assert daemon.post("/api/v1/jobs", {"inline": QUICK}, token=sign(claims(scope="submit pipelines read"))).status == 202


def test_without_a_key_one_is_made_and_only_this_machine_is_served(mill):
    with Daemon(mill, pipelines={"quick": QUICK}) as daemon:
        keys = [p for p in daemon.state.iterdir() if p.is_file() and stat.S_IMODE(p.stat().st_mode) == 0o600]
        secret = next(p for p in keys if p.suffix == ".key").read_text().strip()
        assert "admin" in who(daemon, daemon.token).json["scopes"]
        token = jwt.decode(daemon.mint("zoe", "read,submit", "--ttl", "90s"), secret, ["HS256"])
        assert token["sub"] == "zoe" and 80 < token["exp"] - time.time() <= 90 and token["jti"]
        assert daemon.mill("token", "--state", daemon.state, "--sub", "zoe", "--scope", "rule").code == 2
        assert secret not in daemon.err and daemon.token not in daemon.err
    refused = mill("serve", "--listen", "0.0.0.0:0", "--state", mill.folder / "other", timeout=20)
    assert refused.code == 2 and "key" in refused.err
    leaked = subprocess.run(["grep", "-rlF", "--exclude=*.key", secret, str(mill.folder / "state")], capture_output=True, text=True)
    assert not leaked.stdout, leaked.stdout
    assert os.stat(mill.folder / "state").st_mode & 0o077 == 0
