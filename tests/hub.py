"""A local stand-in of the Hugging Face hub: what its HTTP interface answers, for models only."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_good"
GATED = "owner/gated"


class Hub(ThreadingHTTPServer):
    """Keeps repositories in memory: files by name, and the commit that they are of."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.large: dict[str, bytes] = {}
        self.large_files: set[tuple[str, str]] = set()
        self.private: set[str] = set()
        self.asked: list[str] = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running():
    hub = Hub()
    threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        hub, path = self.server, self.path.partition("?")[0]
        hub.asked.append(f"{self.command} {path}")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            if self._readable(*found.groups()):
                name = found[1]
                # Clients before version 1 take the names of files from here, later ones from tree.
                files = [{"rfilename": file} for file in hub.files.get(name, ())]
                self._json({"id": name, "sha": hub.commits[name], "siblings": files, "tags": []})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", path):
            if self._readable(*found.groups()):
                self._json([self._entry(found[1], file) for file in hub.files[found[1]]])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*found.groups())
        else:
            self._json({"error": f"no {path}"}, 404)

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self):
        self.server.large[self.path.rpartition("/")[2]] = self._body()
        self._json({})

    def do_POST(self):
        hub, path, body = self.server, self.path.partition("?")[0], self._body()
        hub.asked.append(f"POST {path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid credentials"}, 401)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in hub.files:
                self._json({"error": "You already created this model repo"}, 409)
                return
            hub.files[name], hub.commits[name] = {}, "0" * 40
            if asked.get("visibility") == "private":
                hub.private.add(name)
            self._json({"url": f"{hub.address}/{name}"})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            self._json({"files": [self._mode(file) for file in json.loads(body)["files"]]})
        elif path.endswith("/info/lfs/objects/batch"):
            self._json(
                {"transfer": "basic", "objects": list(map(self._upload, self._objects(body)))}
            )
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(found[1], body)
        else:
            self._json({})  # a check of an uploaded file

    def _commit(self, name, body):
        hub = self.server
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                hub.files[name][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                hub.files[name][value["path"]] = hub.large[value["oid"]]
                hub.large_files.add((name, value["path"]))
        commit = hashlib.sha1(body).hexdigest()
        hub.commits[name] = commit
        address = f"{hub.address}/{name}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": address})

    @staticmethod
    def _mode(file):
        mode = "lfs" if file["path"].endswith(".safetensors") else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    @staticmethod
    def _objects(body):
        return json.loads(body)["objects"]

    def _upload(self, wanted):
        action = {"href": f"{self.server.address}/large/{wanted['oid']}", "header": {}}
        return wanted | {"actions": {"upload": action}}

    def _readable(self, name, revision):
        """Whether there is such a commit; if not, the answer says so."""
        hub = self.server
        if name == GATED:
            self._json({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo"})
        elif name not in hub.files or name in hub.private:
            self._json({"error": "not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", hub.commits[name]):
            self._json({"error": "no version"}, 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            return True
        return False

    def _entry(self, name, file):
        content = self.server.files[name][file]
        entry = {"type": "file", "path": file, "size": len(content), "oid": _blob(content)}
        if (name, file) in self.server.large_files:
            oid = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
        return entry

    def _file(self, name, revision, file):
        content = self.server.files[name][file]
        large = (name, file) in self.server.large_files
        etag = hashlib.sha256(content).hexdigest() if large else _blob(content)
        self.send_response(200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", self.server.commits[name])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, content, status=200, headers=None):
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
