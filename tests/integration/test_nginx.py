"""The nginx configuration that ships, in front of a daemon: TLS, sockets, uploads, event streams, what the log holds."""
import asyncio
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.parse

import pytest
import websockets

from conftest import ROOT, wait_until
from serving import Daemon

NOOP = "stagemill: 1\nname: noop\nstages:\n  - { id: a, uses: noop, with: { text: hello } }\n"
SLOW = "stagemill: 1\nname: slow\nstages:\n  - { id: nap, uses: slow, with: { for: 1s } }\n"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proxy:
    """nginx with our file, its ports, names and certificate replaced by ones of this test."""

    def __init__(self, folder, upstream):
        self.folder, self.port, self.plain = folder, free_port(), free_port()
        folder.mkdir()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem",
                        "-out", folder / "cert.pem"], check=True, capture_output=True)
        text = (ROOT / "packaging/nginx/stagemill.conf").read_text()
        for old, new in (("server 127.0.0.1:8060;", f"server 127.0.0.1:{upstream};"), ("listen 80;", f"listen 127.0.0.1:{self.plain};"),
                         ("listen 443 ssl http2;", f"listen 127.0.0.1:{self.port} ssl http2;"),
                         ("server_name media.example.org;", "server_name localhost;"),
                         ("/etc/nginx/stagemill.pem", str(folder / "cert.pem")), ("/etc/nginx/stagemill.key", str(folder / "key.pem")),
                         ("/var/log/nginx/stagemill.log", str(folder / "access.log"))):
            assert old in text, old
            text = text.replace(old, new)
        (folder / "stagemill.conf").write_text(text)
        temp = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if pathlib.Path("/proc/self").stat().st_uid == 0 else ""
        (folder / "nginx.conf").write_text(f"{user}daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
                                           f"events {{ worker_connections 512; }}\nhttp {{\n{temp}include {folder}/stagemill.conf;\n}}\n")
        self.process = subprocess.Popen([NGINX, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.url = f"https://localhost:{self.port}"
        self.context = ssl.create_default_context(cafile=folder / "cert.pem")
        wait_until(self.answers, 10)

    def answers(self):
        assert self.process.poll() is None, self.process.stderr.read().decode() + (self.folder / "error.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.port), 20)
        return self.context.wrap_socket(raw, server_hostname="localhost")

    def ask(self, method, path, token=None, body=b"", headers=()):
        """Status, headers (lower case), body."""
        head = [f"{method} {path} HTTP/1.1", f"Host: localhost:{self.port}", "Connection: close", *headers]
        if token:
            head.append(f"Authorization: Bearer {token}")
        if body:
            head.append(f"Content-Length: {len(body)}")
        with self.connect() as s:
            s.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            return parse(drain(s))


def drain(s):
    answer = b""
    while True:
        try:
            piece = s.recv(65536)
        except (ssl.SSLEOFError, ConnectionResetError):
            return answer
        if not piece:
            return answer
        answer += piece


def parse(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    from conftest import Mill
    folder = tmp_path_factory.mktemp("nginx")
    mill = Mill(folder)
    settings = "proxies: [127.0.0.1]\nuploads: { max: 40M }\n"
    with Daemon(mill, settings=settings, pipelines={"noop": NOOP, "slow": SLOW}) as daemon:
        proxy = Proxy(folder / "proxy", daemon.port)
        yield daemon, proxy
        proxy.stop()
    mill.clean()


def submit(pair, pipeline):
    daemon, proxy = pair
    status, _, body = proxy.ask("POST", "/api/v1/jobs", daemon.token, json.dumps({"pipeline": pipeline}).encode(),
                                ["Content-Type: application/json"])
    assert status == 202, body
    return json.loads(body)


def test_plain_http_leads_to_tls(pair):
    _, proxy = pair
    with socket.create_connection(("127.0.0.1", proxy.plain), 5) as s:
        s.sendall(b"GET /x?y=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status, headers, _ = parse(drain(s))
    assert status == 308 and headers["location"] == "https://localhost/x?y=1"


def test_links_are_made_for_the_outside(pair):
    job = submit(pair, "noop")
    assert job["websocketUrl"] == f"wss://localhost:{pair[1].port}/ws?jobId={job['id']}"


def test_clients_cannot_name_themselves(pair):
    daemon, proxy = pair
    status, headers, _ = proxy.ask("GET", "/healthz", headers=["X-Forwarded-For: 6.6.6.6", "X-Request-Id: forwarded-1"])
    assert status == 200 and headers["strict-transport-security"] and headers["x-request-id"] == "forwarded-1"
    daemon.wait_log("id=forwarded-1")
    assert "6.6.6.6" not in daemon.err


def test_a_socket_follows_a_job_through_tls(pair):
    daemon, proxy = pair
    job = submit(pair, "slow")

    async def follow():
        seen = []
        async with websockets.connect(f"{job['websocketUrl']}&token={daemon.token}", ssl=proxy.context) as ws:
            try:
                async for message in ws:
                    seen.append(json.loads(message)["type"])
            except websockets.ConnectionClosed:
                pass
            return seen, ws.close_code

    seen, code = asyncio.run(asyncio.wait_for(follow(), 20))
    assert seen[0] == "state" and seen[-1] == "completed" and code == 1000


def test_events_come_as_they_happen(pair):
    daemon, proxy = pair
    job = submit(pair, "slow")
    with proxy.connect() as s:
        s.sendall(f"GET /api/v1/jobs/{job['id']}/events?since=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {daemon.token}\r\n"
                  "Accept: text/event-stream\r\nConnection: close\r\n\r\n".encode())
        text, begun, first = b"", time.monotonic(), None
        while b"event: completed" not in text:
            piece = s.recv(4096)
            assert piece, text
            text += piece
            if first is None and b"event: queued" in text:
                first = time.monotonic() - begun
    assert first is not None and time.monotonic() - begun - first > 0.3, "everything came at once"


def test_uploads_go_straight_through(pair):
    daemon, proxy = pair
    status, _, body = proxy.ask("POST", "/api/v1/uploads", daemon.token, json.dumps(
        {"filename": "big.bin", "contentType": "application/octet-stream"}).encode(), ["Content-Type: application/json"])
    assert status == 201, body
    target = urllib.parse.urlsplit(json.loads(body)["uploadUrl"])
    assert target.scheme == "https" and target.port == proxy.port
    half = bytes(range(256)) * 4096 * 12
    before = sum(f.stat().st_size for f in daemon.state.rglob("*") if f.is_file())
    with proxy.connect() as s:
        s.sendall(f"PUT {target.path}?{target.query} HTTP/1.1\r\nHost: localhost:{proxy.port}\r\nConnection: close\r\n"
                  f"Content-Type: application/octet-stream\r\nContent-Length: {2 * len(half)}\r\n\r\n".encode())
        s.sendall(half)
        wait_until(lambda: sum(f.stat().st_size for f in daemon.state.rglob("*") if f.is_file()) - before > len(half) // 2, 10)
        assert not any(f.is_file() for f in (proxy.folder / "client_body").rglob("*")), "nginx keeps the body"
        s.sendall(half)
        status, _, body = parse(drain(s))
    assert status in (200, 201, 204), body


def test_a_refusal_reaches_who_uploads_too_much(pair):
    daemon, proxy = pair
    status, _, body = proxy.ask("POST", "/api/v1/pipelines/check", daemon.token, b" " * (1 << 20) + b"  ", ["Content-Type: application/json"])
    assert status == 413 and json.loads(body)["code"] == "too-large"


def test_its_log_holds_no_token(pair):
    daemon, proxy = pair
    proxy.ask("GET", f"/api/v1/whoami?token={daemon.token}")
    proxy.ask("GET", "/api/v1/jobs/x/shared/99/SIGNATURE/file")
    log = wait_until(lambda: "/shared/***" in (text := (proxy.folder / "access.log").read_text()) and text)
    assert daemon.token not in log and "SIGNATURE" not in log and re.search(r'"GET /ws HTTP', log)
    assert daemon.token not in daemon.err
