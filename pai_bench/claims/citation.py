"""How to cite a paper, and PaI-Bench: BibTeX from what benchmark.yaml and the claims files say."""

from __future__ import annotations

from pai_bench.claims.schema import ClaimsFile
from pai_bench.config.schema import Paper
from pai_bench.core.project import VERSION

TITLE = "PaI-Bench: a reproducibility benchmark for papers that train sparse neural networks"
AUTHORS = "The PaI-Bench authors"


def of_paper(content: ClaimsFile, paper: Paper | None) -> str:
    """BibTeX of a paper; only authors and year where benchmark.yaml does not have it."""
    fields = {"author": " and ".join(content.authors), "year": str(content.year)}
    if paper is not None:
        fields |= {"title": f"{{{paper.title}}}", "booktitle": paper.venue, "url": paper.url}
    return _entry("inproceedings", content.paper, fields)


def of_benchmark() -> str:
    """BibTeX of PaI-Bench; CITATION.cff says the same."""
    fields = {
        "author": f"{{{AUTHORS}}}",
        "title": f"{{{TITLE}}}",
        "version": VERSION,
    }
    return _entry("software", "pai-bench", fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"
