"""The kinds of tokenizer: how text is cut before learning, what is learnt, and which special tokens frame a text.

All of them cut an unspaced script (Chinese, Japanese, Thai, ...) into characters first, each with its combining marks:
otherwise a sentence would count as one word, and training would explode in time and memory over "words" seen once.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lathe.core.errors import RecipeError
from lathe.core.recipe import recipe
from lathe.tokenizer.alphabet import inner_characters
from lathe.tokenizer.parts import DECODER_TOKENS, ENCODER_TOKENS, UNKNOWN, framed_as_bert, in_lists, unspaced_apart
from lathe.tokenizer.special import add_special, refuse_names, without
from lathe.tokenizer.unigram import Unigram

ALPHABET_RATIO = 0.5
"""Most of the vocabulary that single characters may take: Chinese text alone has thousands."""


@recipe
class WordPiece:
    """For encoders of BERT's shape: pieces of words, a character never seen in training is unknown."""

    kind: Literal["wordpiece"] = "wordpiece"
    lowercase: bool = True
    """Fold case and take accents off."""
    min_frequency: int = Field(2, ge=1)
    """Fewest occurrences of a pair of pieces that is joined."""

    special: ClassVar[dict[str, str]] = ENCODER_TOKENS

    def empty(self) -> Tokenizer:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), unspaced_apart()])
        tokenizer.decoder = decoders.WordPiece()
        return tokenizer

    def learn(self, texts: Sequence[str], size: int) -> Tokenizer:
        limit = int(size * ALPHABET_RATIO / 2)  # a character takes two places: at the start of a word, and inside
        tokenizer = self.empty()
        inner = [f"##{c}" for c in inner_characters(texts, tokenizer.normalizer, limit)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=self.min_frequency,
            special_tokens=[*self.special.values(), *inner],
            limit_alphabet=limit,
            show_progress=False,
        )
        tokenizer.train_from_iterator(in_lists(texts), trainer)
        finished = self.empty()  # without the inner characters among its special tokens
        finished.model = models.WordPiece(tokenizer.get_vocab(), unk_token=self.special["unk_token"])
        finished.post_processor = framed_as_bert(finished)
        return finished


@recipe
class BPE:
    """Byte pair encoding over characters (Sennrich et al., 2016), framed as BERT's; blanks are kept as pieces."""

    kind: Literal["bpe"] = "bpe"
    min_frequency: int = Field(2, ge=1)
    """Fewest occurrences of a pair of pieces that is joined."""

    special: ClassVar[dict[str, str]] = ENCODER_TOKENS

    def empty(self) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=False))
        tokenizer.normalizer = normalizers.NFC()
        spaces = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([spaces, unspaced_apart()])
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="never", split=True)
        return tokenizer

    def learn(self, texts: Sequence[str], size: int) -> Tokenizer:
        tokenizer = self.empty()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=self.min_frequency,
            special_tokens=list(self.special.values()),
            limit_alphabet=int(size * ALPHABET_RATIO),
            show_progress=False,
        )
        tokenizer.train_from_iterator(in_lists(texts), trainer)
        tokenizer.post_processor = framed_as_bert(tokenizer)
        return tokenizer


@recipe
class ByteBPE:
    """For decoders of GPT-2's shape: byte pair encoding over bytes (Radford et al., 2019); nothing is ever unknown."""

    kind: Literal["byte_bpe"] = "byte_bpe"
    min_frequency: int = Field(2, ge=1)
    """Fewest occurrences of a pair of pieces that is joined."""

    special: ClassVar[dict[str, str]] = DECODER_TOKENS

    def empty(self) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE())
        words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([unspaced_apart(), words])
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    def learn(self, texts: Sequence[str], size: int) -> Tokenizer:
        tokenizer = self.empty()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=self.min_frequency,
            special_tokens=list(dict.fromkeys(self.special.values())),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(in_lists(texts), trainer)
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        return tokenizer


@recipe
class Characters:
    """For decoders of a small alphabet: each character is a piece; one never seen in training is unknown."""

    kind: Literal["characters"] = "characters"
    min_frequency: int = Field(1, ge=1)
    """Fewest occurrences of a character that is known."""

    special: ClassVar[dict[str, str]] = DECODER_TOKENS | {"unk_token": UNKNOWN}

    def empty(self) -> Tokenizer:
        tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
        return tokenizer

    def learn(self, texts: Sequence[str], size: int) -> Tokenizer:
        special = list(dict.fromkeys(self.special.values()))
        counts = Counter(character for text in texts for character in text)
        known = sorted((c for c in counts if counts[c] >= self.min_frequency), key=lambda c: (-counts[c], c))
        pieces = special + known[: max(size - len(special), 0)]
        tokenizer = self.empty()
        tokenizer.model = models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token=UNKNOWN)
        tokenizer.add_special_tokens(special)
        return tokenizer


@recipe
class Words:
    """Each word is a piece, each punctuation mark too; a word that is too rare is unknown."""

    kind: Literal["words"] = "words"
    lowercase: bool = True
    """Fold case and take accents off."""
    min_frequency: int = Field(2, ge=1)
    """Fewest occurrences of a word that is known."""

    special: ClassVar[dict[str, str]] = ENCODER_TOKENS

    def empty(self) -> Tokenizer:
        tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), unspaced_apart()])
        return tokenizer

    def learn(self, texts: Sequence[str], size: int) -> Tokenizer:
        tokenizer = self.empty()
        trainer = trainers.WordLevelTrainer(
            vocab_size=size,
            min_frequency=self.min_frequency,
            special_tokens=list(self.special.values()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(in_lists(texts), trainer)
        tokenizer.post_processor = framed_as_bert(tokenizer)
        return tokenizer


AnyAlgorithm: TypeAlias = Annotated[
    WordPiece | BPE | ByteBPE | Unigram | Words | Characters, Field(discriminator="kind")
]


def train_tokenizer(
    algorithm: AnyAlgorithm, texts: Sequence[str], size: int, special_tokens: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Learn a vocabulary of at most ``size`` tokens, ``special_tokens`` the last; equal texts give an equal one.

    Raises ``RecipeError`` where a special token has the name of a piece, or there is no room for pieces beside them.
    """
    refuse_names(special_tokens)
    if 2 * len(special_tokens) > size:
        raise RecipeError(f"special_tokens: {len(special_tokens)} leave too few of {size} pieces; raise vocab_size")
    tokenizer = algorithm.learn(without(texts, special_tokens), size - len(special_tokens))
    inputs = ["input_ids", "attention_mask"]
    if "cls_token" in algorithm.special:
        inputs.insert(1, "token_type_ids")
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        model_input_names=inputs,
        **algorithm.special,
    )
    add_special(made, special_tokens)
    return made
