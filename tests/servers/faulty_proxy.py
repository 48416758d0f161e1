"""A reverse proxy with faults, put between the upload stage and a real S3 server.

Every request is shown to `rule(request)`, which answers None (pass it on) or one of
  ("answer", status, body)   the proxy's own answer, after reading the request
  ("cut",)                   reads half of the body, then resets the connection
  ("deaf",)                  passes it on, then resets the connection instead of answering
  ("hang",)                  never answers
  ("etag", value)            passes it on, with another ETag in the answer
"""
import http.client
import http.server
import socket
import struct
import threading
import urllib.parse


class Request:
    def __init__(self, method, target, headers, number):
        self.method, self.target, self.headers, self.number = method, target, headers, number
        url = urllib.parse.urlsplit(target)
        self.path = urllib.parse.unquote(url.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))

    def __repr__(self):
        return f"{self.method} {self.target}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def reply(self, status, body, headers=()):
        self.send_response_only(status)
        for key, value in headers:
            if key.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(key, value)
        length = dict((key.lower(), value) for key, value in headers).get("content-length")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def pass_on(self, body):
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers.items():
            upstream.putheader(key, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        return answer.status, data, answer.getheaders()

    def handle_any(self):
        with self.server.lock:
            request = Request(self.command, self.path, dict(self.headers), len(self.server.seen) + 1)
            self.server.seen.append(request)
            fault = self.server.rule(request) or ("pass",)
        length = int(self.headers.get("Content-Length", 0))
        if fault[0] == "cut":
            self.rfile.read(length // 2)
            return self.reset()
        body = self.rfile.read(length)
        if fault[0] == "hang":
            self.server.released.wait(60)
            return self.reset()
        if fault[0] == "answer":
            return self.reply(fault[1], fault[2])
        status, data, headers = self.pass_on(body)
        if fault[0] == "deaf":
            return self.reset()
        if fault[0] == "etag":
            headers = [(key, fault[1] if key.lower() == "etag" else value) for key, value in headers]
        return self.reply(status, data, headers)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any


class FaultyProxy(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream, rule=lambda request: None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = upstream.removeprefix("http://")
        self.rule, self.seen, self.lock = rule, [], threading.Lock()
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass

    def asked(self, method, **query):
        """Requests of one method whose query has these fields (value None: whatever it is)."""
        return [r for r in self.seen if r.method == method
                and all(key in r.query and value in (None, r.query[key]) for key, value in query.items())]

    def stop(self):
        self.released.set()
        self.shutdown()
        self.server_close()
