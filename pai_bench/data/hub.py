"""The parquet files of the Hugging Face hub: fetched once, at the pinned revision."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError
from pai_bench.data import hub_cache
from pai_bench.data.hub_cache import RemoteFile
from pai_bench.data.split_files import Files, check_complete, collect


def from_hub(name: str, settings: Data) -> Files:
    """Use what was fetched before, if it is all there; else ask the hub."""
    with contextlib.suppress(Exception):
        snapshot = _snapshot(settings, local=True)
        check_complete(snapshot)
        return snapshot
    try:
        listed = _listed(settings)
        _announce(name, settings, listed)
        hub_cache.fetch(listed)
        return _snapshot(settings, local=False)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(_why_not(name, settings, error)) from error


def _snapshot(settings: Data, local: bool) -> Files:
    """Find or fetch the files of both splits, at the pinned revision."""
    import huggingface_hub

    assert settings.hub is not None
    folder = huggingface_hub.snapshot_download(
        settings.hub,
        repo_type="dataset",
        revision=settings.revision,
        allow_patterns=_patterns(settings),
        local_files_only=local,
    )
    source = f"{settings.hub} at revision {settings.revision}"
    return collect(Path(folder), Path(folder) / (settings.subset or "."), settings, source)


def _patterns(settings: Data) -> list[str]:
    return [f"{settings.subset or '**'}/{s}-*.parquet" for s in (settings.train, settings.test)]


def _listed(settings: Data) -> list[RemoteFile]:
    """List the files of both splits on the hub."""
    import huggingface_hub

    hub, revision = str(settings.hub), settings.revision
    entries = huggingface_hub.HfApi().list_repo_tree(
        hub, repo_type="dataset", revision=revision, recursive=True
    )
    return [
        RemoteFile(hub, revision, entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None)
        for entry in entries
        if isinstance(entry, huggingface_hub.RepoFile)
        and any(fnmatch(entry.path, pattern) for pattern in _patterns(settings))
    ]


def _announce(name: str, settings: Data, files: Sequence[RemoteFile]) -> None:
    """Say how much is to be fetched, before it is; bars of huggingface_hub show how far it is."""
    size = sum(file.size for file in files) / 1e6
    print(
        f"{name}: {len(files)} files, {size:,.1f} MB, from {settings.hub} on the hub; after an "
        "interrupt it goes on where it was",
        file=sys.stderr,
    )


def _why_not(name: str, settings: Data, error: Exception) -> str:
    """Say why nothing could be fetched, from what the hub answered, and what to do about it."""
    import huggingface_hub

    answer = _answer(error)
    status = getattr(getattr(answer, "response", None), "status_code", None)
    if settings.gated and (status in (401, 403) or huggingface_hub.get_token() is None):
        return _how_to_get_access(name, str(settings.hub))
    advice = (
        "the token of this machine is not accepted: run `hf auth login` again, or unset HF_TOKEN"
        if status in (401, 403)
        else "without a connection, set PAI_BENCH_MIRROR to a folder that holds "
        f"{settings.folder or name}/*.parquet"
    )
    answered = " ".join(str(answer).split())
    return (
        f"data set {name}: {settings.hub} could not be fetched from the hub "
        f"({type(answer).__name__}: {answered}); {advice}"
    )


def _answer(error: BaseException) -> BaseException:
    """The hub's own answer among the causes of an error, where there is one."""
    from huggingface_hub.errors import HfHubHTTPError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    return cause or error


def _how_to_get_access(name: str, hub: str) -> str:
    return (
        f"data set {name}: {hub} is gated; accept its terms at "
        f"https://huggingface.co/datasets/{hub}, make a token at "
        "https://huggingface.co/settings/tokens (one that may read gated repositories), run "
        "`hf auth login` (or set HF_TOKEN), then try again; or set PAI_BENCH_MIRROR to a folder "
        "that has it"
    )
