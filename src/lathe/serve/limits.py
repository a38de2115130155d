"""How much a server takes: of one request, of all that wait, and of one key."""

from pydantic import Field

from lathe.core.recipe import recipe


@recipe
class Limits:
    body_bytes: int = Field(4 << 20, ge=1)
    """Most bytes of a request."""
    rows: int = Field(1000, ge=1)
    """Most rows of a request; of `/bulk` only its bytes are counted."""
    characters: int = Field(50_000, ge=1)
    """Most characters of one row; they are counted before the tokenizer sees them."""
    tokens: int = Field(1 << 20, ge=1)
    """Most tokens of one request: those that the model reads, windows of long texts and pairs included, and writes."""
    beams: int = Field(16, ge=1)
    """Most texts that a model searches at a time for one answer."""
    new_tokens: int = Field(1024, ge=1)
    """Most tokens that a request may let a model write."""
    body_s: float = Field(10.0, gt=0)
    """Longest time that a request may take to arrive, and that its answer may wait to be read."""
    answer_s: float = Field(30.0, gt=0)
    """Longest time that a request waits for its answer; its header `X-Request-Timeout` may ask for less, in seconds."""
    requests: int = Field(1024, ge=1)
    """Most requests at a time; more are refused at once, with 429."""
    connections: int = Field(8192, ge=1)
    """Most connections at a time; more are closed at once."""
    arriving_bytes: int = Field(64 << 20, ge=1)
    """Most bytes of all requests at a time."""
    waiting_tokens: int = Field(65_536, ge=1)
    """Most tokens that wait for a model; what would be more is refused at once, with 429."""
    wait_s: float = Field(10.0, gt=0)
    """Longest time until rows are answered, at the pace of the last batches; more are refused at once, with 429."""
    key_rows_per_minute: int | None = Field(None, ge=1)
    """Most rows that one key may ask in a minute; any number if not given."""
