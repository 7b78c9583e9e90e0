"""The keys that one account's requests are signed with. They are rotated under working orders, without a restart.

The venue refuses the old key → the store is asked again → newer keys are taken over, and the call is made once more.
ccxt signs without a pause between reading key and secret, so that no request carries a mixture of two.
"""

import copy
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from domain.errors import CredentialsRefused, CredentialsUnavailable
from domain.events import Reason
from domain.keys import KeyChange, KeySource
from domain.ports import Credentials
from domain.reports import SubmitOutcome, SubmitVerdict

FIELDS: Final = {"apiKey": "api_key", "secret": "secret_key", "password": "passphrase", "uid": "uid"}
"""ccxt's names and ours."""
PAUSE_S: Final = 5
"""Before an order is tried again whose key was refused while the store could not be asked."""
_IDENTITIES: Final[Mapping[str, tuple[str, tuple[str | int, ...]]]] = {
    "binance": ("privateGetAccount", ("uid",)),
    "binanceus": ("privateGetAccount", ("uid",)),
    "okx": ("privateGetAccountConfig", ("data", 0, "uid")),
    "bybit": ("privateGetV5UserQueryApi", ("result", "userID")),
    "bitget": ("privateSpotGetV2SpotAccountInfo", ("data", "userId")),
}
"""ccxt's raw calls that tell whose a key is, by ccxt id, and where in the answer it stands."""
log = logging.getLogger("volex.keys")


def identity_call(
    api: Any, keys: Credentials
) -> tuple[Callable[[], Awaitable[Any]] | None, Callable[[Any], str | None]]:
    """Return a call that asks whose these keys are, signed with them and not with those in use, and its reader."""
    name, place = _IDENTITIES.get(api.id, ("", ()))
    if not name:
        return None, lambda _: None
    twin = copy.copy(api)  # same connections, rate limiter and options
    for field, value in {**dict.fromkeys(FIELDS, ""), **in_ccxts_words(keys)}.items():
        setattr(twin, field, value)

    def read(answer: Any) -> str | None:
        for step in place:
            try:
                answer = answer[step]
            except (KeyError, IndexError, TypeError):
                return None
        return str(answer) if isinstance(answer, str | int) and answer else None

    return getattr(twin, name), read


def in_ccxts_words(keys: Credentials) -> dict[str, str]:
    """Return the keys that are there, by ccxt's names."""
    found = {name: getattr(keys, field) for name, field in FIELDS.items()}
    return {name: secret.get_secret_value() for name, secret in found.items() if secret is not None}


class AccountKeys:
    """Holds a ccxt instance to the newest keys of its source; `source` is `None` where they never change."""

    def __init__(self, api: Any, source: KeySource | None) -> None:
        self._api = api
        self._source = source
        self._version = source.version if source is not None else 0

    def take_newest(self) -> int:
        """Take over the source's keys if they have changed. Return the version that requests are signed with."""
        source = self._source
        if source is not None and source.version != self._version:
            self._version = source.version
            given = in_ccxts_words(source.keys)
            missing = [name for name, needed in self._api.requiredCredentials.items() if needed and name in FIELDS]
            missing = [name for name in missing if not given.get(name)]
            if missing:
                # A secret that is being written by hand, field by field: the old keys may be good for a while.
                log.warning("keys_incomplete", extra={"text": f"new keys lack {', '.join(missing)}; the old ones stay"})
                return self._version
            for name in FIELDS:
                setattr(self._api, name, given.get(name, ""))
        return self._version

    async def renewed_since(self, version: int) -> KeyChange:
        """Ask for newer keys than those that the venue refused, and take them over."""
        if self._source is None:
            return KeyChange.SAME
        change = await self._source.renewed_since(version)
        self.take_newest()
        return change

    def too_old(self) -> SubmitOutcome | None:
        """Return why no order may be sent now; `None` while the keys are fresh enough. Cancels do not ask."""
        beyond_s = self._source.stale_since_s if self._source is not None else None
        if beyond_s is None:
            return None
        text = f"nothing was sent: the store of the keys has not answered for {beyond_s:.0f} s longer than it may"
        return _not_sent(Reason(code=CredentialsUnavailable.code, text=text), retry_after_s=PAUSE_S)

    async def judged(self, outcome: SubmitOutcome, version: int) -> SubmitOutcome:
        """Look again at an order that was refused for its key: with newer keys it is sent anew, as another attempt."""
        reason = outcome.reason
        if outcome.verdict is not SubmitVerdict.REFUSED or reason is None or reason.code != CredentialsRefused.code:
            return outcome
        match await self.renewed_since(version):
            case KeyChange.NEWER:
                text = "the venue turned the old key away unread; there are newer keys"
                return _not_sent(reason.model_copy(update={"text": text}), retry_after_s=0)
            case KeyChange.UNKNOWN:
                text = "the venue turned the key away unread, and the store of the keys cannot be asked for a newer one"
                return _not_sent(reason.model_copy(update={"text": text}), retry_after_s=PAUSE_S)
            case KeyChange.SAME:
                return outcome


def _not_sent(reason: Reason, *, retry_after_s: int) -> SubmitOutcome:
    return SubmitOutcome(verdict=SubmitVerdict.NOT_SENT, reason=reason, retry_after_s=retry_after_s)
