"""Rules on one document each: what they change, what they drop, and why."""

from typing import TypeAlias

from lathe.corpus.rules.blocklist import Blocklist
from lathe.corpus.rules.boilerplate import DropBoilerplate
from lathe.corpus.rules.c4 import C4Quality
from lathe.corpus.rules.characters import ConvertChinese, NarrowFullWidth, RepairEncoding
from lathe.corpus.rules.fineweb import FineWebQuality
from lathe.corpus.rules.gopher import GopherQuality, GopherRepetition
from lathe.corpus.rules.language import KeepLanguages
from lathe.corpus.rules.length import KeepLength
from lathe.corpus.rules.personal import HidePersonalData

AnyRule: TypeAlias = (
    RepairEncoding
    | NarrowFullWidth
    | ConvertChinese
    | KeepLanguages
    | KeepLength
    | DropBoilerplate
    | GopherRepetition
    | GopherQuality
    | C4Quality
    | FineWebQuality
    | HidePersonalData
    | Blocklist
)

__all__ = [
    "AnyRule",
    "Blocklist",
    "C4Quality",
    "ConvertChinese",
    "DropBoilerplate",
    "FineWebQuality",
    "GopherQuality",
    "GopherRepetition",
    "HidePersonalData",
    "KeepLanguages",
    "KeepLength",
    "NarrowFullWidth",
    "RepairEncoding",
]
