"""A stand-in for the Google Drive v3 API, after its public description (developers.google.com/drive/api/reference/rest/v3): files.list
with paging, files.get with metadata and media, 401, 403 rate limits, 404, shortcuts, files without content of their own. What
stagemill does with Drive was tried against this only, never against Google."""
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
DOCUMENT = "application/vnd.google-apps.document"


class Drive:
    """Files by folder; `limits` answers so many requests with 403 rateLimitExceeded first."""

    def __init__(self, token="drive-token-of-the-caller", page=2):
        self.token, self.page, self.limits = token, page, 0
        self.files, self.folders, self.seen = {}, {}, []
        drive = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words):
                pass

            def do_GET(self):
                drive.answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/drive/v3"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def add(self, folder, name, content=b"", kind="video/mp4", **more):
        number = f"file{len(self.files):03d}-{folder}"
        meta = {"id": number, "name": name, "mimeType": kind, "version": "7", **more}
        if not kind.startswith("application/vnd.google-apps."):
            meta.update(size=str(len(content)), md5Checksum=hashlib.md5(content).hexdigest())
        self.files[number] = (meta, content)
        self.folders.setdefault(folder, []).append(number)
        return number

    def answer(self, request):
        url = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.seen.append((url.path, query, dict(request.headers)))
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.error(request, 401, "authError")
        if self.limits > 0:
            self.limits -= 1
            return self.error(request, 403, "userRateLimitExceeded")
        if url.path == "/drive/v3/files":
            return self.listing(request, query)
        found = self.files.get(url.path.removeprefix("/drive/v3/files/"))
        if not found:
            return self.error(request, 404, "notFound")
        if query.get("alt") != "media":
            return self.json(request, 200, found[0])
        if "size" not in found[0]:
            return self.error(request, 403, "fileNotDownloadable")
        self.bytes(request, 200, found[0]["mimeType"], found[1])

    def listing(self, request, query):
        folder = re.fullmatch(r"'([^']+)' in parents and trashed = false", query.get("q", ""))
        numbers = self.folders.get(folder.group(1)) if folder else None
        if numbers is None:
            return self.error(request, 404, "notFound")
        begin = int(query.get("pageToken", "0"))
        answer = {"files": [self.files[n][0] for n in numbers[begin : begin + self.page]]}
        if begin + self.page < len(numbers):
            answer["nextPageToken"] = str(begin + self.page)
        self.json(request, 200, answer)

    def error(self, request, code, reason):
        self.json(request, code, {"error": {"code": code, "message": reason, "errors": [{"reason": reason, "message": reason}]}})

    def json(self, request, code, value):
        self.bytes(request, code, "application/json", json.dumps(value).encode())

    def bytes(self, request, code, kind, content):
        request.send_response(code)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
