"""The texts of a pretraining run, as rows of tokens that are made once and kept in its work folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from lathe.core import parallel
from lathe.core.bundle import Bundle, is_bundle
from lathe.core.documents import SPLITS, Split, read_texts, splits_of
from lathe.core.errors import DataError
from lathe.core.keyed import is_chosen
from lathe.core.recipe import differences, recipe
from lathe.core.report import say
from lathe.core.tokens import TokenFile, made_from
from lathe.core.work import Work
from lathe.objectives import AnyObjective
from lathe.pretrain.course import Text, mixed
from lathe.pretrain.evaluation import OLD, VALIDATION, HeldOut


@recipe
class Data:
    train: Path
    """Text to learn from: a corpus bundle, or a file of text, JSONL, CSV or Parquet, plain or compressed; or rows that
    `lathe pack` has made of one with the same tokenizer, max_length and objective."""
    validation: Path | None = None
    """Text to measure on; a corpus bundle brings its own."""
    sample_ratio: float = Field(1.0, gt=0, le=1)
    """Share of the training documents that is used, chosen by their text: for a run too short to read them all."""
    replay: Path | None = None
    """Old text, some of which is learnt again so that a continued model does not forget it."""
    replay_ratio: float = Field(0.1, gt=0, lt=1)
    """Share of the rows that is old text, other rows of it in each epoch."""
    old_validation: Path | None = None
    """Old text to measure forgetting on; a corpus bundle that is replayed brings its own."""


@dataclass(frozen=True)
class Texts:
    """What is learnt from and measured on; each is opened, and its digest compared, once."""

    data: Data
    objective: AnyObjective
    tokenizer: Any
    max_length: int
    work: Work
    _opened: dict[Path, TokenFile] = field(default_factory=dict)

    def train(self, max_length: int) -> TokenFile:
        return self._read("train", self.data.train, "train", max_length, self.data.sample_ratio)

    def learnt(self, max_length: int) -> Text:
        """New text, and old text where some is replayed, in rows of this length."""
        new = self.train(max_length)
        if self.data.replay is None:
            return Text(new)
        return mixed(new, self._read("replay", self.data.replay, "train", max_length), self.data.replay_ratio)

    def held_out(self) -> tuple[HeldOut, ...]:
        data, found = self.data, []
        for name, given, learnt in ((VALIDATION, data.validation, data.train), (OLD, data.old_validation, data.replay)):
            if path := given or _with_validation(learnt):
                split: Split = "validation" if is_bundle(path) and not _is_packed_file(path) else "train"
                found.append(HeldOut(name, self._read(name, path, split, self.max_length), self.tokenizer))
            elif name == VALIDATION:
                say("no validation text: only the training loss is measured")
            elif learnt:
                say("no data.old_validation: it is not seen what is forgotten")
        return tuple(found)

    def _read(self, name: str, path: Path, split: Split, max_length: int, share: float = 1.0) -> TokenFile:
        """Raises ``DataError`` where there is no text: no step can be made of nothing, and its loss would be 0."""
        tokens = (self._packed if _is_packed(path) else self._tokenised)(name, path, split, max_length, share)
        if not len(tokens):
            of_share = f" in the share data.sample_ratio={share} takes" if share < 1 else ""
            raise DataError(f"{path}: holds no text{of_share}; name a file that does")
        self.objective.check_rows(tokens, path)
        return tokens

    def _tokenised(self, name: str, path: Path, split: Split, max_length: int, share: float) -> TokenFile:
        folder = self.work.path / f"tokens-{name}{'' if max_length == self.max_length else f'-{max_length}'}"

        def write() -> None:
            if not folder.is_dir():
                texts = (text for text in read_texts(path, split) if is_chosen(text, share))
                TokenFile.write(folder, texts, self.tokenizer, max_length, self.objective.layout)

        if folder not in self._opened:
            parallel.once(write)
        return self._open(folder)

    def _packed(self, name: str, path: Path, split: Split, max_length: int, share: float) -> TokenFile:
        """Raises ``DataError`` where the rows are not those that this run would make of their text."""
        if share < 1:
            raise DataError(f"{path}: is packed, and data.sample_ratio chooses among texts; give the text itself")
        if split not in _packed_splits(path):
            raise DataError(f"{path}: has no packed {split} text; pack a corpus that has, or name another text")
        tokens = self._open(path / split)
        wanted = made_from(self.tokenizer, max_length, self.objective.layout)
        if changed := differences(tokens.header.made_from, wanted):
            raise DataError(
                f"{path}: these rows are not those that this run takes; pack the text again with its tokenizer, length "
                "and objective, or give the text itself. What differs:\n" + "\n".join(f"  {line}" for line in changed)
            )
        return tokens

    def _open(self, folder: Path) -> TokenFile:
        if folder not in self._opened:
            self._opened[folder] = TokenFile.open(folder)
        return self._opened[folder]


def _with_validation(learnt: Path | None) -> Path | None:
    """A bundle that has text to measure on."""
    if learnt is None or not is_bundle(learnt):
        return None
    return learnt if "validation" in (_packed_splits(learnt) or splits_of(learnt)) else None


def _is_packed(path: Path) -> bool:
    return is_bundle(path) and Bundle.open(path).manifest.kind == "tokens"


def _packed_splits(path: Path) -> tuple[Split, ...]:
    return tuple(split for split in SPLITS if (path / split).is_dir()) if _is_packed(path) else ()


def _is_packed_file(path: Path) -> bool:
    """Rows of a file: it had no splits, all of it is there."""
    return _packed_splits(path) == ("train",)
