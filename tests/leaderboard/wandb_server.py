"""A server on this machine that speaks as much of W&B's protocol as runs and reports need."""

import base64
import json
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENTITY = "tester"


class Server:
    """What has reached it, by run id; a request with another key than `key` is turned down.

    Operations in `broken` are answered with an error; all answers come after `pause` seconds. What
    is written to a run of the same id replaces its records one by one, as W&B's own server does
    (github.com/wandb/wandb/issues/3424): those beyond the last one stay.
    """

    def __init__(self, key):
        self.key = key
        self.lock = threading.Lock()
        self.operations = Counter()
        self.unknown, self.refused, self.broken, self.pause = [], [], set(), 0.0
        self.projects = []
        self.runs, self.history, self.summary, self.exits = {}, {}, {}, {}
        self.files, self.artifacts, self.views = {}, {}, {}
        handler = type("Bound", (_Handler,), {"known": self})
        self._http = _Quiet(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *problem):
        self._http.shutdown()
        self._http.server_close()

    def answer(self, query, given):
        """Answer one GraphQL operation."""
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)[1]
        self.operations[name] += 1
        if name in self.broken:
            return {"data": None, "errors": [{"message": f"no {name} today"}]}
        known = getattr(self, f"_{name[0].lower()}{name[1:]}", None)
        if known is None:
            self.unknown.append(name)
            return {"data": {}}
        return {"data": known(given)}

    def stream(self, run, files):
        """Take in lines of a run's history and of its summary."""
        for name, part in files.items():
            lines = [json.loads(line) for line in part["content"] if line]
            if name == "wandb-history.jsonl":
                first = part["offset"]
                self.history.setdefault(run, [])[first : first + len(lines)] = lines
            elif name == "wandb-summary.json":
                self.summary[run] = lines[-1]

    def _viewer(self, given):
        return {"viewer": _VIEWER}

    _getViewer = _getDefaultEntity = _viewer

    def _artifactType(self, given):
        return {"project": None}

    def _getProjects(self, given):
        about = {"createdAt": "2026-01-01T00:00:00", "isBenchmark": False, "user": _VIEWER}
        nodes = [{**_project(name), **about} for name in self.projects]
        edges = [{"node": node, "cursor": node["name"]} for node in nodes]
        return {"models": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def _upsertBucket(self, given):
        run = self.runs.setdefault(given["name"], {})
        run |= {name: value for name, value in given.items() if value is not None}
        if given["project"] not in self.projects:
            self.projects.append(given["project"])
        bucket = {
            "id": f"id-{given['name']}",
            "name": given["name"],
            "displayName": run.get("displayName"),
            "config": "{}",
            "project": _project(given["project"]),
            "historyLineCount": 0,
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _runResumeStatus(self, given):
        return {"model": {**_project(given["project"]), "bucket": None}}

    def _createRunFiles(self, given):
        found = [{"name": f, "uploadUrl": self._place(given["run"], f)} for f in given["files"]]
        made = {"runID": given["run"], "uploadHeaders": [], "files": found}
        return {"createRunFiles": made}

    def _place(self, owner, name):
        return f"{self.url}/storage/{owner}/{name}"

    def _createArtifact(self, given):
        given = given["input"]
        found = f"artifact-{len(self.artifacts)}"
        self.artifacts[found] = {**given, "committed": False}
        sequence = {"id": f"sequence-{given['artifactCollectionName']}", "latestArtifact": None}
        made = {"id": found, "digest": given["digest"], "state": "PENDING"}
        return {"createArtifact": {"artifact": {**made, "artifactSequence": sequence}}}

    def _createArtifactManifest(self, given):
        return self._manifest("createArtifactManifest", given["artifactID"])

    def _updateArtifactManifest(self, given):
        return self._manifest("updateArtifactManifest", given["artifactManifestID"][9:])

    def _manifest(self, operation, artifact):
        file = {
            "id": f"file-{artifact}",
            "uploadUrl": self._place(artifact, "manifest.json"),
            "uploadHeaders": [],
        }
        return {operation: {"artifactManifest": {"id": f"manifest-{artifact}", "file": file}}}

    def _createArtifactFiles(self, given):
        nodes = []
        for file in given["input"]["artifactFiles"]:
            place = self._place(file["artifactID"], file["name"])
            node = {"storagePath": file["name"], "uploadUrl": place, "uploadHeaders": []}
            nodes.append({"node": {**node, "artifact": {"id": file["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def _commitArtifact(self, given):
        artifact = self.artifacts[given["artifactID"]]
        artifact["committed"] = True
        found = {"id": given["artifactID"], "digest": artifact["digest"]}
        return {"commitArtifact": {"artifact": found}}

    def _serverFeaturesQuery(self, given):
        return {"serverInfo": {"features": []}}

    def _projectInternalId(self, given):
        if given["projectName"] not in self.projects:
            return {"project": None}
        return {"project": {"id": "P", "internalId": "internal-P"}}

    def _specificReport(self, given):
        return {"view": self.views.get(given["reportId"])}

    def _upsertView(self, given):
        inserted = given["id"] is None
        found = given["id"] or base64.b64encode(b"View:%d" % (len(self.views) + 1)).decode()
        view = {
            "id": found,
            **{key: given[key] for key in ("type", "name", "displayName", "description", "spec")},
            "project": _project(given["projectName"]),
            "updatedAt": "2026-01-01T00:00:00",
        }
        self.views[found] = view
        return {"upsertView": {"view": view, "inserted": inserted}}


_VIEWER = {
    "id": "U", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "", "flags": "{}",
    "admin": False, "deletedAt": None, "teams": {"edges": []}, "apiKeys": {"edges": []},
}  # fmt: skip


def _project(name):
    return {"id": "P", "name": name, "entityName": ENTITY, "entity": {"id": "E", "name": ENTITY}}


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Say nothing: the client may hang up once it has what it wants."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: Server

    def log_message(self, *what):
        """Say nothing."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.known.pause)
        with self.known.lock:
            self._answer(*self._found(body))

    do_GET = do_PUT = do_POST

    def _found(self, body):
        """Status and answer to one request."""
        parts = self.path.strip("/").split("/")
        if parts[0] == "storage":
            self.known.files["/".join(parts[1:])] = body
            return 200, {}
        if parts[0] == "sdk":
            return 200, {}
        sent = base64.b64decode((self.headers.get("Authorization") or "").removeprefix("Basic "))
        if sent.decode() != f"api:{self.known.key}":
            self.known.refused.append(self.path)
            return 401, {}
        if parts[0] == "graphql":
            asked = json.loads(body)
            return 200, self.known.answer(asked["query"], asked.get("variables") or {})
        if parts[-1] == "file_stream":
            sent = json.loads(body)
            self.known.stream(parts[3], sent.get("files", {}))
            if sent.get("complete"):
                self.known.exits[parts[3]] = sent["exitcode"]
            return 200, {}
        self.known.unknown.append(self.path)
        return 404, {}

    def _answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
