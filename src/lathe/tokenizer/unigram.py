"""Unigram pieces (Kudo, 2018), learnt by sentencepiece and kept as a standard ``tokenizer.json``.

sentencepiece learns them many times faster than the ``tokenizers`` library does. Pieces, scores and ids are its own:
the two give equal ids for a text in the form NFC, but that unknown characters of an unspaced script in a row are an
unknown token each here and one together there, as is an unknown bracket before the name of a special token (only with
``byte_fallback`` off; with it nothing is unknown).
"""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from lathe.core.errors import LatheError, RecipeError
from lathe.core.recipe import recipe
from lathe.core.scripts import UNSPACED_CLASS
from lathe.tokenizer.parts import ENCODER_TOKENS, framed_as_bert, unspaced_apart

ALPHABET_RATIO = 0.5
"""Most of the vocabulary that single characters may take."""

BYTES = 256
THREADS = 8
"""A constant: the sums of the training, and so the pieces, depend on the number of its parts, not on the machine."""

LONGEST_PIECE = 16
"""Characters."""

_NAME = r"\[(?=(?:PAD|UNK|CLS|SEP|MASK)\])|<(?=0x[0-9A-F]{2}>)"
"""Where a text speaks of a special piece: cut behind the bracket, so that the text is not taken for the piece."""

_APART = re.compile(rf"({UNSPACED_CLASS})|[\r\n]+")


@recipe
class Unigram:
    """Unigram pieces as in XLM-R and T5, framed as BERT's; what no piece covers is spelt in bytes."""

    kind: Literal["unigram"] = "unigram"
    byte_fallback: bool = True
    """Keep 256 pieces for bytes, so that no character is ever unknown."""
    shrinking_factor: float = Field(0.75, gt=0, lt=1)
    """Share of the pieces that each round of pruning keeps."""

    special: ClassVar[dict[str, str]] = ENCODER_TOKENS

    def empty(self, pieces: Sequence[tuple[str, float]] = ()) -> Tokenizer:
        unknown = [piece for piece, _ in pieces].index("[UNK]") if pieces else None
        tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=unknown, byte_fallback=self.byte_fallback))
        tokenizer.normalizer = normalizers.NFC()
        spaces = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
        names = pre_tokenizers.Split(Regex(_NAME), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([spaces, unspaced_apart(), names])
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        return tokenizer

    def learn(self, texts: Sequence[str], size: int) -> Tokenizer:
        tokenizer = self.empty(pieces_of(self.model(texts, size)))
        tokenizer.add_special_tokens(list(self.special.values()))
        tokenizer.post_processor = framed_as_bert(tokenizer)
        return tokenizer

    def model(self, texts: Sequence[str], size: int) -> bytes:
        """What sentencepiece makes of the texts: its own model file."""
        fixed = len(self.special) + BYTES * self.byte_fallback
        if size <= fixed + 1:
            raise RecipeError(
                f"vocab_size: {size} leaves no piece beside {fixed} special tokens and bytes; "
                "raise it, or set algorithm.byte_fallback=false"
            )
        alphabet = most_frequent_characters(texts, max(int((size - fixed) * ALPHABET_RATIO), 1))
        return _trained(sentences(texts, alphabet), size, self)


def pieces_of(model: bytes) -> list[tuple[str, float]]:
    """Piece and score by id, special tokens first."""
    learnt = _library().SentencePieceProcessor(model_proto=model)
    return [(learnt.id_to_piece(i), learnt.get_score(i)) for i in range(learnt.get_piece_size())]


def most_frequent_characters(texts: Sequence[str], limit: int) -> frozenset[str]:
    """The ``limit`` characters that most of the texts is made of; of equally frequent ones the first in code order."""
    counts = Counter[str]()
    for text in texts:
        counts.update(unicodedata.normalize("NFC", text))
    for blank in " \n\r":
        counts.pop(blank, None)
    kept = sorted(counts, key=lambda character: (-counts[character], character))[: limit - 1]
    return frozenset([*kept, " "])


def sentences(texts: Sequence[str], alphabet: frozenset[str]) -> Iterator[str]:
    """The texts cut at line ends, around each unspaced character, and where a character has no place."""
    for text in texts:
        for run in filter(None, _APART.split(unicodedata.normalize("NFC", text))):
            if alphabet.issuperset(run):
                yield run
            else:
                known = "".join(c if c in alphabet else "\n" for c in run)
                yield from filter(None, known.split("\n"))


def _trained(lines: Iterator[str], size: int, options: Unigram) -> bytes:
    model = io.BytesIO()
    try:
        _library().SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,  # the sentences hold no other characters
            normalization_rule_name="identity",  # they are normalised
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            byte_fallback=options.byte_fallback,
            shrinking_factor=options.shrinking_factor,
            max_sentencepiece_length=LONGEST_PIECE,
            max_sentence_length=2**20,  # bytes; longer ones would be left out
            num_threads=THREADS,
            minloglevel=2,
            **_NAMES,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1]
        raise LatheError(f"sentencepiece learns nothing from this text: {reason}; give more text") from None
    return model.getvalue()


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise LatheError(f"algorithm.kind=unigram needs {error.name}: pip install 'lathe[unigram]'") from None
    return sentencepiece


_NAMES = {
    "pad_id": 0,
    "pad_piece": "[PAD]",
    "unk_id": 1,
    "unk_piece": "[UNK]",
    "bos_id": 2,
    "bos_piece": "[CLS]",
    "eos_id": 3,
    "eos_piece": "[SEP]",
    "control_symbols": ["[MASK]"],
}
"""The special tokens, in the order of `ENCODER_TOKENS`."""
