"""``lathe corpus``: from files, or the documentation on this machine, to clean, deduplicated and split text."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from lathe.core.bundle import Bundle, Manifest
from lathe.core.data import Bad, write_quarantine
from lathe.core.documents import SPLITS, SUFFIX, DocumentWriter, Split, read_document_file
from lathe.core.errors import DataError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.runtime import cores
from lathe.core.scripts import script_of
from lathe.core.types import Document
from lathe.core.work import Work, run_stage
from lathe.corpus.clean import DropExactDuplicates, DropNearDuplicates, DropShort, Normalise
from lathe.corpus.documentation import Documentation, LibraryLabels, label_by_library
from lathe.corpus.files import Files
from lathe.corpus.ledger import Ledger
from lathe.corpus.split import Proportions

AnySource: TypeAlias = Annotated[Files | Documentation, Field(discriminator="kind")]
AnyStep: TypeAlias = Annotated[
    Normalise | DropShort | DropExactDuplicates | DropNearDuplicates, Field(discriminator="kind")
]


@recipe
class Recipe:
    """Text in, a corpus out."""

    source: AnySource
    """Where the documents come from."""
    steps: tuple[AnyStep, ...] = (Normalise(), DropShort(), DropExactDuplicates(), DropNearDuplicates())
    """Rules, in order."""
    split: Proportions = Proportions()
    """Parts that are held out."""


def run(recipe: Recipe, out: Path) -> Bundle:
    source = recipe.source
    return run_stage("corpus", recipe, out, source.inputs(), partial(make, recipe), source.states())


def make(recipe: Recipe, work: Work) -> Manifest:
    """Stream the source through the steps into one file for each split."""
    bad: list[Bad] = []
    ledger = Ledger()
    with ExitStack() as stack:
        writers = {split: stack.enter_context(DocumentWriter(work.result / f"{split}{SUFFIX}")) for split in SPLITS}
        found = _readable(recipe.source.read(work.path / "read", cores()), bad)
        scripts = Counter[str]()
        for document in ledger.closed(cleaned(found, recipe.steps, ledger)):
            writers[recipe.split.of(recipe.source.group_of(document))].write(document)
            scripts[script_of(document.text)] += len(document.text)
    for split, writer in writers.items():
        if not writer.written.documents:
            (work.result / f"{split}{SUFFIX}").unlink()
    ledger.check()
    if not ledger.kept:
        found_none = f"nothing is left: {ledger.summary()}, {len(bad):,} unreadable"
        raise DataError(f"{found_none}; relax the steps, or give more text")
    ledger.write_samples(work.result / "dropped.jsonl")
    write_quarantine(bad, work.path / "quarantine.jsonl")
    sizes = {split: writer.written._asdict() for split, writer in writers.items()}
    scores = ledger.scores() | {"unreadable": len(bad), "splits": sizes, "scripts": shares(scripts)}
    if isinstance(recipe.source, Documentation) and recipe.source.labelled is not None:
        scores["labelled"] = write_labelled(recipe.source.labelled, recipe.split, work.result)
    _tell(ledger, scores)
    return Manifest(kind="corpus", stage="corpus", scores=scores)


def cleaned(documents: Iterable[Document], steps: Iterable[AnyStep], ledger: Ledger) -> Iterator[Document]:
    """The documents that all steps leave in the stream, changed as they say."""
    stream = ledger.opened(documents)
    for step in steps:
        stream = ledger.through(step, stream)
    return stream


def write_labelled(task: LibraryLabels, split: Proportions, folder: Path) -> dict[str, dict[str, int]]:
    """``classify-train.jsonl`` and its like: rows of a module are in the split that the module's text is in."""
    documents = (document for name in SPLITS for document in _split(folder, name))
    rows = label_by_library(documents, task.labels, task.cap, task.characters)
    counts: dict[str, Counter[str]] = {name: Counter() for name in SPLITS}
    with ExitStack() as stack:
        paths = {name: folder / f"classify-{name}.jsonl" for name in SPLITS}
        files = {name: stack.enter_context(path.open("w", encoding="utf-8")) for name, path in paths.items()}
        for row in rows:
            name = split.of(row["module"])
            counts[name][row["label"]] += 1
            files[name].write(json.dumps(row, ensure_ascii=False) + "\n")
    return {name: dict(sorted(count.items())) for name, count in counts.items()}


def _split(folder: Path, name: Split) -> Iterable[Document]:
    file = folder / f"{name}{SUFFIX}"
    return read_document_file(file) if file.is_file() else ()


def shares(counts: Counter[str]) -> dict[str, float]:
    """Each script's share of the characters, the largest first."""
    return {name: round(count / max(counts.total(), 1), 4) for name, count in counts.most_common()}


def _readable(items: Iterable[Document | Bad], bad: list[Bad]) -> Iterator[Document]:
    for item in items:
        if isinstance(item, Bad):
            bad.append(item)
        else:
            yield item


def _tell(ledger: Ledger, scores: dict[str, Any]) -> None:
    say(f"corpus: {ledger.summary()}; {scores['unreadable']:,} unreadable (quarantine.jsonl)")
    for split, size in scores["splits"].items():
        say(f"  {split}: {size['documents']:,} documents, {size['bytes'] / 1e6:.1f} MB")
    for split, counts in scores.get("labelled", {}).items():
        say(f"  classify-{split}.jsonl: " + ", ".join(f"{label} {count:,}" for label, count in counts.items()))
