"""Opening and writing standard Hugging Face folders, without code or pickles from them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from lathe.core.bundle import Runtime
from lathe.core.errors import BundleError, LatheError
from lathe.core.fit import plain
from lathe.core.keyed import scalar_seed
from lathe.core.runtime import MANY_BYTES, device
from lathe.models.shapes import described, opener, reshape

KEPT_BYTES = 136
"""What a layer keeps for the backward pass, for each token and each number of its width: 34 float32."""
SHORT_ROW = 40
"""Tokens: longer rows take the rest of their memory when they come."""


@dataclass(frozen=True)
class Opened:
    """A model and what its folder did not say about it."""

    model: PreTrainedModel
    new: tuple[str, ...]  # weights that were not in the folder: drawn anew
    unused: tuple[str, ...]  # weights of the folder that this model has no place for


def check_folder(folder: Path) -> None:
    """Raises ``BundleError`` for a model folder that cannot or must not be opened."""
    _check_config(folder)
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"))
        found = (
            f"only {', '.join(pickles)}, which can run code; convert to safetensors" if pickles else "no *.safetensors"
        )
        raise BundleError(f"{folder}: no weights that are safe to open ({found})")


def _check_config(folder: Path) -> None:
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; give the folder of a model (Lathe fetches nothing from a hub)")
    file = folder / "config.json"
    if not file.is_file():
        raise BundleError(f"{folder}: not a model folder (no config.json)")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{file}: not JSON ({error})") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BundleError(f"{file}: does not name a model_type")
    if "auto_map" in config or "auto_map" in _tokenizer_config(folder):
        raise BundleError(f"{folder}: wants to run code of its own (auto_map); Lathe runs none from a model folder")


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise BundleError(f"{file}: not JSON ({error})") from None
    return config if isinstance(config, dict) else {}


def open_config(folder: Path) -> PretrainedConfig:
    """The configuration of a folder, whatever form its weights have."""
    _check_config(folder)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, KeyError) as error:
        raise BundleError(f"{folder}: transformers does not know this architecture ({error})") from None
    return config


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder; it never cuts or pads unless asked to in the call."""
    if not (folder / "tokenizer.json").is_file():
        raise BundleError(f"{folder}: no tokenizer.json; Lathe needs a fast tokenizer beside the model")
    logging.set_verbosity_error()
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError) as error:
        raise BundleError(f"{folder}: the tokenizer cannot be opened ({error})") from None
    tokenizer.backend_tokenizer.encode_special_tokens = True  # "[PAD]" in a user's text is text, not padding
    if not _tells_texts_apart(folder):
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    return tokenizer


def _tells_texts_apart(folder: Path) -> bool:
    """Whether the model of a folder has embeddings for the two texts of a pair; a tokenizer alone may have one yet.

    DistilBERT and ModernBERT would refuse types, GPT-2 would take them for words, whatever their tokenizers say.
    """
    try:
        return int(getattr(open_config(folder), "type_vocab_size", 0)) > 1
    except BundleError:  # no model, or one that is not opened here: the tokenizer may be taken all the same
        return True


def refuse_other_vocabulary(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, folder: Path | None) -> None:
    """Raises ``BundleError`` where the tokenizer of ``folder`` makes tokens that the model has no embedding of."""
    highest = max(tokenizer.get_vocab().values(), default=0)
    size = config.get_text_config().vocab_size
    if highest >= size:
        raise BundleError(
            f"{folder}: its tokenizer has ids up to {highest}, and the model has embeddings of {size} tokens only: "
            "they do not belong together; take the tokenizer that the model was trained with, or let `lathe extend` "
            "enlarge it"
        )


def longest_input(tokenizer: Any, config: Any, limit: int = 512) -> int:
    """Most pieces a model takes: the least of its positions, the tokenizer's own limit, and ``limit``."""
    known = (
        getattr(config, "max_position_embeddings", None),
        getattr(config, "n_positions", None),
        tokenizer.model_max_length,
    )
    offset = config.pad_token_id + 1 if starts_behind_padding(config) else 0
    return int(min(limit, *(value - offset for value in known if value and value > 0)))  # XLNet: -1, any length


def starts_behind_padding(config: Any) -> bool:
    """Whether the positions of a model begin with the number behind that of its padding token."""
    return getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert")


