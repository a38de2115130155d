"""Train, validation and test: which one a document is in depends on its group and the seed alone."""

from pydantic import Field

from lathe.core.documents import Split
from lathe.core.errors import RecipeError
from lathe.core.keyed import word
from lathe.core.recipe import recipe


@recipe
class Proportions:
    """Shares of the groups; what is left over goes to train."""

    validation: float = Field(0.02, ge=0, lt=1)
    """Share of the groups of documents that go to the validation split."""
    test: float = Field(0.02, ge=0, lt=1)
    """Share of the groups of documents that go to the test split."""
    seed: int = 0
    """Another seed, another split."""

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise RecipeError(f"split: validation {self.validation} and test {self.test} leave nothing to train on")

    def of(self, group: str) -> Split:
        """The same for all documents of a group, whatever else the corpus holds."""
        place = word(f"split/{self.seed}/{group}") / 2**64
        if place < self.validation:
            return "validation"
        return "test" if place < self.validation + self.test else "train"
