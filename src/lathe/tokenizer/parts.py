"""What the kinds of tokenizer share: their special tokens, the cut at unspaced scripts, and BERT's frame."""

import re
from collections.abc import Iterator, Sequence

from tokenizers import Regex, Tokenizer, pre_tokenizers, processors

from lathe.core.scripts import UNSPACED_CLASS

ENCODER_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
END, PAD, UNKNOWN = "<|endoftext|>", "<|pad|>", "<|unknown|>"
DECODER_TOKENS = {"bos_token": END, "eos_token": END, "pad_token": PAD}

TEXTS_AT_ONCE = 256


def in_lists(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Runs of texts, each of which the library works on in parallel."""
    return (texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE))


def unspaced_apart() -> pre_tokenizers.PreTokenizer:
    """Each character of a script without spaces by itself, with the marks that combine with it."""
    return pre_tokenizers.Split(Regex(rf"{UNSPACED_CLASS}\p{{M}}*"), "isolated")


def cut_inside(names: Sequence[str]) -> pre_tokenizers.PreTokenizer:
    """Each name cut behind its first character, so that a model which lists it does not take text for it."""
    parts = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in names)
    return pre_tokenizers.Split(Regex(parts), "isolated")


def framed_as_bert(tokenizer: Tokenizer) -> processors.PostProcessor:
    """``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``, the second text with token type 1."""
    names = ("[CLS]", "[SEP]")
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in names],
    )
