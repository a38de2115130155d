"""Who may ask: keys, and the addresses that a browser may have come by."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from lathe.core.errors import RecipeError

LEAST_KEY = 16
"""Fewest characters of a key."""

_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})\s+(\S+)")


class Keys:
    """The keys of a server, each with the name that it goes by in logs; without any, nobody is asked for one."""

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self._digests = {name: hashlib.sha256(key.encode()).digest() for name, key in (keys or {}).items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    @classmethod
    def read(cls, file: Path) -> "Keys":
        """A file with a name and a key a line. Raises ``RecipeError`` that tells no key."""
        found: dict[str, str] = {}
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None or len(match[2]) < LEAST_KEY:
                raise RecipeError(
                    f"keys: {file}:{number}: write a name and, after a blank, a key of {LEAST_KEY} characters or more"
                )
            if match[1] in found or match[2] in found.values():
                raise RecipeError(f"keys: {file}:{number}: this name, or this key, stands twice")
            found[match[1]] = match[2]
        if not found:
            raise RecipeError(f"keys: {file}: holds no key; write a name and a key a line")
        return cls(found)

    def holder(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Name of the key that a request bears; every key is compared, in constant time."""
        kind, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        given = bearer.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        digest, found = hashlib.sha256(given).digest(), None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


def is_own(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_known_host(headers: Mapping[bytes, bytes], hosts: frozenset[str]) -> bool:
    """Whether a request names this server: a page of elsewhere, whose name was made to lead here, names itself.

    ``hosts`` are further names than those of this machine alone; the page that a browser asks from must bear one, too.
    """
    named = [headers.get(b"host", b"").decode("latin-1")]
    if origin := headers.get(b"origin", b"").decode("latin-1"):
        named.append(origin.partition("://")[2] or origin)
    return all(_is_known(one, hosts) for one in named)


@lru_cache(1024)
def _is_known(netloc: str, hosts: frozenset[str]) -> bool:
    host = _host_of(netloc)
    return host is not None and (is_own(host) or host in hosts)


def _host_of(netloc: str) -> str | None:
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None
