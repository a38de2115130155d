"""n-gram language models: interpolated modified Kneser–Ney over words, characters or a tokenizer's pieces."""

from lathe.ngrams.arpa import read_arpa, write_arpa
from lathe.ngrams.counts import count
from lathe.ngrams.kneser_ney import estimate
from lathe.ngrams.model import NGramModel
from lathe.ngrams.units import BOS, EOS, UNK, AnyUnits, Characters, Pieces, Words

__all__ = [
    "BOS",
    "EOS",
    "UNK",
    "AnyUnits",
    "Characters",
    "NGramModel",
    "Pieces",
    "Words",
    "count",
    "estimate",
    "read_arpa",
    "write_arpa",
]
