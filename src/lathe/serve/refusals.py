"""What a request is answered that is not granted."""

import math


class Problem(Exception):  # noqa: N818 (the request has it)
    """The status, the reason and the way out; ``retry_s`` is when it may be granted."""

    def __init__(self, status: int, message: str, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_s = status, message, retry_s

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_s is None else {"Retry-After": str(max(1, math.ceil(self.retry_s)))}
