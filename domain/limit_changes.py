"""A change of limits: what it would be, whether it tightens or loosens, and what of it cannot be."""

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import ValidationError

from domain.errors import InvalidRequest
from domain.limits import FIRM, Limits, LimitSet, ScopeKind
from domain.numbers import plain
from domain.order import Frozen

EVERY_ACCOUNT: Final = "accounts"
"""Names, beside the scopes, the limits of every account that says nothing itself."""
_SCOPE: Final = re.compile(r"(key|symbol|strategy|account):[\x20-\x7e]{1,64}")
_SYMBOL: Final = re.compile(r"symbol:[^/\s]+/[^/\s]+")
_HIGHER_IS_TIGHTER: Final = frozenset(
    {"duplicate_window_s", "cooldown_after_stop_s", "stop_out_window_s", "min_profit"}
)
_MANNERS: Final = frozenset({"profit_window_s", "approval_expires_s", "trading_hours"})
"""What says how another limit is measured, or cannot be ordered: a change of it is neither."""


class Effect(StrEnum):
    """What a change does to what may be traded."""

    TIGHTENS = "tightens"
    LOOSENS = "loosens"
    CHANGES = "changes"
    """Not known to be one of the two."""


class Change(Frozen):
    """One limit that is another than before, as it holds for the scope; `None` is no limit."""

    scope: str
    limit: str
    before: str | None
    after: str | None
    effect: Effect


def changed(limit_set: LimitSet, scope: str, wanted: Mapping[str, object]) -> LimitSet:
    """Return the limits with some of one scope changed; what is `None` is taken away.

    `max_position_quantity` changes by symbol: what is not named stays.

    Raises
    ------
    InvalidRequest
        For a scope or a limit that there is not, with the name nearest to it, and for a value that does not fit.
    """
    _check_scope(scope)
    own = limit_set.accounts if scope == EVERY_ACCOUNT else limit_set.by_scope.get(scope, Limits())
    values: dict[str, object] = own.model_dump(exclude_none=True)
    for name, value in wanted.items():
        if name not in Limits.model_fields:
            near = difflib.get_close_matches(name, Limits.model_fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidRequest(f"there is no limit {name[:60]!r}{hint}", numbers={"limit": name[:60]})
        values[name] = _merged(values.get(name), value)
    try:
        new = Limits.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise InvalidRequest(told.replace("Value error, ", "")) from None
    if scope == EVERY_ACCOUNT:
        return limit_set.model_copy(update={"accounts": new})
    by_scope = {**limit_set.by_scope, scope: new}
    kept = {name: limits for name, limits in by_scope.items() if not limits.is_empty}
    return limit_set.model_copy(update={"by_scope": kept})


def _check_scope(scope: str) -> None:
    if scope not in (FIRM, EVERY_ACCOUNT) and not _SCOPE.fullmatch(scope):
        known = [FIRM, EVERY_ACCOUNT, *(f"{kind}:NAME" for kind in ScopeKind if kind is not ScopeKind.FIRM)]
        near = difflib.get_close_matches(scope, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; scopes are {', '.join(known)}"
        raise InvalidRequest(f"there is no scope {scope[:60]!r}{hint}", numbers={"scope": scope[:60]})
    if scope.startswith("symbol:") and not _SYMBOL.fullmatch(scope):
        raise InvalidRequest(f"{scope[:60]!r} names no symbol: use symbol:BASE/QUOTE", numbers={"scope": scope[:60]})


def _merged(before: object, wanted: object) -> object:
    if not isinstance(wanted, Mapping):
        return wanted
    both = {**(before if isinstance(before, Mapping) else {}), **wanted}
    return {name: value for name, value in both.items() if value is not None} or None


def changes_between(before: LimitSet, after: LimitSet) -> tuple[Change, ...]:
    """Return what is another limit than before, by scope."""
    pairs = {EVERY_ACCOUNT: (before.accounts, after.accounts)}
    for scope in sorted({*before.by_scope, *after.by_scope}):
        if before.by_scope.get(scope) != after.by_scope.get(scope):
            pairs[scope] = (before.of(scope), after.of(scope))
    return tuple(
        Change(
            scope=scope,
            limit=name,
            before=written(getattr(old, name)),
            after=written(getattr(new, name)),
            effect=effect_of(name, getattr(old, name), getattr(new, name)),
        )
        for scope, (old, new) in pairs.items()
        for name in Limits.model_fields
        if getattr(old, name) != getattr(new, name)
    )


def written(value: object) -> str | None:
    """Write a limit as it is set on the command line; `None` when there is none."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case Decimal():
            return plain(value)
        case tuple():
            return ",".join(value)
        case Mapping():
            return ",".join(f"{symbol}={plain(cap)}" for symbol, cap in sorted(value.items()))
        case _:
            return str(value)


def effect_of(limit: str, before: Any, after: Any) -> Effect:
    """Tell whether less or more may be traded after a change of one limit than before."""
    if limit in _MANNERS and before is not None and after is not None:
        return Effect.CHANGES
    match limit:
        case "max_position_quantity":
            return _of_all(before or {}, after or {})
        case "allowed_symbols" | "denied_symbols" | "shadow":
            return _of_words(limit, set(before or ()), set(after or ()))
        case "forbid_self_trade":
            return Effect.TIGHTENS if after else Effect.LOOSENS
        case "max_market_age_s" | "stop_out_window_s" | "profit_window_s" | "approval_expires_s":
            return Effect.CHANGES if before is None or after is None else _of_order(limit, before, after)
        case _:
            return _of_order(limit, before, after)


def _of_order(limit: str, before: Any, after: Any) -> Effect:
    if before is None or after is None:
        return Effect.TIGHTENS if before is None else Effect.LOOSENS
    tighter = after > before if limit in _HIGHER_IS_TIGHTER else after < before
    return Effect.TIGHTENS if tighter else Effect.LOOSENS


def _of_all(before: Mapping[str, Decimal], after: Mapping[str, Decimal]) -> Effect:
    effects = {
        _of_order("max_position_quantity", before.get(symbol), after.get(symbol))
        for symbol in {*before, *after}
        if before.get(symbol) != after.get(symbol)
    }
    return effects.pop() if len(effects) == 1 else Effect.CHANGES


def _of_words(limit: str, before: set[str], after: set[str]) -> Effect:
    """An empty allow list allows all."""
    gone, come = before - after, after - before
    kind: Literal["allow", "deny"] = "deny" if limit == "denied_symbols" else "allow"
    if limit == "allowed_symbols" and (not before or not after):
        return Effect.TIGHTENS if not before else Effect.LOOSENS
    if gone and come:
        return Effect.CHANGES
    return Effect.TIGHTENS if bool(come) == (kind == "deny") else Effect.LOOSENS


def effect_of_all(changes: tuple[Change, ...]) -> Effect:
    """Tell what several changes do together: loosening one limit is loosening."""
    effects = {change.effect for change in changes}
    if Effect.LOOSENS in effects:
        return Effect.LOOSENS
    return Effect.TIGHTENS if effects == {Effect.TIGHTENS} else Effect.CHANGES
