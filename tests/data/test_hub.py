"""Data sets of the hub: fetched from a small server on this machine that answers as the hub does.

huggingface_hub reads its environment when it is imported, so whatever fetches is a program of its
own, with a home, a cache and a hub of its own. Pictures are few, but of the schemas, paths and
sizes of the real repositories.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import load_file

from pai_bench.config import loader, schema
from pai_bench.core.errors import BenchError
from pai_bench.data import files, sources
from pai_bench.data.locations import cached_file
from pai_bench.data.sources import Arrays
from pai_bench.registry import methods as registry

CONFIG = Path(__file__).parents[2] / "benchmark.yaml"
SETTINGS = loader.load(CONFIG, registry.available()).data
SMALL = ("fashion-mnist", "svhn", "cifar100", "tiny-imagenet")
ROLES = ("train", "test")
IMAGES = (7, 4)
UNWANTED = b"no parquet file: nobody should ask for it"

SINGLE = "00000-of-00001.parquet"
PATHS = {  # As they are called in the real repositories; those of ImageNet are fewer.
    "fashion-mnist": ([f"fashion_mnist/train-{SINGLE}"], [f"fashion_mnist/test-{SINGLE}"]),
    "svhn": ([f"cropped_digits/train-{SINGLE}"], [f"cropped_digits/test-{SINGLE}"]),
    "cifar100": ([f"cifar100/train-{SINGLE}"], [f"cifar100/test-{SINGLE}"]),
    "tiny-imagenet": (
        ["data/train-00000-of-00001-1359597a978bc4fa.parquet"],
        ["data/valid-00000-of-00001-70d52db3c749a935.parquet"],
    ),
    "imagenet-1k": (
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        ["data/validation-00000-of-00001.parquet"],
    ),
    "wikitext-103": (
        [f"wikitext-103-raw-v1/train-0000{part}-of-00002.parquet" for part in (0, 1)],
        [f"wikitext-103-raw-v1/validation-{SINGLE}"],
    ),
}
BESIDE = {
    "fashion-mnist": ["dataset_infos.json"],
    "svhn": [
        "cropped_digits/extra-00000-of-00002.parquet",
        "cropped_digits/extra-00001-of-00002.parquet",
        *(f"full_numbers/{split}-{SINGLE}" for split in ("train", "test", "extra")),
    ],
    "cifar100": ["dataset_infos.json"],
    "tiny-imagenet": ["dataset_infos.json", "classes.py"],
    "imagenet-1k": ["data/test-00000-of-00028.parquet", "classes.py"],
    "wikitext-103": [
        f"wikitext-103-raw-v1/test-{SINGLE}",
        *(f"wikitext-2-raw-v1/{split}-{SINGLE}" for split in ("train", "validation", "test")),
    ],
}

READER, STRANGER, NARROW, EXPIRED = "hf_reader", "hf_stranger", "hf_narrow", "hf_expired"
"""Tokens of: who accepted the terms, who did not, who may not read gated sets, and of nobody."""
GATED_PERMISSION = (
    "Please enable access to public gated repositories in your fine-grained token settings to "
    "view this repository."
)


"""A mistake that is known: its test asks for what should be."""


# ---- the server -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """What the server answers; of the body, only the first `sent` bytes before it hangs up."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sent: int | None = None
    stalls: bool = False
    """True if it does not hang up, but goes silent."""


@dataclass
class Repository:
    """A data set on the hub, at its one revision."""

    revision: str
    files: dict[str, bytes]
    gated: str = ""
    """What needs an accepted token: a kind of request, "everything", or "" for nothing."""
    fault: tuple[str, Callable[[Reply], Reply]] | None = None
    """A kind of request or a path, and what becomes of the answers to it."""
    ranges: bool = False
    """Whether the rest of a file can be asked for, as on the hub."""

    def listed(self, hub, kind):
        """Every file: with size and digest in the tree, by name in what is said of a revision."""
        if kind == "revision":
            names = [{"rfilename": path} for path in self.files]
            return as_json({"_id": "0", "id": hub, "sha": self.revision, "siblings": names})
        about = {
            path: {"size": len(body), "oid": sha256(body)} for path, body in self.files.items()
        }
        return as_json(
            [
                {"type": "file", "path": path, **entry, "lfs": {**entry, "pointerSize": 130}}
                for path, entry in about.items()
            ]
        )

    def file(self, name):
        """One file, with what the hub says of a large one."""
        if name not in self.files:
            return error(404, "EntryNotFound")
        body = self.files[name]
        etag = f'"{sha256(body)}"'
        about = {"X-Repo-Commit": self.revision, "X-Linked-Size": str(len(body))}
        return Reply(200, {**about, "X-Linked-Etag": etag, "ETag": etag}, body)


