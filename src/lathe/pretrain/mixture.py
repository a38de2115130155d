"""``lathe mix``: a network and an n-gram model of its tokenizer, joined into one language model."""

import shutil
from functools import partial
from pathlib import Path

from lathe.core.bundle import Bundle, Manifest, Runtime
from lathe.core.documents import read_texts
from lathe.core.errors import BundleError, DataError
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.work import Work, run_stage
from lathe.likelihood import CausalNetwork, Likelihood, Mixture, NGrams, Windows, likelihood, open_language_model
from lathe.likelihood.mixture import best_weight
from lathe.likelihood.opening import MIXTURE, NETWORK, NGRAM, write_mixture


@recipe
class Data:
    validation: Path
    """Text that neither model has learnt from, to find the weight on: a corpus bundle, or a file of text."""


@recipe
class Recipe:
    network: Path
    """A causal network."""
    ngram: Path
    """An n-gram model of the pieces of its tokenizer."""
    data: Data
    """The text."""
    windows: Windows = Windows()
    """How long texts are read."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Find the weight; ``out`` becomes a bundle that holds both models."""
    inputs = [recipe.network, recipe.ngram, recipe.data.validation]
    return run_stage("mix", recipe, out, inputs, partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    network, ngrams = (open_language_model(path, recipe.windows) for path in (recipe.network, recipe.ngram))
    if not isinstance(network, CausalNetwork):
        raise BundleError(f"network: {recipe.network}: no network that predicts the next token")
    if not isinstance(ngrams, NGrams):
        raise BundleError(f"ngram: {recipe.ngram}: no n-gram model; make one with `lathe ngram`")
    texts = list(read_texts(recipe.data.validation, "validation"))
    if not texts:
        raise DataError(f"{recipe.data.validation}: no text to find the weight on")
    weight = best_weight(network, ngrams, texts)
    found = {
        "network": likelihood(network, texts, "network"),
        "ngram": likelihood(ngrams, texts, "n-grams"),
        "mixture": likelihood(Mixture(network, ngrams, weight), texts, "both"),
    }
    say(f"weight of the network {weight:.3f}; bits a byte: {_in_brief(found)}")
    files = (*_copied(recipe.network, work.result / NETWORK), *_copied(recipe.ngram, work.result / NGRAM))
    write_mixture(work.result, weight)
    scores = {"weight": weight} | {name: one.to_json() for name, one in found.items()}
    settings = {"max_length": network.max_length}
    return Manifest(
        kind="model",
        stage="mix",
        scores=scores,
        preprocessing=settings,
        runtime=Runtime(kind="mixture", files=(*files, MIXTURE)),
    )


def _copied(bundle: Path, folder: Path) -> list[str]:
    """The files that a model needs, in a folder of the mixture; their names there."""
    folder.mkdir()
    runtime = Bundle.open(bundle).manifest.runtime
    names = runtime.files if runtime else ()
    for name in names:
        shutil.copyfile(bundle / name, folder / name)
    return [f"{folder.name}/{name}" for name in names]


def _in_brief(found: dict[str, Likelihood]) -> str:
    return ", ".join(f"{name} {one.bits_per_byte:.4f}" for name, one in found.items())
