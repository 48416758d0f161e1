"""A daemon of a test's own: `stagemill serve` on a free port, with its own state folder, ready when the constructor returns.

    def test_something(mill):
        with Daemon(mill) as daemon:
            answer = daemon.get("/api/v1/stats")          # with the operator's token
            token = daemon.mint("alice", "submit,read")
            answer = daemon.post("/api/v1/jobs", {"pipeline": "p"}, token=token)

Answers are objects with status, headers, body (bytes), text and json. `settings` is written to a configuration file,
`pipelines` (name -> text) into the folder of pipelines."""
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

READY = re.compile(r"ready at (http://[^\s?]+?)/?(?:\?token=(\S+))?$")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))


class Daemon:
    def __init__(self, mill, *words, settings=None, pipelines=None, name="state", env=None, port=0, wait=True):
        self.mill, self.words, self.env = mill, list(words), env or {}
        self.state = mill.folder / name
        self.pipelines = mill.folder / f"{name}-pipelines"
        self.config = mill.folder / f"{name}.yaml"
        self.pipelines.mkdir(exist_ok=True)
        self.port, self.token, self.process, self.log = port, None, None, []
        for pipeline, text in (pipelines or {}).items():
            self.shelve(pipeline, text)
        self.configure(settings or "")
        if wait:
            self.start()

    # ---- before it runs

    def shelve(self, name, text):
        (self.pipelines / f"{name}.yaml").write_text(text)

    def configure(self, text):
        self.config.write_text("{}\n" if not text.strip() else text)

    def command(self):
        given = [("--listen", f"127.0.0.1:{self.port}"), ("--state", self.state), ("--pipelines", self.pipelines),
                 ("--config", self.config)]
        return ["serve", *(word for pair in given if pair[0] not in self.words for word in pair), *self.words]

    # ---- life

    def launch(self):
        """Starts the process and does not wait for it."""
        self.log = []
        self.process = self.mill.start(*self.command(), env=self.env)
        self.reader = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self.reader.start()
        return self

    def start(self, seconds=30):
        self.launch()
        line = self._ready_line(seconds)
        found = READY.search(line)
        assert found, f"not ready: {line!r}\n{self.err}"
        self.url = found[1]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.token = found[2] or self.token
        return self

    def _ready_line(self, seconds):
        lines = []
        reader = threading.Thread(target=lambda: lines.append(self.process.stdout.readline()), daemon=True)
        reader.start()
        reader.join(seconds)
        if not lines or not lines[0]:
            self.kill()
            raise AssertionError(f"the daemon did not get ready within {seconds} s:\n{self.err}")
        return lines[0].rstrip()

    def _read_log(self, process):
        log = self.log
        for line in process.stderr:
            log.append(line)

    @property
    def err(self):
        return "".join(self.log)

    @property
    def pid(self):
        return self.process.pid

    def wait_log(self, text, seconds=10):
        end = time.monotonic() + seconds
        while text not in self.err:
            assert time.monotonic() < end, f"{text!r} was not logged within {seconds} s:\n{self.err}"
            time.sleep(0.02)

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self):
        self.signal(signal.SIGHUP)

    def wait(self, seconds=30):
        code = self.process.wait(timeout=seconds)
        self.reader.join(5)
        return code

    def stop(self, seconds=30):
        """SIGTERM; answers the exit code."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        return self.wait(10)

    def restart(self, kill=True):
        """On the same port, so that clients find it again."""
        self.kill() if kill else self.stop()
        return self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    # ---- talking to it

    @property
    def ws(self):
        return self.url.replace("http://", "ws://")

    def mint(self, sub, scope="submit,read", *words):
        made = self.mill("token", "--state", self.state, "--sub", sub, "--scope", scope, *words)
        assert made.code == 0, made.err
        return made.out.strip()

    def request(self, method, path, body=None, token="", headers=None, timeout=20):
        """token "": the operator's; None: no credential. A dict or list is sent as JSON, bytes and texts as they are."""
        headers = dict(headers or {})
        token = self.token if token == "" else token
        if token:
            headers.setdefault("Authorization", f"Bearer {token}")
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        data = body.encode() if isinstance(body, str) else body
        url = path if "://" in path else self.url + path
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with OPENER.open(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as answer:
            with answer:
                return Answer(answer.code, answer.headers, answer.read())

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", path, body if body is not None else {}, **more)

    def patch(self, path, body, **more):
        return self.request("PATCH", path, body, **more)

    def put(self, path, body, **more):
        return self.request("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def submit(self, pipeline, **fields):
        """Submits a job and answers it."""
        more = {key: fields.pop(key) for key in ("token", "headers") if key in fields}
        answer = self.post("/api/v1/jobs", {"pipeline": pipeline, **fields}, **more)
        assert answer.status == 202, answer
        return answer.json

    def job(self, job, **more):
        answer = self.get(f"/api/v1/jobs/{job}", **more)
        assert answer.status == 200, answer
        return answer.json

    def wait_job(self, job, *statuses, seconds=20, **more):
        """Until the job has one of the statuses (by default: has ended); answers its detail."""
        wanted, end = statuses or ("completed", "failed", "cancelled"), time.monotonic() + seconds
        while True:
            found = self.job(job, **more)
            if found["status"] in wanted:
                return found
            assert time.monotonic() < end, f"job {job} is {found['status']}, not {wanted}, after {seconds} s\n{self.err}"
            time.sleep(0.05)