def as_json(content):
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(content).encode())


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def error(status, code):
    """What the hub says with an error."""
    return Reply(status, {"X-Error-Code": code})


def cut(reply):
    """Only the first half arrives."""
    return replace(reply, sent=len(reply.body) // 2)


def stall(reply):
    """The first half arrives, then nothing happens."""
    return replace(cut(reply), stalls=True)


def too_short(reply):
    """Files are announced as longer than they are."""
    longer = [entry | {"size": entry["size"] + 100} for entry in json.loads(reply.body)]
    return as_json(longer)


def other(reply):
    """A file as long as the one that is announced."""
    return replace(reply, body=bytes(len(reply.body)))


PORTAL = Reply(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
"""What something else than the hub answers, as in a hotel."""
FAULTS = {
    "unwell": ("tree", lambda _: Reply(500)),
    "unwell-files": ("resolve", lambda _: Reply(500)),
    "removed": ("tree", lambda _: error(404, "RepoNotFound")),
    "renamed": ("tree", lambda _: Reply(404)),
    "rewritten": ("tree", lambda _: error(404, "RevisionNotFound")),
    "missing-files": ("resolve", lambda _: error(404, "EntryNotFound")),
    "disconnecting": ("tree", lambda reply: replace(reply, sent=0)),
    "cut-short": ("resolve", cut),
    "too-short": ("tree", too_short),
    "other": ("resolve", other),
    "portal": ("tree", lambda _: PORTAL),
    "portal-files": ("resolve", lambda _: PORTAL),
}
"""Data set -> a way for its download to fail."""


class Hub(ThreadingHTTPServer):
    """Answers huggingface_hub's questions about data sets, and notes them."""

    daemon_threads = True
    route = re.compile(
        r"/(?:api/)?datasets/([^/]+/[^/]+)/(revision|tree|resolve)/(\w+)(?:/([^?]+))?"
    )

    def __init__(self, repositories):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.asked: list[tuple[str, str, str]] = []
        """Kind of request, repository, and path (for files) or revision."""
        self.ranges: list[tuple[str, int]] = []
        """Path, and the byte from which on the file was asked for."""
        self.stalled, self.go_on = threading.Event(), threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def reply(self, path, headers):
        match = self.route.match(path)
        if not match or match[1] not in self.repositories:
            self.asked.append(("unknown", path, ""))
            return error(404, "RepoNotFound")
        hub, kind, revision, name = match.groups()
        self.asked.append((kind, hub, name or revision))
        repository = self.repositories[hub]
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if revision != repository.revision:
            return error(404, "RevisionNotFound")
        if repository.gated in (kind, "everything") and token != READER:
            return refused(token)
        answer = repository.file(name) if kind == "resolve" else repository.listed(hub, kind)
        if repository.ranges and (asked := headers.get("Range")):
            answer = self.rest(answer, name, int(re.fullmatch(r"bytes=(\d+)-", asked)[1]))
        if repository.fault and repository.fault[0] in (kind, name):
            return repository.fault[1](answer)
        return answer

    def rest(self, answer, name, start):
        self.ranges.append((name, start))
        size = len(answer.body)
        part = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        return replace(answer, status=206, headers=answer.headers | part, body=answer.body[start:])


def refused(token):
    """What the hub says to a token that may not read a gated data set."""
    if token == EXPIRED:
        return Reply(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
    if token == NARROW:
        return Reply(403, {"X-Error-Message": GATED_PERMISSION})
    return error(403 if token else 401, "GatedRepo")


def fetched(asked, name):
    """Paths of the files of a data set that were asked for."""
    return {path for kind, hub, path in asked if (kind, hub) == ("resolve", SETTINGS[name].hub)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        reply = self.server.reply(self.path, self.headers)
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(reply.body[: reply.sent])
        if reply.stalls:
            self.server.stalled.set()
            self.server.go_on.wait()
        if reply.sent is not None:
            self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@contextmanager
def serving(repositories):
    hub = Hub(repositories)
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        hub.shutdown()
        hub.server_close()
        thread.join()


# ---- what it serves ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A small copy of a data set: its files, and the tensors that must come out."""

    settings: schema.Data
    files: dict[str, bytes]
    arrays: Arrays

    def repository(self, **changes):
        return Repository(self.settings.revision, dict(self.files), **changes)

    def wanted(self):
        """Paths of the files that are to be read."""
        return {path for path, body in self.files.items() if body != UNWANTED}

    def write(self, folder, name):
        """Write a mirror; return its folder."""
        for path in self.wanted():
            (folder / "mirror" / name / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "mirror" / name / path).write_bytes(self.files[path])
        return folder / "mirror"


def make(name):
    """Write a data set in the schema of its repository, labels up to the last class."""
    settings = SETTINGS[name]
    if settings.text:
        return make_text(name)
    random = np.random.default_rng(len(name))
    channels, height, width = settings.shape
    written, tensors = dict.fromkeys(["README.md", *BESIDE[name]], UNWANTED), {}
    for role, count, paths in zip(ROLES, IMAGES, PATHS[name], strict=True):
        pixels = random.integers(0, 256, (count, height, width, channels), np.uint8)
        labels = [settings.classes - 1, *random.integers(0, settings.classes, count - 1).tolist()]
        pictures = [Picture.fromarray(image.squeeze()) for image in pixels]
        if name == "tiny-imagenet":
            pictures[1] = pictures[1].convert("L")
            pixels[1] = np.asarray(pictures[1])[..., None]
        for part, path in zip(np.array_split(range(count), len(paths)), paths, strict=True):
            shard = [(pictures[index], labels[index]) for index in part]
            written[path] = parquet(settings, shard)
        tensors[f"{role}_images"] = torch.from_numpy(np.moveaxis(pixels, -1, 1).copy())
        tensors[f"{role}_labels"] = torch.tensor(labels)
    pinned = {path: sha256(written[path]) for path in settings.files}
    adapted = settings.model_copy(update={"images": IMAGES, "files": pinned})
    return Made(adapted, written, Arrays(**tensors))


def make_text(name):
    """Write lines of text; every file of a split ends in the midst of a sequence."""
    settings = SETTINGS[name]
    length = settings.shape[2]
    written, tensors = dict.fromkeys(["README.md", *BESIDE[name]], UNWANTED), {}
    for role, count, paths in zip(ROLES, IMAGES, PATHS[name], strict=True):
        lines = [f" line {number} of the {role} text \n" for number in range(count * 40)]
        for part, path in zip(np.array_split(lines, len(paths)), paths, strict=True):
            table = datasets.Dataset.from_dict({"text": part.tolist()})
            table.to_parquet(content := io.BytesIO())
            written[path] = content.getvalue()
        symbols = torch.tensor(list("".join(lines).encode()), dtype=torch.uint8)
        tensors[f"{role}_images"] = symbols[: count * length].view(count, 1, 1, length)
        tensors[f"{role}_labels"] = symbols[1 : count * length + 1].view(count, length)
    return Made(settings.model_copy(update={"images": IMAGES}), written, Arrays(**tensors))


def parquet(settings, rows):
    pictures, labels = zip(*rows, strict=True)
    names = [str(index) for index in range(settings.classes)]
    kinds = {settings.image: datasets.Image(), settings.label: datasets.ClassLabel(names=names)}
    columns = {settings.image: list(pictures), settings.label: list(labels)}
    if settings.label == "fine_label":
        kinds["coarse_label"] = datasets.ClassLabel(names=names[:20])
        columns["coarse_label"] = [label // 5 for label in labels]
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    table.to_parquet(content := io.BytesIO())
    return content.getvalue()


@pytest.fixture(scope="module")
def made():
    """All data sets of the benchmark that come from the hub, but for two that are seen whole."""
    return {name: make(name) for name in PATHS}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Give each test an empty cache and no mirror."""
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PAI_BENCH_MIRROR", raising=False)


@pytest.fixture
def hub(made):
    with serving({m.settings.hub: m.repository() for m in made.values()}) as hub:
        yield hub


# ---- who asks it ------------------------------------------------------------------------------

IMPATIENT = """
import json, sys, time
wait = time.sleep
time.sleep = lambda seconds: wait(min(seconds, 0.01))  # huggingface_hub waits between its tries.
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 100  # Files are small here.
"""
ORDERS = f"""{IMPATIENT}
from pai_bench.config.schema import Data
from pai_bench.data import files
from pai_bench.core.errors import BenchError

def load(name, data):
    from pai_bench.data import sources
    arrays = sources.load(name, data)
    return {{"digest": arrays.digest, "source": arrays.source}}

def find(name, data):
    found = files.find(name, data)
    names = [path.relative_to(found.folder).as_posix() for path in (*found.train, *found.test)]
    return {{"folder": str(found.folder), "names": names}}

for order, name, data in json.load(sys.stdin):
    try:
        answer = globals()[order](name, Data.model_validate_json(data))
    except BenchError as error:
        answer = {{"error": str(error)}}
    print(json.dumps(answer), flush=True)
"""
COMMAND = f"{IMPATIENT}\nfrom pai_bench.cli.main import main\nsys.exit(main(sys.argv[1:]))"
FOREIGN = re.compile(r"HF_|HUGGING|TRANSFORMERS_|PAI_BENCH_|.*_PROXY$", re.IGNORECASE)


@dataclass
class User:
    """Somebody with an empty home, and what they run."""

    folder: Path
    hub: Hub
    token: str | None = None

    @property
    def cache(self):
        return self.folder / "cache"

    def start(self, code, *arguments, **environment):
        kept = {key: value for key, value in os.environ.items() if not FOREIGN.match(key)}
        own = {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.folder / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PAI_BENCH_CACHE": str(self.cache),
            "NO_PROXY": "127.0.0.1",
        }
        own |= {"HF_TOKEN": self.token} if self.token else {}
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=kept | own | environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, *orders, **environment):
        """Load or find data sets in one program: (order, name, settings) each; their answers."""
        given = [(order, name, data.model_dump_json()) for order, name, data in orders]
        process = self.start(ORDERS, **environment)
        out, err = process.communicate(json.dumps(given), timeout=60)
        assert "Traceback" not in err, err
        answers = [json.loads(line) for line in out.splitlines()]
        assert len(answers) == len(orders), err
        return answers

    def find(self, name, data, **environment):
        (answer,) = self.ask(("find", name, data), **environment)
        return answer

    def command(self, *arguments):
        """Run pai-bench on the shipped benchmark.yaml; exit status, output, last line of errors."""
        process = self.start(COMMAND, *arguments, "--config", str(CONFIG))
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return process.returncode, out, err.strip().splitlines()[-1] if err.strip() else ""


@pytest.fixture
def user(hub, tmp_path):
    return User(tmp_path, hub)


def one_line(answer):
    assert list(answer) == ["error"], answer
    assert "\n" not in answer["error"]
    return answer["error"]


# ---- tests ------------------------------------------------------------------------------------


def test_every_data_set_of_the_hub_has_a_pinned_revision():
    of_hub = {name: data for name, data in SETTINGS.items() if data.hub is not None}
    assert set(PATHS) | {"mnist", "cifar10"} == set(of_hub)
    for name, data in of_hub.items():
        assert re.fullmatch("[0-9a-f]{40}", data.revision or ""), name


@dataclass
class Loaded:
    """What came of loading the small data sets: answers by data set, and what was asked."""

    user: User
    answers: dict[str, dict]
    asked: list


@pytest.fixture(scope="module")
def loaded(made, tmp_path_factory):
    with serving({m.settings.hub: m.repository() for m in made.values()}) as hub:
        user = User(tmp_path_factory.mktemp("loaded"), hub)
        orders = [("load", name, made[name].settings) for name in SMALL]
        return Loaded(user, dict(zip(SMALL, user.ask(*orders), strict=True)), hub.asked)


class TestLoading:
    """The small data sets, from the hub."""

    @pytest.mark.parametrize("name", SMALL)
    def test_the_tensors_are_those_that_were_written(self, name, loaded, made, monkeypatch):
        assert loaded.answers[name]["digest"] == made[name].arrays.digest
        monkeypatch.setenv("PAI_BENCH_CACHE", str(loaded.user.cache))
        found = load_file(cached_file(name, made[name].settings))
        for key, tensor in made[name].arrays.tensors().items():
            assert found[key].dtype == tensor.dtype
            assert torch.equal(found[key], tensor)

    @pytest.mark.parametrize("name", SMALL)
    def test_a_second_load_needs_no_hub(self, name, loaded, made, monkeypatch):
        monkeypatch.setenv("PAI_BENCH_CACHE", str(loaded.user.cache))
        monkeypatch.setattr(files, "find", lambda *_: pytest.fail("looks for files"))
        again = sources.load(name, made[name].settings)
        assert again.digest == made[name].arrays.digest
        assert again.source == loaded.answers[name]["source"]

    @pytest.mark.parametrize("name", SMALL)
    def test_the_source_names_repository_and_revision(self, name, loaded):
        settings = SETTINGS[name]
        source = f"{settings.hub} at revision {settings.revision}"
        assert loaded.answers[name]["source"] == source

    @pytest.mark.parametrize("name", SMALL)
    def test_only_the_files_of_subset_and_splits_are_fetched(self, name, loaded):
        (train,), (test,) = PATHS[name]
        assert fetched(loaded.asked, name) == {train, test}

    def test_nothing_but_the_pinned_revisions_is_asked_for(self, loaded):
        listed = {(hub, what) for kind, hub, what in loaded.asked if kind != "resolve"}
        assert listed == {(SETTINGS[name].hub, SETTINGS[name].revision) for name in SMALL}

    def test_files_that_were_fetched_are_found_when_the_hub_is_gone(self, loaded, made):
        found = loaded.user.ask(*(("find", name, made[name].settings) for name in SMALL))
        for name, answer in zip(SMALL, found, strict=True):
            (train,), (test,) = PATHS[name]
            assert answer["names"] == [train, test]

    def test_labels_of_another_column_do_not_come_from_the_cache(self, made, tmp_path, monkeypatch):
        fine = made["cifar100"].settings
        coarse = fine.model_copy(update={"label": "coarse_label", "classes": 20})
        monkeypatch.setenv("PAI_BENCH_MIRROR", str(made["cifar100"].write(tmp_path, "cifar100")))
        expected = made["cifar100"].arrays.train_labels
        assert torch.equal(sources.load("cifar100", fine).train_labels, expected)
        assert torch.equal(sources.load("cifar100", coarse).train_labels, expected // 5)


def test_text_of_several_files_is_joined(made, hub, user):
    text = made["wikitext-103"]
    (answer,) = user.ask(("load", "wikitext-103", text.settings))
    assert answer["digest"] == text.arrays.digest
    assert fetched(hub.asked, "wikitext-103") == text.wanted()


class TestDigests:
    """`files:` of benchmark.yaml, and files that were damaged later."""

    def test_a_file_that_is_not_the_pinned_one_is_refused_by_name(self, user):
        status, out, line = user.command("data", "cifar100")
        assert status == 2
        assert out == ""
        assert f"cifar100/train-{SINGLE}: SHA-256 is" in line
        assert f"says {SETTINGS['cifar100'].files[f'cifar100/train-{SINGLE}'][:16]}" in line
        assert list(user.cache.glob("*.safetensors")) == []

    def test_a_damaged_file_is_fetched_again_once_the_named_file_is_deleted(self, user, made):
        name, settings = "cifar100", made["cifar100"].settings
        found = user.find(name, settings)
        path = Path(found["folder"]) / found["names"][0]
        path.write_bytes(path.read_bytes()[:-20])
        message = one_line(user.find(name, settings))
        assert found["names"][0] in message
        for named in re.findall(rf"{re.escape(str(user.folder))}[^\s:;,]+", message):
            Path(named).unlink(missing_ok=True)
        assert user.find(name, settings) == found


class TestGated:
    """imagenet-1k: read by those who accepted its terms."""

    NAME = "imagenet-1k"

    @pytest.fixture(params=["resolve", "everything"])
    def gated(self, request, user):
        """Somebody without a token, where files or everything about the data set need one."""
        user.hub.repositories[SETTINGS[self.NAME].hub].gated = request.param
        return user

    def refusal(self, user):
        line = one_line(user.find(self.NAME, SETTINGS[self.NAME]))
        assert line.startswith(f"data set {self.NAME}: ")
        assert "https://huggingface.co/datasets/ILSVRC/imagenet-1k" in line
        assert "https://huggingface.co/settings/tokens" in line
        assert "`hf auth login`" in line
        return line

    @pytest.mark.parametrize(
        "token",
        [
            None,
            STRANGER,
            NARROW,
            EXPIRED,
        ],
    )
    def test_who_may_not_read_it_is_told_how_to(self, gated, token):
        gated.token = token
        self.refusal(gated)
        assert list(gated.folder.rglob("*.parquet")) == []

    def test_its_files_are_found_with_an_accepted_token_and_later_without(self, gated, made):
        wanted = [path for paths in PATHS[self.NAME] for path in paths]
        self.refusal(gated)
        gated.token = READER
        found = gated.find(self.NAME, SETTINGS[self.NAME])
        assert found["names"] == wanted
        assert fetched(gated.hub.asked, self.NAME) == set(wanted)
        for path in wanted:
            body = (Path(found["folder"]) / path).read_bytes()
            assert body == made[self.NAME].files[path]
        gated.token = None
        gated.hub.asked.clear()
        assert gated.find(self.NAME, SETTINGS[self.NAME]) == found
        assert gated.hub.asked == []

    def test_the_command_line_says_it_in_one_line(self, user):
        user.hub.repositories[SETTINGS[self.NAME].hub].gated = "resolve"
        status, out, line = user.command("data", "export", self.NAME, "out")
        assert (status, out) == (2, "")
        assert line.startswith(
            "pai-bench: error: data set imagenet-1k: ILSVRC/imagenet-1k is gated"
        )

    def test_an_expired_token_is_named_where_none_is_needed(self, user, made):
        user.hub.repositories[SETTINGS["svhn"].hub].gated = "everything"
        user.token = EXPIRED
        assert "`hf auth login`" in one_line(user.find("svhn", made["svhn"].settings))


@pytest.fixture(scope="module")
def failed(made, tmp_path_factory):
    """Answers by fault: while it lasts, and when it is over."""
    svhn, repositories, orders = made["svhn"], {}, []
    for name, fault in FAULTS.items():
        repositories[f"nobody/{name}"] = svhn.repository(fault=fault)
        settings = svhn.settings.model_copy(update={"hub": f"nobody/{name}"})
        orders.append(("find", name, settings))
    with serving(repositories) as hub:
        user = User(tmp_path_factory.mktemp("failed"), hub)
        before = user.ask(*orders)
        for repository in repositories.values():
            repository.fault = None
        after = user.ask(*orders)
    return {name: pair for name, *pair in zip(FAULTS, before, after, strict=True)}


class TestFailures:
    """A download that fails is one line that names the data set, and can be tried again."""

    @pytest.mark.parametrize("name", FAULTS)
    def test_it_is_said_in_one_line_and_a_later_try_succeeds(self, name, failed, made):
        before, after = failed[name]
        line = one_line(before)
        assert line.startswith(f"data set {name}: nobody/{name} could not be fetched from the hub")
        assert f"set PAI_BENCH_MIRROR to a folder that holds {name}/*.parquet" in line
        assert set(after["names"]) == made["svhn"].wanted()

    def test_an_error_of_the_server_is_not_taken_for_a_lost_connection(self, failed):
        before, _ = failed["unwell-files"]
        assert "500" in one_line(before)

    def test_a_subset_that_the_repository_has_not_got_is_named(self, user, made):
        settings = made["svhn"].settings.model_copy(update={"subset": "cropped"})
        line = one_line(user.find("svhn", settings))
        assert "svhn" in line
        assert "cropped: no file train-*.parquet" in line

    def test_a_set_of_which_files_are_missing_is_not_taken_for_the_whole(self, made, tmp_path):
        mirror = made["imagenet-1k"].write(tmp_path, "imagenet-1k")
        (mirror / "imagenet-1k" / PATHS["imagenet-1k"][0][1]).unlink()
        with pytest.raises(BenchError, match="train-"):
            files.find("imagenet-1k", made["imagenet-1k"].settings, str(mirror))


class TestInterrupted:
    """A process that is killed within the last file of a split, when the others are there."""

    NAME = "imagenet-1k"

    @pytest.fixture
    def last(self, user, made):
        """Path of the file of which half has come; the hub is asked nothing more after that."""
        data = made[self.NAME].settings
        *_, last = sorted(PATHS[self.NAME][0])
        repository = user.hub.repositories[data.hub]
        repository.fault = (last, stall)
        with user.start(ORDERS) as process:
            try:
                process.stdin.write(json.dumps([("find", self.NAME, data.model_dump_json())]))
                process.stdin.close()
                assert user.hub.stalled.wait(20)
                half = len(made[self.NAME].files[last]) // 2
                wait_for(lambda: [len(self.half(user)), len(self.whole(user))] == [1, 2])
                wait_for(lambda: self.half(user)[0].stat().st_size >= half - 8192)
            finally:
                process.kill()
        repository.fault = None
        user.hub.asked.clear()
        return last

    def half(self, user):
        return list(user.folder.rglob("*.incomplete"))

    def whole(self, user):
        return [path for path in user.folder.rglob("blobs/*") if not path.suffix]

    def completed(self, user, made, last):
        """The data set is found, with one file fetched; and then without the hub."""
        data = made[self.NAME].settings
        found = user.find(self.NAME, data)
        assert set(found["names"]) == made[self.NAME].wanted()
        assert fetched(user.hub.asked, self.NAME) == {*found["names"]}
        assert (Path(found["folder"]) / last).read_bytes() == made[self.NAME].files[last]
        assert user.find(self.NAME, data, HF_HUB_OFFLINE="1") == found
        assert self.half(user) == []

    def test_what_is_there_is_not_taken_for_the_whole(self, user, made, last):
        line = one_line(user.find(self.NAME, made[self.NAME].settings, HF_HUB_OFFLINE="1"))
        assert self.NAME in line

    def test_a_file_goes_on_where_it_was(self, user, made, last):
        (half,) = self.half(user)
        beginning = half.read_bytes()
        assert beginning
        user.hub.repositories[made[self.NAME].settings.hub].ranges = True
        self.completed(user, made, last)
        assert user.hub.ranges == [(last, len(beginning))]

    def test_a_hub_that_gives_whole_files_only_is_asked_for_one(self, user, made, last):
        self.completed(user, made, last)

    def test_a_beginning_that_is_not_its_own_is_dropped(self, user, made, last):
        (half,) = self.half(user)
        half.write_bytes(bytes(100))
        user.hub.repositories[made[self.NAME].settings.hub].ranges = True
        self.completed(user, made, last)


def test_two_programs_that_fetch_the_same_files_at_once_both_get_them(user, made):
    name, data = "imagenet-1k", made["imagenet-1k"].settings
    given = json.dumps([("find", name, data.model_dump_json())])
    programs = [user.start(ORDERS) for _ in range(2)]
    for program in programs:
        program.stdin.write(given)
        program.stdin.close()
    for program in programs:
        found = json.loads(program.stdout.read())
        assert program.wait() == 0
        assert set(found["names"]) == made[name].wanted()
        for path in found["names"]:
            assert (Path(found["folder"]) / path).read_bytes() == made[name].files[path]


def test_the_size_is_said_before_anything_is_fetched_and_not_again(user, made):
    given = json.dumps([("find", "svhn", made["svhn"].settings.model_dump_json())])
    _, said = user.start(ORDERS).communicate(given, timeout=60)
    size = sum(len(made["svhn"].files[path]) for path in made["svhn"].wanted()) / 1e6
    assert f"svhn: 2 files, {size:,.1f} MB, from {made['svhn'].settings.hub} on the hub" in said
    assert user.hub.asked[0][0] == "tree"
    _, said = user.start(ORDERS).communicate(given, timeout=60)
    assert "MB" not in said


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_an_export_is_read_when_the_hub_is_gone(made, tmp_path, monkeypatch):
    svhn, imagenet = made["svhn"], made["imagenet-1k"]
    with serving({m.settings.hub: m.repository(gated="resolve") for m in (svhn, imagenet)}) as hub:
        user = User(tmp_path, hub, READER)
        for name in ("svhn", "imagenet-1k"):
            status, out, line = user.command("data", "export", name, "out")
            assert status == 0, line
            assert f"PAI_BENCH_MIRROR={tmp_path / 'out'}" in out
            listed = (tmp_path / "out" / name / files.MANIFEST).read_text().splitlines()
            assert {line.split()[1] for line in listed} == made[name].wanted()
            assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    (tmp_path / "home").rename(tmp_path / "gone")
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path / "another cache"))
    monkeypatch.setenv("PAI_BENCH_MIRROR", str(tmp_path / "out"))
    arrays = sources.load("svhn", svhn.settings)
    assert arrays.digest == svhn.arrays.digest
    assert arrays.source == str(tmp_path / "out/svhn")
    found = files.find("imagenet-1k", imagenet.settings)
    assert {p.relative_to(found.folder).as_posix() for p in found.train + found.test} == (
        imagenet.wanted()
    )
