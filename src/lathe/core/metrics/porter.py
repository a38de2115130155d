"""Porter's stemmer of English (Porter, 1980, *An algorithm for suffix stripping*), with the changes that NLTK made.

ROUGE is stated on these stems: -ies and -ied in words of four letters become -ie, y becomes i behind a consonant only,
-bli becomes -ble, -alli goes before what stands ahead of it, -fulli and -logi are endings, a few words are exceptions.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

_WHOLE = {
    **dict.fromkeys(["sky", "skies"], "sky"),
    **{f"{letter}ying": f"{letter}ie" for letter in "dlt"},
    **{form: word for word in ("inning", "outing", "canning") for form in (word, f"{word}s")},
    **{word: word for word in ("news", "howe", "proceed", "exceed", "succeed")},
}
_STEP_2 = {
    **{"ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al"},
    **{"entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al"},
    **{"iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble"},
    **{"fulli": "ful", "logi": "log"},
}
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = {
    **dict.fromkeys(["al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion"], ""),
    **dict.fromkeys(["ou", "ism", "ate", "iti", "ous", "ive", "ize"], ""),
}


@lru_cache(1 << 16)
def stem(word: str) -> str:
    """A word in lower case without its endings.

    >>> [stem(word) for word in ("relational", "hopping", "caresses", "happily", "radically")]
    ['relat', 'hop', 'caress', 'happili', 'radic']
    """
    if word in _WHOLE or len(word) <= 2:
        return _WHOLE.get(word, word)
    word = _without_y(_without_past(_without_plural(word)))
    word = _replaced(_once_alli(word), _STEP_2, _has_measure)
    word = _replaced(word, _STEP_3, _has_measure)
    word = _replaced(word, _STEP_4, _is_long)
    word = _without_e(word)
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _without_plural(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _without_past(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    ending = next((one for one in ("ed", "ing") if word.endswith(one) and "v" in _shape(word[: -len(one)])), "")
    return _mended(word[: -len(ending)]) if ending else word


def _mended(rest: str) -> str:
    """What is left of a verb: conflat(ed), hopp(ing), fil(ing)."""
    if rest.endswith(("at", "bl", "iz")):
        return f"{rest}e"
    if rest[-1] == rest[-2:-1] and _shape(rest)[-1] == "c":
        return rest if rest[-1] in "lsz" else rest[:-1]
    return f"{rest}e" if _measure(rest) == 1 and _is_short(rest) else rest


def _without_y(word: str) -> str:
    return f"{word[:-1]}i" if word.endswith("y") and len(word) > 2 and _shape(word)[-2] == "c" else word


def _once_alli(word: str) -> str:
    return word[:-2] if word.endswith("alli") and _measure(word[:-4]) > 0 else word


def _without_e(word: str) -> str:
    rest = word[:-1]
    spare = _measure(rest) > 1 or (_measure(rest) == 1 and not _is_short(rest))
    return rest if word.endswith("e") and spare else word


def _replaced(word: str, endings: Mapping[str, str], allowed: Callable[[str, str], bool]) -> str:
    """With its longest ending replaced, if what stands before it allows that."""
    ending = max((one for one in endings if word.endswith(one)), key=len, default="")
    rest = word[: len(word) - len(ending)]
    return rest + endings[ending] if ending and allowed(rest, ending) else word


def _has_measure(rest: str, ending: str) -> bool:
    return _measure(f"{rest}l" if ending == "logi" else rest) > 0


def _is_long(rest: str, ending: str) -> bool:
    return _measure(rest) > 1 and (ending != "ion" or rest[-1] in "st")


def _is_short(word: str) -> bool:
    """Ends in consonant, vowel, consonant, the last not w, x or y; or is a vowel and a consonant."""
    shape = _shape(word)
    return (shape.endswith("cvc") and word[-1] not in "wxy") or shape == "vc"


def _measure(word: str) -> int:
    """How often a consonant follows a vowel."""
    return _shape(word).count("vc")


def _shape(word: str) -> str:
    """Consonant or vowel, of each letter; y is a vowel behind a consonant."""
    shape = ""
    for letter in word:
        shape += "v" if letter in "aeiou" or (letter == "y" and shape.endswith("c")) else "c"
    return shape
