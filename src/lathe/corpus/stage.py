"""``lathe corpus``: from files, or the documentation on this machine, to clean, deduplicated and split text."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from lathe.core.bundle import Bundle, Manifest
from lathe.core.data import Bad
from lathe.core.documents import SPLITS, SUFFIX, DocumentWriter, Split, read_document_file
from lathe.core.errors import DataError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.runtime import cores
from lathe.core.types import Document
from lathe.core.work import Work, run_stage, work_folder
from lathe.corpus.census import open_engine
from lathe.corpus.clean import DropShort, Normalise
from lathe.corpus.documentation import Documentation, LibraryLabels, label_by_library
from lathe.corpus.duplicates import DropContaminated, DropExactDuplicates, DropNearDuplicates, DropRepeatedParts
from lathe.corpus.files import Files
from lathe.corpus.ledger import Ledger
from lathe.corpus.perplexity import Perplexity
from lathe.corpus.processes import Workers
from lathe.corpus.protocol import inputs_of, prepare
from lathe.corpus.readers.tables import TEXT_COLUMNS
from lathe.corpus.report import report
from lathe.corpus.rules import AnyRule
from lathe.corpus.runner import Part, Runner
from lathe.corpus.segments import SOURCE
from lathe.corpus.shards import Shard
from lathe.corpus.split import Proportions

AnySource: TypeAlias = Annotated[Files | Documentation, Field(discriminator="kind")]
AnyStep: TypeAlias = Annotated[
    Normalise
    | DropShort
    | AnyRule
    | DropExactDuplicates
    | DropRepeatedParts
    | DropNearDuplicates
    | DropContaminated
    | Perplexity,
    Field(discriminator="kind"),
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
    tokenizer: Path | None = None
    """Folder of a tokenizer, to count tokens before and after the steps."""
    processes: int | None = Field(None, ge=1)
    """Processes that read and apply steps, each in some 400 MB of memory; as many as there are cores if not given. The
    corpus is the same whatever their number, and an unfinished run can go on with another."""
    memory_mib: int = Field(1024, ge=1)
    """Memory in which documents are compared with one another, and evaluation files made ready for it; what does not
    fit goes to disk."""


def run(recipe: Recipe, out: Path) -> Bundle:
    source = recipe.source
    refuse_own(source, out, work_folder(Path(out)))
    inputs = [*source.inputs(), *(file for step in recipe.steps for file in inputs_of(step)), recipe.tokenizer]
    return run_stage("corpus", as_made_anywhere(recipe), out, inputs, partial(make, recipe), source.states())


def as_made_anywhere(recipe: Recipe) -> Recipe:
    """The recipe without what changes how a corpus is made and not what is in it."""
    return replace(recipe, processes=None, memory_mib=Recipe.memory_mib)


def make(recipe: Recipe, work: Work) -> Manifest:
    """Take the source through the steps, shard by shard, into one file for each split."""
    if recipe.tokenizer is not None:
        open_engine(recipe.tokenizer)  # refused here if at all
    refuse_own(recipe.source, work.path)  # a pattern may match it, now that it is there
    memory = recipe.memory_mib * 2**20
    for step in recipe.steps:
        prepare(step, memory)
    work.checkpoints.mkdir(exist_ok=True)
    split = partial(split_of, recipe.source, recipe.split)
    with Workers(recipe.processes or cores()) as workers:
        runner = Runner(recipe.source, recipe.steps, split, work.checkpoints, workers, memory, recipe.tokenizer)
        try:
            made = runner.run()
            refuse_nothing(made.ledger, runner.quarantine)
        except DataError:  # of no use to the recipe that will be right
            shutil.rmtree(work.checkpoints)
            raise
    splits = join(runner.shards(made), work.result)
    (work.result / "dropped.jsonl").write_text("".join(made.ledger.sample_lines()), encoding="utf-8")
    shutil.copyfile(runner.quarantine, work.path / "quarantine.jsonl")
    scores = made.ledger.scores() | made.scores | {"splits": splits, "scripts": shares(made.ledger.after.scripts)}
    if isinstance(recipe.source, Documentation) and recipe.source.labelled is not None:
        scores["labelled"] = write_labelled(recipe.source.labelled, recipe.split, work.result)
    written = report(made.ledger, [step.kind for step in recipe.steps], made.scores, splits)
    (work.result / "report.html").write_text(written, encoding="utf-8")
    _tell(made.ledger, scores)
    return Manifest(kind="corpus", stage="corpus", scores=scores)


def refuse_own(source: AnySource, *written: Path) -> None:
    """Raises ``DataError`` where the source takes in a folder that this run writes."""
    read = {path: path.resolve() for path in source.inputs()}
    for own in written:
        place = own.resolve()
        for path, found in read.items():
            if place.is_relative_to(found) or found.is_relative_to(place):
                what = f"source.paths takes it in ({path}), so the run would read itself"
                raise DataError(f"{own}: {what}; choose another -o")


def split_of(source: AnySource, proportions: Proportions, document: Document) -> Split:
    return proportions.of(source.group_of(document))


def refuse_nothing(ledger: Ledger, quarantine: Path) -> None:
    """Raises ``DataError`` that names the rule which decided, or the first fault, where no document is left."""
    if ledger.kept:
        return
    if not ledger.read:
        raise DataError("nothing is left: the source holds no documents, only empty files or lines")
    if not ledger.dropped_by:
        with quarantine.open(encoding="utf-8") as faults:
            first = Bad(**json.loads(next(faults)))
        raise DataError(f"nothing is left: {ledger.summary()}; nothing could be read, the first: {first}")
    (step, count), *_ = ledger.dropped_by.most_common()
    if step == SOURCE:
        raise DataError(f"nothing is left: {ledger.summary()}; {count:,} hold no text to keep: give files that do")
    what = f"{step} dropped {count:,} of them"
    raise DataError(f"nothing is left: {ledger.summary()}; {what}: relax that step, or give more text")


def join(shards: Iterable[tuple[Shard, Part]], folder: Path) -> dict[str, dict[str, int]]:
    """One file for each split that has documents, and what is in it."""
    with ExitStack() as stack:
        writers = {split: stack.enter_context(DocumentWriter(folder / f"{split}{SUFFIX}")) for split in SPLITS}
        for shard, part in shards:
            for split, writer in writers.items():
                if part.written[split].documents:
                    writer.write_file(shard.documents(split), part.written[split])
    for split, writer in writers.items():
        if not writer.written.documents:
            (folder / f"{split}{SUFFIX}").unlink()
    sizes = {split: writer.written for split, writer in writers.items()}
    return {
        split: {"documents": w.documents, "characters": w.characters, "bytes": w.bytes} for split, w in sizes.items()
    }


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


def _tell(ledger: Ledger, scores: dict[str, Any]) -> None:
    say(f"corpus: {ledger.summary()}" + " (quarantine.jsonl)" * bool(ledger.quarantined))
    for split, size in scores["splits"].items():
        say(f"  {split}: {size['documents']:,} documents, {size['bytes'] / 1e6:.1f} MB")
    if columns := scores.get(TEXT_COLUMNS):
        told = ", ".join(f"{name} (in {count:,})" for name, count in columns.items())
        say(f"  columns of tables that were taken for the text: {told}; source.text names another")
    for split, counts in scores.get("labelled", {}).items():
        say(f"  classify-{split}.jsonl: " + ", ".join(f"{label} {count:,}" for label, count in counts.items()))
