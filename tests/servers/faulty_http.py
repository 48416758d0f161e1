"""An HTTP server for tests that misbehaves on request. One thread per connection, loopback only.

The path's first part names the behaviour, query fields tune it; every body is BODY (reproducible bytes) unless said.
  /good             ranges, strong ETag, Last-Modified
  /plain            no ranges, no validators
  /cut?after=N&times=K     the first K connections end after N bytes; ranges work
  /changing?after=N        as /cut, but each connection has another ETag and body
  /long             Content-Length larger than what comes
  /endless          chunked, never ends
  /slow?ms=M        8 KiB every M ms
  /hang             header, 1000 bytes, then nothing;   /silent: nothing at all
  /loop             redirects to itself;   /to?url=U&code=C: redirects there
  /flaky?times=K    503 for the first K requests;   /status/404: that status
  /wrong-range      answers a range request with another range
  /auth             wants user "me", password "s3cret"
  /named?d=VALUE&t=TYPE    with Content-Disposition and Content-Type
"""
import base64
import hashlib
import http.server
import random
import socket
import struct
import threading
import time
import urllib.parse

BODY = random.Random(7).randbytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        name = url.path.split("/")[1]
        with self.server.lock:
            self.server.seen.append((self.path, dict(self.headers)))
            self.number = self.server.counts[name] = self.server.counts.get(name, 0) + 1
        getattr(self, "serve_" + name.replace("-", "_"), self.serve_status)()

    # ---- pieces

    def start(self, status, length, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def break_off(self):
        """Ends the connection the hard way (RST)."""
        self.wfile.flush()
        time.sleep(0.1)  # what was sent arrives before the reset does
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def ranged(self, body, etag, cut=None, **headers):
        first = 0
        wanted = self.headers.get("Range", "")
        fits = self.headers.get("If-Range", etag) == etag
        if wanted.startswith("bytes=") and fits:
            first = int(wanted[6:].split("-")[0])
            if first >= len(body):
                self.start(416, 0, Content_Range=f"bytes */{len(body)}")
                return
            self.start(206, len(body) - first, ETag=etag, Content_Range=f"bytes {first}-{len(body) - 1}/{len(body)}", **headers)
        else:
            self.start(200, len(body), ETag=etag, Accept_Ranges="bytes", **headers)
        rest = body[first:]
        if cut is not None and cut < len(rest):
            self.wfile.write(rest[:cut])
            self.break_off()
        else:
            self.wfile.write(rest)

    # ---- behaviours

    def serve_good(self):
        self.ranged(BODY, '"v1"', Last_Modified="Fri, 24 May 2013 00:00:00 GMT")

    def serve_plain(self):
        self.start(200, len(BODY))
        self.wfile.write(BODY)

    def serve_cut(self):
        cut = int(self.query["after"]) if self.number <= int(self.query.get("times", "1")) else None
        self.ranged(BODY, '"v1"', cut)

    def serve_changing(self):
        body = BODY if self.number > 1 else BODY[::-1]
        self.ranged(body, f'"v{self.number}"', int(self.query["after"]) if self.number == 1 else None)

    def serve_cut_plain(self):
        self.start(200, len(BODY))
        self.wfile.write(BODY[: int(self.query["after"])])
        self.break_off()

    def serve_long(self):
        self.start(200, len(BODY) + 1000)
        self.wfile.write(BODY)
        self.close_connection = True

    def serve_endless(self):
        self.start(200, None, Transfer_Encoding="chunked")
        try:
            while not self.server.stopping:
                self.wfile.write(b"10000\r\n" + BODY[:0x10000] + b"\r\n")
        except OSError:
            self.close_connection = True

    def serve_slow(self):
        self.start(200, len(BODY), ETag='"v1"')
        try:
            for at in range(0, len(BODY), 8192):
                if self.server.stopping:
                    break
                self.wfile.write(BODY[at : at + 8192])
                time.sleep(int(self.query.get("ms", "100")) / 1000)
        except OSError:
            self.close_connection = True

    def serve_hang(self):
        self.start(200, len(BODY))
        self.wfile.write(BODY[:1000])
        self.server.released.wait(60)
        self.close_connection = True

    def serve_silent(self):
        self.server.released.wait(60)
        self.close_connection = True

    def serve_loop(self):
        self.start(302, 0, Location=self.path)

    def serve_to(self):
        self.start(int(self.query.get("code", "302")), 0, Location=self.query["url"])

    def serve_flaky(self):
        if self.number <= int(self.query.get("times", "1")):
            self.start(503, 0, Retry_After="3")
        else:
            self.serve_good()

    def serve_status(self):
        parts = self.path.split("/")
        self.start(int(parts[2]) if len(parts) > 2 else 404, 0)

    def serve_wrong_range(self):
        if "Range" in self.headers:
            self.start(206, 10, ETag='"v1"', Content_Range=f"bytes 0-9/{len(BODY)}")
            self.wfile.write(BODY[:10])
        else:
            self.ranged(BODY, '"v1"', 100_000 if self.number == 1 else None)

    def serve_auth(self):
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:s3cret").decode():
            self.start(401, 0, WWW_Authenticate='Basic realm="x"')
        else:
            self.serve_good()

    def serve_named(self):
        headers = {"Content_Type": self.query["t"]} if "t" in self.query else {}
        if "d" in self.query:
            headers["Content_Disposition"] = self.query["d"]
        self.start(200, len(BODY), **headers)
        self.wfile.write(BODY)


class FaultyServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host="127.0.0.1"):
        super().__init__((host, 0), Handler)
        self.lock = threading.Lock()
        self.seen, self.counts = [], {}
        self.released = threading.Event()
        self.stopping = False
        self.url = f"http://{host}:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the game

    def stop(self):
        self.stopping = True
        self.released.set()
        self.shutdown()
        self.server_close()
