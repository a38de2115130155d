"""Which families of models run packed, checked by tests, and why the others run padded."""

from collections.abc import Mapping
from types import MappingProxyType

from transformers import PreTrainedConfig

_OWN_ATTENTION = "its attention is written out in the model and cannot be replaced"

# By `config.model_type`: None where packed equals padded in outputs and gradients, else why it runs padded.
FAMILIES: Mapping[str, str | None] = MappingProxyType(
    {
        "albert": None,
        "bart": None,
        "bert": None,
        "camembert": None,
        "distilbert": None,
        "electra": None,
        "ernie": None,
        "gpt2": None,
        "lathe-decoder": None,
        "lathe-encoder": None,
        "lathe-encoder-decoder": None,
        "llama": None,
        "mbart": None,
        "mistral": None,
        "modernbert": None,
        "qwen2": None,
        "qwen3": None,
        "roberta": None,
        "t5": None,
        "xlm-roberta": None,
        "big_bird": _OWN_ATTENTION,
        "bloom": _OWN_ATTENTION,
        "convbert": "its convolutions run over neighbouring positions, padding included",
        "deberta": _OWN_ATTENTION,
        "deberta-v2": _OWN_ATTENTION,
        "fnet": "its Fourier transform runs over all positions, padding included",
        "funnel": _OWN_ATTENTION,
        "gpt_oss": "its attention has sinks",
        "gptj": _OWN_ATTENTION,
        "longformer": _OWN_ATTENTION,
        "mpnet": _OWN_ATTENTION,
        "nystromformer": _OWN_ATTENTION,
        "roformer": _OWN_ATTENTION,
        "squeezebert": _OWN_ATTENTION,
        "xlm": _OWN_ATTENTION,
        "xlnet": _OWN_ATTENTION,
    }
)

# The module before the vocabulary projection that takes [B, T, D]: it, too, need only run on labelled rows.
HEAD_TRANSFORMS: Mapping[str, str] = MappingProxyType(
    {
        "albert": "predictions.dense",
        "bert": "cls.predictions.transform",
        "camembert": "lm_head.dense",
        "deberta-v2": "cls.predictions.transform",
        "distilbert": "vocab_transform",
        "electra": "generator_predictions",
        "ernie": "cls.predictions.transform",
        "modernbert": "head",
        "roberta": "lm_head.dense",
        "xlm-roberta": "lm_head.dense",
    }
)


def why_padded(config: PreTrainedConfig) -> str | None:
    """None for a model that runs packed, else the reason in one sentence."""
    family = config.model_type
    if family not in FAMILIES:
        return f"models of type {family!r} run padded: packing is not verified for them"
    reason = FAMILIES[family]
    if reason is None and getattr(config, "attn_logit_softcapping", None):
        reason = "its attention caps its scores"
    return None if reason is None else f"models of type {family!r} run padded: {reason}"
