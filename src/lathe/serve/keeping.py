"""What a server keeps: what people say of answers, and figures of requests."""

from pydantic import Field

from lathe.core.recipe import recipe


@recipe
class Keeping:
    store: str | None = None
    """A file for feedback, or the URL of a database (of SQLAlchemy); nothing is kept if not given."""
    keep_days: float | None = Field(None, gt=0)
    """Days after which records are deleted; never if not given."""
    redact: bool = False
    """Whether e-mail addresses, numbers of phones, cards and persons, IP addresses and keys are taken out first."""
    statistics: bool = False
    """Whether the figures of each request are kept, too: its time, route, model, status and sizes, and no texts."""
    new_labels: bool = False
    """Whether corrections may have labels that the model does not know."""
    most_bytes: int = Field(1 << 30, ge=1 << 16)
    """Most bytes of the file; further feedback is refused with 507."""
