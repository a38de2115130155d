"""What the examples mean. To add a task: write its file, then name it in this union."""

from typing import Annotated

from pydantic import Field

from lathe.tasks.answer import AnswerQuestion
from lathe.tasks.chat import Chat
from lathe.tasks.choose import Choose
from lathe.tasks.classify import Classify
from lathe.tasks.embed import Embed
from lathe.tasks.events import FindEvents
from lathe.tasks.intent import Intent
from lathe.tasks.multilabel import MultiLabel
from lathe.tasks.rank import Rank
from lathe.tasks.recommend import Recommend
from lathe.tasks.relate import Relate
from lathe.tasks.score import Score
from lathe.tasks.tag import Tag
from lathe.tasks.transform import Transform

AnyTask = Annotated[
    Classify
    | MultiLabel
    | Score
    | Choose
    | Tag
    | Intent
    | Relate
    | FindEvents
    | AnswerQuestion
    | Transform
    | Chat
    | Embed
    | Rank
    | Recommend,
    Field(discriminator="kind"),
]

__all__ = [
    "AnswerQuestion",
    "AnyTask",
    "Chat",
    "Choose",
    "Classify",
    "FindEvents",
    "Embed",
    "Intent",
    "MultiLabel",
    "Rank",
    "Recommend",
    "Relate",
    "Score",
    "Tag",
    "Transform",
]
