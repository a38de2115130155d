"""The errors a user can put right: each is shown as one message, without a traceback, and sets the exit code."""

import difflib
from collections.abc import Iterable


class LatheError(Exception):
    """Something outside the program is wrong; the message names the thing, the value and the way out."""

    exit_code = 2


class RecipeError(LatheError):
    """An option is unknown, missing or has an impossible value."""


class DataError(LatheError):
    """A data file cannot be used as it is."""


class BundleError(LatheError):
    """A folder is not a bundle, is broken, or is in the way."""


class DiskError(LatheError):
    """The disk does not take what a run has to write; what was there before is intact."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}; free some space and run the same command again: it goes on from what is saved")
        self.found = found


class GateError(LatheError):
    """The work was done and a goal or a limit was missed."""

    exit_code = 3


class Stopped(LatheError):  # noqa: N818 (it is no error: the state has been saved)
    """A signal asked the run to stop; its state has been saved and the same command goes on."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum
        self.exit_code = 128 + signum


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` when a known name is close, otherwise nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
