"""What a venue says in an error body: its codes and its text, read per venue. Pure."""

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Words(NamedTuple):
    """The venue's codes, none when the body is not an error that we can read, and its own text."""

    codes: tuple[str, ...] = ()
    text: str = ""


Speaker = Callable[[object], Words]


def no_words(document: object) -> Words:
    """Read nothing: for venues whose words have not been studied."""
    return Words()


def binance_words(document: object) -> Words:
    """Read `{"code": -2010, "msg": "..."}`; an order has no `code`."""
    if not isinstance(document, Mapping) or "orderId" in document or not isinstance(document.get("code"), int):
        return Words()
    return Words((str(document["code"]),), str(document.get("msg", "")))


def okx_words(document: object) -> Words:
    """Read `{"code": "1", "data": [{"sCode": "51008", "sMsg": "..."}]}` and `{"code": "50011", "msg": "..."}`."""
    if not isinstance(document, Mapping):
        return Words()
    rows = document.get("data")
    rows = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    said = [(str(row["sCode"]), str(row.get("sMsg", ""))) for row in rows if row.get("sCode") not in (None, "", "0")]
    if said:
        return Words(tuple(code for code, _ in said), "; ".join(text for _, text in said))
    code = document.get("code")
    if code in (None, "", "0", "1", "2"):
        return Words()
    return Words((str(code),), str(document.get("msg", "")))


def bybit_words(document: object) -> Words:
    """Read `{"retCode": 170131, "retMsg": "..."}`."""
    if not isinstance(document, Mapping) or document.get("retCode") in (None, 0, "0"):
        return Words()
    return Words((str(document["retCode"]),), str(document.get("retMsg", "")))


def kraken_words(document: object) -> Words:
    """Read `{"error": ["EOrder:Insufficient funds"]}`; a third part (`EGeneral:Invalid arguments:volume`) is text."""
    errors = document.get("error") if isinstance(document, Mapping) else None
    if not isinstance(errors, list) or not errors:
        return Words()
    texts = [str(error) for error in errors]
    return Words(tuple(":".join(text.split(":")[:2]) for text in texts), "; ".join(texts))


def kraken_page(document: object) -> tuple[int, int]:
    """Read `{"result": {"trades": {...}, "count": 120}}`. Raises `KeyError`, `TypeError` when it is something else."""
    if not isinstance(document, Mapping):
        raise TypeError("the page is no object")
    result = document["result"]
    return len(result["trades"]), int(result["count"])


def coinbase_words(document: object) -> Words:
    """Read `{"success": false, "error_response": {"error": "INSUFFICIENT_FUND", "message": "..."}}`."""
    if not isinstance(document, Mapping) or document.get("success") is not False:
        return Words()
    said = document.get("error_response")
    if not isinstance(said, Mapping) or not said.get("error"):
        return Words()
    return Words((str(said["error"]),), str(said.get("message", "")))


def kucoin_words(document: object) -> Words:
    """Read `{"code": "200004", "msg": "Balance insufficient!"}`."""
    return _coded(document, success="200000")


def bitget_words(document: object) -> Words:
    """Read `{"code": "43012", "msg": "Insufficient balance"}`."""
    return _coded(document, success="00000")


def mexc_words(document: object) -> Words:
    """Read `{"code": 30004, "msg": "..."}`; an order has no `code`."""
    if isinstance(document, Mapping) and "orderId" in document:
        return Words()
    return _coded(document, success="200")


def _coded(document: object, *, success: str) -> Words:
    if not isinstance(document, Mapping) or str(document.get("code") or success) == success:
        return Words()
    return Words((str(document["code"]),), str(document.get("msg", "")))


def gate_words(document: object) -> Words:
    """Read `{"label": "BALANCE_NOT_ENOUGH", "message": "..."}`."""
    if not isinstance(document, Mapping) or not document.get("label"):
        return Words()
    return Words((str(document["label"]),), str(document.get("message") or document.get("detail") or ""))


def gemini_words(document: object) -> Words:
    """Read `{"result": "error", "reason": "InsufficientFunds", "message": "..."}`."""
    if not isinstance(document, Mapping) or document.get("result") != "error" or not document.get("reason"):
        return Words()
    return Words((str(document["reason"]),), str(document.get("message", "")))


def htx_words(document: object) -> Words:
    """Read `{"status": "error", "err-code": "order-value-min-error", "err-msg": "..."}`."""
    if not isinstance(document, Mapping) or document.get("status") != "error" or not document.get("err-code"):
        return Words()
    return Words((str(document["err-code"]),), str(document.get("err-msg", "")))
