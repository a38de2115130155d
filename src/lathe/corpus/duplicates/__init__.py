"""The rules that compare documents: with one another, with corpora made earlier, and with evaluation data."""

from lathe.corpus.duplicates.evaluation import DropContaminated
from lathe.corpus.duplicates.exact import DropExactDuplicates, DropRepeatedParts
from lathe.corpus.duplicates.near import DropNearDuplicates

__all__ = ["DropContaminated", "DropExactDuplicates", "DropNearDuplicates", "DropRepeatedParts"]
