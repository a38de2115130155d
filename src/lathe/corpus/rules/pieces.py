"""Pieces of English text that are not parted at their marks, or are parted without one: "e.g.", ":-)", "can|not"."""

from collections.abc import Iterator
from functools import cache

_ENDINGS = {
    "i": "'m 'm|a 'll 'll|'ve 'd 'd|'ve 've",
    "you we they": "'ll 'll|'ve 'd 'd|'ve 've 're",
    "he she it": "'ll 'll|'ve 'd 'd|'ve 's",
    "who what when where why how there": "'s 'll 'll|'ve 're 've 'd 'd|'ve",
    "that this": "'s 'll 'll|'ve 'd 'd|'ve",
    "these those": "'ll 'll|'ve 're 've 'd 'd|'ve",
    "could might must should would": "n't n't|'ve 've",
    "ca do does did had may need ought sha wo": "n't n't|'ve",
    "ai are is was were have has dare": "n't",
    "not": "'ve",
}
"""What is joined to which words, also without its apostrophe."""

_PARTED = "let|'s Let|'s can|not Can|not gon|na Gon|na got|ta Got|ta c'm|on C'm|on y'|all y|all"
_OTHER_WORDS = {"ill", "its", "hell", "shell", "shed", "were", "well", "whore"}  # and no "I'll", "it's", "he'll", ...

_ABBREVIATIONS = """
    Ak Ala Ariz Ark Calif Colo Conn Del Fla Ga Ia Id Ill Ind Kan Kans Ky La Mass Md Mich Minn Miss Mo Mont Mt
    Neb Nebr Nev N.C N.D N.H N.J N.M N.Y D.C Okla Ore Pa S.C Tenn Va Wash Wis
    Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec
    Adm Bros co Co Corp Dr Gen Gov Inc Jr Ltd Messrs Mr Mrs Ms Ph.D Prof Rep Rev Sen St
    a.m p.m e.g E.g E.G i.e I.e I.E vs v.s
    a b c d e f g h i j k l m n o p q r s t u v w x y z ä ö ü
"""
"""States, months, titles, letters: each with a full stop behind it."""

_WORDS = """
    'em 'll 'nuff 's 'S ‘s ‘S 'd 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ol' Ol'
    lovin' havin' doin' goin' nothin' nuthin' somethin' Lovin' Havin' Doin' Goin' Nothin' Nuthin' Somethin'
    ma'am Ma'am o'clock O'clock and/or w/o C++ — ' '' \\n \\t
"""

_FACES = """
    :) :-) :)) :-)) :))) :-))) :( :-( :(( :-(( :((( :-((( :] :-] :[ :-[ :} :-} :/ :-/ :| :-| :> :-> :* :-*
    :P :-P :p :-p :O :-O :o :-o :0 :-0 :3 :-3 :X :-X :x :-x :D :-D :1 :o) :>) :') :'-) :'( :'-( :()
    (: (-: [: [-: (o: ): )-: ;) ;-) (; (-; ;( ;-( ;D ;-D =) (= =( )= =] ]= [= =/ =| =3 =D >( >:( >:o
    8) 8-) (-8 8D 8-D xD XD xDD XDD <3 <33 <333 </3 ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- @_@
    v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o
    (^_^) (-_-) (._.) (>_<) (*_*) ><(((*>
"""


@cache
def whole_pieces() -> dict[str, tuple[str, ...]]:
    """Each with its parts; an apostrophe may be a curved one."""
    kept = [*(f"{word}." for word in _ABBREVIATIONS.split()), *_WORDS.split(), *_FACES.split()]
    found = {"".join(parts): parts for parts in _contractions()} | {piece: (piece,) for piece in kept}
    curved = {_curved(piece): tuple(map(_curved, parts)) for piece, parts in found.items()}
    return found | curved


def _contractions() -> Iterator[tuple[str, ...]]:
    for heads, endings in _ENDINGS.items():
        for head in heads.split():
            for ending in endings.split():
                for start in (head, head.title()):
                    yield start, *ending.split("|")
                    if (start + ending).replace("'", "").lower() not in _OTHER_WORDS:
                        yield start, *ending.replace("'", "").split("|")
    yield from (tuple(parts.split("|")) for parts in _PARTED.split())
    yield from (("°", scale, ".") for scale in "cfkCFK")
    yield from ((str(hour), half) for hour in range(1, 13) for half in ("am", "pm", "a.m.", "p.m."))


def _curved(text: str) -> str:
    return text.replace("'", "’")