def open_model(
    auto_model: Any, folder: Path, outputs: Sequence[str] = (), seed: int = 0, pad: int | None = None
) -> Opened:
    """The weights of a folder under the head ``auto_model``; ``outputs`` names the outputs of a labelled head.

    ``pad`` is the padding token where the configuration names none (GPT-2 finds a row's last token by it).

    Weights the folder lacks (a new head) are drawn from ``seed`` alone.
    """
    check_folder(folder)
    config = with_head(open_config(folder), outputs, pad)
    torch.manual_seed(scalar_seed("weights", seed))
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, about = opener(auto_model, config).from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise BundleError(
            f"{folder}: cannot be opened as {auto_model.__name__}: {str(error).splitlines()[0]}"
        ) from None
    return Opened(_placed(model), tuple(sorted(about["missing_keys"])), tuple(sorted(about["unexpected_keys"])))


def with_head(config: PretrainedConfig, outputs: Sequence[str], pad: int | None) -> PretrainedConfig:
    """The configuration with the names of its head's outputs, and a padding token where it names none."""
    if config.pad_token_id is None:
        config.pad_token_id = pad
    if outputs:
        config.id2label = dict(enumerate(outputs))
        config.label2id = {name: index for index, name in enumerate(outputs)}
    return config


def head_modules(opened: Opened) -> list[str]:
    """Names of the modules that have to be trained whatever else is frozen: the task's head, and what is drawn anew.

    A vocabulary head that the folder has is no head of a task.
    """
    model = opened.model
    words, within = model.get_output_embeddings(), {id(p) for p in model.base_model.parameters()}

    def is_head(child: nn.Module) -> bool:
        own = [id(parameter) for parameter in child.parameters()]
        return bool(own) and within.isdisjoint(own) and not any(module is words for module in child.modules())

    heads = [name for name, child in model.named_children() if is_head(child)]
    drawn = dict.fromkeys(name.rpartition(".")[0] for name in opened.new)
    return heads + [name for name in drawn if name.partition(".")[0] not in heads]


def absent(model: PreTrainedModel, folder: Path) -> tuple[str, ...]:
    """Weights of ``model`` that a folder has not, by their names alone: about what `open_model` will find."""
    there: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            there |= {_bare(name, model) for name in tensors.keys()}  # noqa: SIM118 - it is no mapping
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    return tuple(name for name, _ in model.named_parameters() if name not in tied and _bare(name, model) not in there)


def _bare(name: str, model: PreTrainedModel) -> str:
    """Without the prefix that a model's body has below a head; norms by their name of today."""
    renamed = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return renamed.removeprefix(f"{model.base_model_prefix}.")


def language_model_class(folder: Path) -> Any:
    """``AutoModelFor...LM`` of the language model in a folder. Raises ``BundleError`` for any other model."""
    config = open_config(folder)
    architecture = str((config.architectures or ["no architecture"])[0])
    for auto_model in (AutoModelForSeq2SeqLM, AutoModelForMaskedLM, AutoModelForCausalLM):
        mapping: Any = auto_model._model_mapping
        known = mapping.get(type(config), ())
        if architecture in {model.__name__ for model in (known if isinstance(known, tuple) else (known,))}:
            return auto_model
    raise BundleError(
        f"{folder}: {architecture} is no language model, it has learnt a task; "
        "take the language model that it was finetuned from (`lathe show` names it)"
    )


def new_model(auto_model: Any, config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """Fresh weights, drawn from ``seed`` alone."""
    torch.manual_seed(scalar_seed("weights", seed))
    model = auto_model.from_config(config)
    if (shape := described(config)) is not None:
        reshape(model, shape)
    return _placed(model)


def training_bytes(folder: Path, rows: int) -> int:
    """About what training the weights of a folder takes on a CPU, with steps of ``rows`` short rows.

    Weights, gradients and two moments, of a large word table the weights alone, and what layers keep for the backward
    pass.
    """
    if device().type != "cpu":
        return 0
    config = open_config(folder)
    names = ("hidden_size", "num_hidden_layers", "vocab_size")
    width, layers, words = (getattr(config, name, None) or 0 for name in names)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    table = 4 * width * words
    mostly_zero = 3 * min(weights, table) if table >= MANY_BYTES else 0  # `zero_pages`
    return 4 * weights - mostly_zero + KEPT_BYTES * layers * width * rows * SHORT_ROW


def _placed(model: Any) -> PreTrainedModel:
    """The model on this machine's device."""
    placed: PreTrainedModel = model.to(device())
    return placed


def summary(names: Sequence[str]) -> str:
    """Weight names in brief: the modules they belong to."""
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name in names))


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Runtime:
    """Write a standard Hugging Face folder; returns the files that a predictor needs.

    Raises ``LatheError`` where a weight is not a finite number: such a model answers nonsense with a straight face.
    """
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise LatheError(f"{name}: has weights that are not finite; training diverged, lower train.learning_rate")
    plain(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    return Runtime(kind="torch", precision="fp32", files=tuple(name for name in files if (folder / name).is_file()))
