"""From a bundle to a language model: the one place that knows what kinds there are."""

import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from lathe.core.bundle import Bundle
from lathe.core.digest import write_json
from lathe.core.errors import BundleError
from lathe.core.runtime import Precision, set_up
from lathe.likelihood.hybrid import Guide, give_hearing
from lathe.likelihood.masked import MaskedNetwork
from lathe.likelihood.mixture import Mixture
from lathe.likelihood.network import CausalNetwork
from lathe.likelihood.protocol import LanguageModel, Windows
from lathe.likelihood.words import NGrams
from lathe.models.pretrained import language_model_class, longest_input, open_config, open_model, open_tokenizer
from lathe.ngrams import NGramModel

MIXTURE, NETWORK, NGRAM = "mixture.json", "network", "ngram"
"""A mixture's own file, and the folders of what it mixes."""
HEARD = "hearing.safetensors"
"""By what a network hears the n-grams that it has learnt beside."""


HALF_ROWS = Windows()


def open_language_model(
    path: Path, windows: Windows = HALF_ROWS, precision: Precision = "fp32"
) -> LanguageModel | MaskedNetwork:
    """Open a finished language model, every file compared with its digest. Raises ``BundleError`` where it is none."""
    bundle = Bundle.open(path, kind="model")
    bundle.verify()
    runtime = bundle.manifest.runtime
    if runtime is not None and runtime.kind == "ngram":
        return NGrams(NGramModel.open(path))
    max_length = bundle.manifest.preprocessing.get("max_length")
    if runtime is not None and runtime.kind == "mixture":
        return _open_mixture(path, max_length, windows, precision)
    if runtime is None or runtime.kind != "torch" or bundle.manifest.task is not None:
        raise BundleError(f"{path}: no language model; score it with `lathe evaluate`")
    return open_network(path, max_length, windows, precision)


def _open_mixture(path: Path, max_length: int | None, windows: Windows, precision: Precision) -> LanguageModel:
    mixed = json.loads((path / MIXTURE).read_text("utf-8"))
    network = open_network(path / NETWORK, max_length, windows, precision)
    ngrams = NGramModel.open(path / NGRAM)
    if isinstance(network, MaskedNetwork):
        raise BundleError(f"{path / NETWORK}: a masked network is no part of a mixture")
    if "weight" in mixed:
        return Mixture(network, NGrams(ngrams), mixed["weight"])
    give_hearing(network.model).load_state_dict(load_file(path / HEARD))
    return replace(network, guide=Guide.of(ngrams, network.tokenizer, network.model.config.vocab_size))


def open_network(
    folder: Path, max_length: int | None, windows: Windows, precision: Precision
) -> CausalNetwork | MaskedNetwork:
    """The network of a Hugging Face folder."""
    set_up()
    tokenizer, config = open_tokenizer(folder), open_config(folder)
    longest = min(longest_input(tokenizer, config, limit=max_length or 512), max_length or 512)
    auto_model = language_model_class(folder)
    if auto_model is AutoModelForCausalLM:
        return CausalNetwork(open_model(auto_model, folder).model, tokenizer, longest, windows, precision)
    if auto_model is AutoModelForMaskedLM:
        return MaskedNetwork(open_model(auto_model, folder).model, tokenizer, longest, precision)
    raise BundleError(f"{folder}: predicts one text from another, not a text by itself; there is no such score for it")


def write_mixture(folder: Path, weight: float | None) -> None:
    """The mixture's own file: the weight of the network; none where the network has learnt beside the n-grams."""
    write_json(folder / MIXTURE, {"format": 1} | ({} if weight is None else {"weight": weight}))
