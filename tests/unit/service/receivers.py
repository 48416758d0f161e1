"""Real servers for the tests of webhooks and mail. `receivers.py http SECRET` or `receivers.py smtp CERT KEY USER:PASSWORD
MODE` (MODE: starttls, plain) listens on a loopback port of its own, prints it, then one JSON object for whatever came."""
import asyncio
import hashlib
import hmac
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

say_lock = threading.Lock()
seen = {}


def say(**what):
    with say_lock:
        print(json.dumps(what), flush=True)


def times(key):
    with say_lock:
        seen[key] = seen.get(key, 0) + 1
        return seen[key]


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    secret = ""

    def log_message(self, *_):
        pass

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def signed(self, body):
        stamp = self.headers.get("Stagemill-Timestamp", "")
        wanted = hmac.new(self.secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        fresh = stamp.isdigit() and abs(time.time() - int(stamp)) < 60
        return fresh and hmac.compare_digest(self.headers.get("Stagemill-Signature", ""), "v1=" + wanted)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, n = self.path, times(self.path)
        say(path=path, n=n, signed=self.signed(body), event=self.headers.get("Stagemill-Event"),
            delivery=self.headers.get("Stagemill-Delivery"), type=self.headers.get("Content-Type"),
            unsigned="Stagemill-Signature" not in self.headers, body=json.loads(body))
        if path == "/flaky" and n < 3:
            self.answer(503)
        elif path == "/gone":
            self.answer(410)
        elif path == "/moved":
            self.answer(302, Location="/ok")
        elif path.startswith("/slow"):
            time.sleep(200)
        elif path == "/refuses":
            self.answer(400)
        else:
            self.answer(204)


def http(secret):
    Hook.secret = secret
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.daemon_threads = True
    server.request_queue_size = 64
    say(port=server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()


def smtp(cert, key, login, mode):
    import ssl

    from aiosmtpd.smtp import SMTP, AuthResult

    class Letters:
        async def handle_RCPT(self, server, session, envelope, address, options):
            if address.startswith("later") and times(address) < 3:
                return "450 4.2.0 come back later"
            if address.startswith("never"):
                say(refused=address)
                return "550 5.1.1 there is no such box"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):
            say(to=envelope.rcpt_tos, sender=envelope.mail_from, tls=session.ssl is not None,
                login=getattr(session, "auth_data", None) is not None and session.authenticated,
                text=envelope.content.decode("ascii"))
            return "250 taken"

    def check(server, session, envelope, mechanism, auth):
        good = (auth.login + b":" + auth.password).decode() == login
        return AuthResult(success=good, auth_data=auth)

    context = None
    if mode == "starttls":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)

    async def serve():
        def make():
            return SMTP(Letters(), hostname="127.0.0.1", tls_context=context, require_starttls=context is not None,
                        authenticator=check, auth_required=context is not None, auth_require_tls=True)
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        say(port=server.sockets[0].getsockname()[1])
        await server.serve_forever()

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()


if __name__ == "__main__":
    {"http": http, "smtp": smtp}[sys.argv[1]](*sys.argv[2:])
    sys.stdin.read()  # until whoever started it is done
