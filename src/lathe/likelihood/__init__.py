"""How likely a text is: one protocol for every language model, from n-grams to transformers and their mixtures."""

from lathe.likelihood.masked import MaskedNetwork
from lathe.likelihood.mixture import Mixture
from lathe.likelihood.network import CausalNetwork
from lathe.likelihood.opening import open_language_model
from lathe.likelihood.protocol import Counted, LanguageModel, Likelihood, Windows, likelihood
from lathe.likelihood.words import NGrams

__all__ = [
    "CausalNetwork",
    "Counted",
    "LanguageModel",
    "Likelihood",
    "MaskedNetwork",
    "Mixture",
    "NGrams",
    "Windows",
    "likelihood",
    "open_language_model",
]
