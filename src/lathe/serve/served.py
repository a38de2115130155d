"""The models behind a server, by name."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from lathe.core.bundle import Bundle
from lathe.core.errors import RecipeError
from lathe.core.predictor import Confident, TaskPredictor
from lathe.core.runtime import Precision
from lathe.core.types import Encoded, Row
from lathe.generation import Generator, WritingForward, load_generator
from lathe.likelihood.network import CausalNetwork
from lathe.likelihood.predictor import TextScorer
from lathe.loader import asked_of, load
from lathe.models.pretrained import language_model_class
from lathe.serve.refusals import Problem

GENERATE = "generate"
"""What a language model that writes answers by itself."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}


class Answers(Protocol):
    """What is needed of a predictor."""

    @property
    def task(self) -> Any: ...

    def encode(self, rows: Sequence[Row | str]) -> list[Encoded]: ...

    def sizes(self, encoded: Sequence[Encoded]) -> list[int]: ...

    def predict(self, encoded: Sequence[Encoded]) -> list[Any]: ...


@dataclass(frozen=True)
class Served:
    """A model that is open."""

    name: str
    version: str  # the first digits of its digest
    predictor: Answers | None  # none where it only writes
    generator: Generator | None = None  # of a model that writes
    made_s: int = 0  # when its folder was made, in seconds since 1970
    dtype: str = "float32"  # of its weights
    bundle: Bundle | None = field(default=None, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it can be asked: its task, or, of a language model, what that answers by itself."""
        task = () if self.predictor is None else (str(self.predictor.task.kind),)
        return (*task, GENERATE) if self.writes_freely else task

    @property
    def writes_freely(self) -> bool:
        """Whether it is a language model that goes on from any text, and has learnt no task."""
        return self.generator is not None and (self.predictor is None or isinstance(self.predictor, TextScorer))

    @property
    def task(self) -> Any:
        """None where it only writes."""
        return None if self.predictor is None else self.predictor.task

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(getattr(self.task, "labels", None) or ())

    @property
    def confident(self) -> Confident:
        """What answers with how likely each answer is right. Raises ``RecipeError`` where that is not known."""
        if not isinstance(self.predictor, TaskPredictor):
            raise RecipeError(f"confidence: there is none for {' and '.join(self.kinds)}; leave it out")
        return self.predictor.confident

    @property
    def tokenizer(self) -> Any:
        """None where it has none of its own: n-grams."""
        own = getattr(self.predictor, "tokenizer", None)
        return self.generator.tokenizer if own is None and self.generator is not None else own

    @property
    def lock(self) -> threading.Lock:
        """Held while the tokenizer is used."""
        lock: threading.Lock = getattr(self.predictor, "_lock", self._lock)
        return lock


class Models(Mapping[str, Served]):
    """Models by name, in the order in which they were given."""

    def __init__(self, models: Sequence[Served]) -> None:
        self._models = {model.name: model for model in models}
        self.changes = 0  # how often one has been replaced

    def replace(self, model: Served) -> None:
        """Let a model answer in the place of the one of its name; requests that have found that one keep it."""
        self._models[model.name] = model
        self.changes += 1

    def __getitem__(self, name: str) -> Served:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def named(self, name: str) -> Served:
        """The model ``name``, or ``name@version``. Raises ``Problem`` where there is no such one."""
        plain, _, version = name.partition("@")
        if plain not in self._models:
            raise Problem(404, f"no model of this name is served; there are {', '.join(self)}")
        model = self._models[plain]
        if version and version != model.version:
            raise Problem(404, f"this version is not served; it is {model.title}")
        return model

    def asked(self, name: str | None, kinds: Sequence[str], what: str) -> Served:
        """The model of this name, or the only one that can be asked such things.

        ``kinds`` are tasks, those that answer best first. Raises ``Problem`` where there is none, or several are.
        """
        if name is not None:
            model = self.named(name)
            if kinds and not set(kinds) & set(model.kinds):
                raise Problem(422, f"{model.title} answers by {' and '.join(model.kinds)}; {what} needs another model")
            return model
        for kind in kinds:
            able = [model for model in self._models.values() if kind in model.kinds]
            if len(able) == 1:
                return able[0]
            if able:
                raise Problem(422, f"several models can be asked this; name one: {', '.join(m.name for m in able)}")
        served = "; ".join(f"{model.name}: {' and '.join(model.kinds)}" for model in self._models.values())
        raise Problem(404, f"no model is served that answers {what}; there are {served}")


def names_of(given: Sequence[str]) -> dict[str, Path]:
    """What is to be served: folders under their own names, or ``name=folder``. Raises ``RecipeError``."""
    found: dict[str, Path] = {}
    for one in given:
        named, equals, path = one.partition("=")
        folder = Path(path if equals else one)
        name = named if equals else folder.resolve().name
        if not _NAME.fullmatch(name):
            raise RecipeError(
                f"bundle: {name[:80]!r} cannot be the name of a model (letters, digits, '.', '_', '-'; at most 64); "
                f"write a name before the folder: NAME={folder}"
            )
        if name in found:
            raise RecipeError(
                f"bundle: {found[name]} and {folder} are both called {name}; write another name before one: "
                f"NAME={folder}"
            )
        found[name] = folder
    return found


def titles_of(folders: Mapping[str, Path]) -> list[str]:
    """Their names and versions, before any is opened. Raises ``BundleError``."""
    return [f"{name}@{_version(bundle)}" for name, bundle in _bundles(folders).items()]


def open_models(folders: Mapping[str, Path], precision: Precision = "fp32") -> Models:
    """Every file is compared with its digest. Raises ``BundleError``, for all folders before any model is opened."""
    return Models([_opened(name, bundle, precision) for name, bundle in _bundles(folders).items()])


def _bundles(folders: Mapping[str, Path]) -> dict[str, Bundle]:
    bundles = {name: Bundle.open(folder.resolve(), kind="model") for name, folder in folders.items()}
    for bundle in bundles.values():
        if not _only_writes(bundle):
            asked_of(bundle)
    return bundles


def open_model(name: str, folder: Path, precision: Precision, unless: str) -> Served | None:
    """The model of a folder, or None where it is of the version ``unless``. Raises ``BundleError`` as above."""
    bundle = Bundle.open(folder.resolve(), kind="model")
    if _version(bundle) == unless:
        return None
    if not _only_writes(bundle):
        asked_of(bundle)
    return _opened(name, bundle, precision)


def _version(bundle: Bundle) -> str:
    return bundle.digest[:12]


def _opened(name: str, bundle: Bundle, precision: Precision) -> Served:
    version, made_s = _version(bundle), int((bundle.path / "manifest.json").stat().st_mtime)
    dtype = _DTYPES[bundle.manifest.runtime.precision if bundle.manifest.runtime else "fp32"]
    if _only_writes(bundle):
        return Served(name, version, None, load_generator(bundle.path, precision), made_s, dtype, bundle)
    predictor = load(bundle.path, precision)
    return Served(name, version, predictor, _generator_of(predictor, bundle, precision), made_s, dtype, bundle)


def _only_writes(bundle: Bundle) -> bool:
    """Whether it is a language model that makes one text of another."""
    runtime = bundle.manifest.runtime
    if bundle.manifest.task is not None or runtime is None or runtime.kind != "torch":
        return False
    return language_model_class(bundle.path) not in (AutoModelForCausalLM, AutoModelForMaskedLM)


def _generator_of(predictor: TaskPredictor, bundle: Bundle, precision: Precision) -> Generator | None:
    """What writes, with the weights that are open already."""
    if isinstance(predictor.forward, WritingForward):
        return predictor.forward.generator
    network = getattr(predictor, "model", None)
    runtime = bundle.manifest.runtime
    if isinstance(network, CausalNetwork) and runtime is not None and runtime.kind == "torch":
        return Generator(network.model, network.tokenizer, precision)
    return None
