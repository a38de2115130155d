"""What a request is answered that is not granted."""

import math
from collections.abc import Callable


class Problem(Exception):  # noqa: N818 (the request has it)
    """The status, the reason and the way out; ``retry_s`` is when it may be granted.

    ``lasts`` tells, of a queue that is full, whether it still is: until it is not, others are answered the same.
    """

    def __init__(
        self, status: int, message: str, retry_s: float | None = None, lasts: Callable[[], bool] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_s, self.lasts = status, message, retry_s, lasts

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_s is None else {"Retry-After": str(max(1, math.ceil(self.retry_s)))}
