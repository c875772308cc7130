"""The parquet files of the Hugging Face hub: fetched once, at the pinned revision."""

from __future__ import annotations

import contextlib
import sys
from fnmatch import fnmatch
from pathlib import Path

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError
from pai_bench.data.split_files import Files, check_complete, collect


def from_hub(name: str, settings: Data) -> Files:
    """Use what was fetched before, if it is all there; else ask the hub."""
    with contextlib.suppress(Exception):
        snapshot = _snapshot(settings, local=True)
        check_complete(snapshot)
        return snapshot
    try:
        _announce(name, settings)
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


def _announce(name: str, settings: Data) -> None:
    """Say how much is to be fetched, before it is; bars of huggingface_hub show how far it is.

    It goes on with a file where the connection broke, and keeps whole files after an interrupt.
    """
    import huggingface_hub

    listed = huggingface_hub.HfApi().list_repo_tree(
        str(settings.hub), repo_type="dataset", revision=settings.revision, recursive=True
    )
    sizes = {entry.path: entry.size for entry in listed if hasattr(entry, "size")}
    patterns = _patterns(settings)
    wanted = [path for path in sizes if any(fnmatch(path, pattern) for pattern in patterns)]
    size = sum(sizes[path] for path in wanted) / 1e6
    print(
        f"{name}: {len(wanted)} files, {size:,.1f} MB, from {settings.hub} on the hub; those that "
        "are whole after an interrupt are kept",
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
