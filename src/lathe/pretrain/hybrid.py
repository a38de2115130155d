"""``lathe hybrid``: n-grams counted, and a network trained beside them to say what they do not; one language model."""

from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from lathe.core import runtime
from lathe.core.batches import refuse_sizes
from lathe.core.bundle import Bundle, Manifest, Runtime
from lathe.core.documents import read_texts
from lathe.core.errors import DataError, RecipeError
from lathe.core.fit import Course, fit, settled
from lathe.core.recipe import recipe
from lathe.core.report import say
from lathe.core.tokens import TokenFile
from lathe.core.types import Symbols
from lathe.core.work import Work, run_stage
from lathe.likelihood import CausalNetwork, LanguageModel, NGrams, Windows, likelihood
from lathe.likelihood.hybrid import HEARING, SENTINEL, Guide, GuidedLM, HeldOut, give_hearing
from lathe.likelihood.opening import HEARD, MIXTURE, NETWORK, NGRAM, write_mixture
from lathe.models import AnyModel, Llama
from lathe.models.pretrained import longest_input, new_model, open_tokenizer, refuse_other_vocabulary, save_model
from lathe.ngrams import BOS, NGramModel, Pieces, count, estimate
from lathe.objectives import CausalLM
from lathe.pretrain.course import Laid, PretrainTrain, Text, lay


@recipe
class Data:
    train: Path
    """Text to learn from: a corpus bundle, or a file of text, JSONL, CSV or Parquet, plain or compressed."""
    validation: Path | None = None
    """Text to measure on."""


@recipe
class Recipe:
    data: Data
    """The text."""
    tokenizer: Path
    """Folder of the tokenizer: the network and the n-grams share its pieces."""
    order: int = Field(5, ge=2, le=32)
    """Longest n-gram in pieces."""
    parts: int = Field(10, ge=2)
    """Parts of the text; in training each is read beside the n-grams of the others."""
    model: AnyModel = Llama()
    """Shape of the network."""
    max_length: int = Field(128, ge=2)
    """Longest row in tokens that the network reads."""
    train: PretrainTrain = PretrainTrain()
    """How to train the network."""
    windows: Windows = Windows()
    """How long texts are read when they are scored."""


def run(recipe: Recipe, out: Path) -> Bundle:
    """Count, train; ``out`` becomes a bundle that holds both models."""
    inputs = [recipe.data.train, recipe.data.validation, recipe.tokenizer]
    return run_stage("hybrid", recipe, out, inputs, partial(_make, recipe))


def _make(recipe: Recipe, work: Work) -> Manifest:
    runtime.set_up()
    tokenizer = open_tokenizer(recipe.tokenizer)
    tokenizer.add_special_tokens({"extra_special_tokens": [SENTINEL]})
    shape = recipe.model.config(tokenizer)
    if recipe.max_length > (longest := longest_input(tokenizer, shape, limit=1 << 30)):
        raise RecipeError(f"max_length: {recipe.max_length} is more than this model takes ({longest})")
    CausalLM().check_model(shape, Symbols.of(tokenizer))
    refuse_other_vocabulary(tokenizer, shape, recipe.tokenizer)
    ngrams, laid = _read(recipe, tokenizer, shape.vocab_size, work)
    model = new_model(AutoModelForCausalLM, shape, recipe.train.seed)
    give_hearing(model)
    say(f"{shape.model_type}, {model.num_parameters():,} parameters, beside {recipe.order}-grams")
    guide = Guide.of(ngrams, tokenizer, shape.vocab_size)
    course = Course(GuidedLM(guide.sentinel), laid.source, Symbols.of(tokenizer), laid.plan, laid.total)
    for _ in fit(model, course, settled(recipe.train, work), work, {}):
        pass
    scores = _measure(recipe, CausalNetwork(model, tokenizer, recipe.max_length, recipe.windows, guide=guide))
    return Manifest(
        kind="model",
        stage="hybrid",
        scores=scores | {"steps": laid.total},
        preprocessing={"max_length": recipe.max_length},
        runtime=_save(model, tokenizer, ngrams, work.result),
    )


def _read(recipe: Recipe, tokenizer: Any, vocab_size: int, work: Work) -> tuple[NGramModel, Laid]:
    """The n-grams of the text, and the steps over its rows."""
    units = Pieces(tokenizer=recipe.tokenizer)
    vocabulary, stream = units.learn(read_texts(recipe.data.train))
    if len(stream) == 2 * int((stream == BOS).sum()):
        raise DataError(f"{recipe.data.train}: no text to learn from")
    held_out = HeldOut(units, vocabulary, stream, recipe.order, recipe.parts)

    def rows(max_length: int) -> Text:
        folder = work.path / f"tokens-{max_length}"
        if not folder.is_dir():
            TokenFile.write(folder, read_texts(recipe.data.train), tokenizer, max_length)
        return Text(held_out.rows(TokenFile.open(folder), tokenizer, vocab_size))

    laid = lay(rows, recipe.max_length, recipe.train)
    for size in recipe.train.step_sizes:
        refuse_sizes(laid.source.lengths, size, recipe.train.tokens_per_batch)
    levels = count(stream, recipe.order, len(vocabulary))
    return NGramModel.of_counts(units, vocabulary, levels, estimate(levels)), laid


def _measure(recipe: Recipe, network: CausalNetwork) -> dict[str, Any]:
    """Of the n-grams, and of both, on the validation text."""
    if recipe.data.validation is None or network.guide is None:
        say("no data.validation: nothing is measured")
        return {}
    texts = list(read_texts(recipe.data.validation, "validation"))
    if not texts:
        raise DataError(f"{recipe.data.validation}: no text to measure on")
    models: dict[str, LanguageModel] = {"ngram": NGrams(network.guide.ngrams), "hybrid": network}
    found = {name: likelihood(model, texts, name) for name, model in models.items()}
    say(", ".join(f"{name} {one.bits_per_byte:.4f} bits a byte" for name, one in found.items()))
    return {name: one.to_json() for name, one in found.items()}


def _save(model: PreTrainedModel, tokenizer: Any, ngrams: NGramModel, folder: Path) -> Runtime:
    (folder / NETWORK).mkdir()
    (folder / NGRAM).mkdir()
    save_file(model.get_submodule(HEARING).state_dict(), folder / HEARD)
    delattr(model, HEARING)  # what is left is a network as transformers knows it
    saved = save_model(model, tokenizer, folder / NETWORK).files
    files = [*(f"{NETWORK}/{name}" for name in saved), *(f"{NGRAM}/{name}" for name in ngrams.save(folder / NGRAM))]
    write_mixture(folder, weight=None)
    return Runtime(kind="mixture", files=(*files, HEARD, MIXTURE))
