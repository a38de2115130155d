"""What the examples mean. To add a task: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.tasks.classify import Classify
from lathe.tasks.tag import Tag

AnyTask = Annotated[Classify | Tag, Field(discriminator="kind")]

__all__ = ["AnyTask", "Classify", "Tag"]
