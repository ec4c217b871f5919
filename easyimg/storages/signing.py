"""Signed URLs: they open files of a private storage for some time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from easyimg.errors import ConfigError, StorageError, shown

DEFAULT_SECONDS: Final = 3600
SHORTEST: Final = 60
LONGEST: Final = 7 * 24 * 3600
"""What S3 and Google Cloud sign for at most."""

REMEMBERED_AT_MOST: Final = 300.0
"""Seconds. Credentials of a role are renewed ten minutes before they end, and what they signed ends with them."""

_PAUSE: Final = 10.0
"""Seconds without another try once signing failed: looking for credentials in vain may take seconds for each file."""

_HALF: Final = 5_000


class _Signed(NamedTuple):
    url: str
    made: float


def check_seconds(value: Any) -> int:
    """Return for how long URLs shall be valid; 0 = none are signed.

    Raises:
        ConfigError: it is neither 0 nor a whole number of seconds between a minute and a week.
    """
    if value is None:
        return DEFAULT_SECONDS
    if isinstance(value, bool) or not isinstance(value, int) or not (value == 0 or SHORTEST <= value <= LONGEST):
        raise ConfigError(f"sign_seconds: {shown(value)} is neither 0 nor a whole number in {SHORTEST}..{LONGEST}")
    return value


class SignedUrls:
    """Signed URLs by name, remembered in this process for a quarter of their time and five minutes at most.

    Thread-safe without a lock, so that a process forked at any moment can go on with it: at worst two threads sign the
    same name. Ten thousand URLs are held at most.

    Args:
        sign: name -> URL that is valid for ``seconds`` from now; no request is made, except perhaps for credentials.
        seconds: how long the URLs are valid.
        clock: seconds. The time of day, as in signatures: a machine that slept has not stopped it.
    """

    def __init__(self, sign: Callable[[str], str], seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._sign = sign
        self._clock = clock
        self._remembered = min(seconds / 4, REMEMBERED_AT_MOST)
        self._young: dict[str, _Signed] = {}
        self._old: dict[str, _Signed] = {}
        self._turned = clock()
        self._failed: tuple[float, str] | None = None

    def url(self, name: str) -> str:
        """Return the URL of a name that was found safe.

        Raises:
            StorageError: it cannot be signed, now or seconds ago.
        """
        now = self._clock()
        found = self._young.get(name) or self._old.get(name)
        if found is not None and self._is_within(self._remembered, found.made, now):
            return found.url
        self._refuse_at_once(now)
        try:
            url = self._sign(name)
        except StorageError as exc:
            self._failed = (self._clock(), str(exc))
            raise
        # The time before signing: it may have taken a while, and the URL's time may have begun with it.
        self._remember(name, _Signed(url, now))
        return url

    @staticmethod
    def _is_within(seconds: float, begin: float, now: float) -> bool:
        return 0 <= now - begin < seconds  # a clock that was set back says nothing about what was made before

    def _refuse_at_once(self, now: float) -> None:
        failed = self._failed
        if failed is not None and self._is_within(_PAUSE, failed[0], now):
            raise StorageError(failed[1])

    def _remember(self, name: str, signed: _Signed) -> None:
        """Add one; drop the older half when there are many, or when all of it has had its time."""
        if len(self._young) >= _HALF or not self._is_within(self._remembered, self._turned, signed.made):
            self._old, self._young, self._turned = self._young, {}, signed.made
        self._young[name] = signed
