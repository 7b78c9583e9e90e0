"""What venues tell of a key, in the words of their documentation, as permissions of ours."""

from typing import Any

import pytest

from domain.keys import KeyPermissions
from exchanges.key_permissions import _TELLING

WORDS: dict[str, tuple[Any, KeyPermissions]] = {
    "binance": (
        {
            "ipRestrict": False, "createTime": 1698645219000, "enableReading": True, "enableWithdrawals": False,
            "enableSpotAndMarginTrading": False,
        },
        KeyPermissions(read=True, trade=False, withdraw=False, ip_restricted=False),
    ),
    "coinbase": (
        {"can_view": True, "can_trade": True, "can_transfer": True, "portfolio_uuid": "x"},
        KeyPermissions(read=True, trade=True, withdraw=True),
    ),
    "kraken": (
        {"error": [], "result": {"permissions": ["query-funds", "modify-trades"], "ip_allowlist": []}},
        KeyPermissions(read=True, trade=True, withdraw=False, ip_restricted=False),
    ),
    "okx": (
        {"code": "0", "data": [{"perm": "read_only,withdraw,trade", "ip": "1.2.3.4"}]},
        KeyPermissions(read=True, trade=True, withdraw=True, ip_restricted=True),
    ),
    "bybit": (
        {"result": {"readOnly": 0, "ips": ["*"],
                    "permissions": {"Spot": ["SpotTrade"], "Wallet": ["AccountTransfer", "Withdraw"]}}},
        KeyPermissions(read=True, trade=True, withdraw=True, ip_restricted=False),
    ),
    "kucoin": (
        {"code": "200000", "data": {"permission": "General,Spot", "ipWhitelist": "1.2.3.4"}},
        KeyPermissions(read=True, trade=True, withdraw=False, ip_restricted=True),
    ),
    "bitget": (
        {"data": {"authorities": ["stow", "wtow", "wwow"], "ips": "127.0.0.1"}},
        KeyPermissions(read=True, trade=True, withdraw=True, ip_restricted=True),
    ),
    "bitfinex": (
        [["account", "1", "0"], ["orders", 1, 1], ["wallets", 1, 0], ["withdraw", 0, 0], ["history", 1, 0]],
        KeyPermissions(read=True, trade=True, withdraw=False),
    ),
    "gemini": (
        {"isAuditor": False, "isFundManager": True, "isTrader": True},
        KeyPermissions(read=True, trade=True, withdraw=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("exchange", WORDS)
def test_words_of_a_venue_become_permissions(exchange: str) -> None:
    told, expected = WORDS[exchange]
    assert _TELLING[exchange][1](told) == expected


def test_old_words_of_bitget_say_nothing_of_withdrawals() -> None:
    found = _TELLING["bitget"][1]({"data": {"authorities": ["trade", "readonly"], "ips": ""}})
    assert (found.trade, found.withdraw) == (True, None)


def test_each_call_exists_in_ccxt() -> None:
    import ccxt.async_support

    for exchange, (call, _) in _TELLING.items():
        assert hasattr(getattr(ccxt.async_support, exchange), call), exchange
