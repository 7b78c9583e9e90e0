"""A second venue that speaks Binance spot REST, written from its documentation alone, with troubles of its own.

It shares no code with the simulator and imports nothing of ours. All amounts are whole numbers of 1e-8. What truly
happened is shown under /ledger and /balances. `python -m tests.campaign.processes.other_venue --port 9000 --seed 1`
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import random
import re
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

ONE = 10**8
KEY, SECRET = "other-key", "other-secret"
MARKETS = {
    "BTCUSDT": {"base": "BTC", "quote": "USDT", "mid": 61_250 * ONE, "tick": ONE // 100, "step": ONE // 100_000},
    "ETHUSDT": {"base": "ETH", "quote": "USDT", "mid": 3_125 * ONE, "tick": ONE // 100, "step": ONE // 10_000},
}
SPREAD_PPM = 100
FEE_PPM = {"taker": 950, "maker": 750}
LEAST_NOTIONAL = 5 * ONE
SLICE_S = (0.2, 1.5)
TROUBLES = ("reply lost", "reply empty", "502 and carried out", "502 and not", "hang", "-1007 and carried out",
            "-1007 and not", "request lost", "hidden")  # fmt: skip
"""Each strikes an order with the given probability; reads meet the first three and hang."""
HANG_S = 6.0
HIDDEN_S = 2.0
ENDED = ("FILLED", "CANCELED", "EXPIRED")


class Refused(Exception):
    """An answer with an error code."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


def units(written: str) -> int:
    """Read an amount. Raises `Refused` for anything but plain digits with at most eight places."""
    found = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,8}))?", written, re.ASCII)
    if found is None:
        raise Refused(-1100, "Illegal characters found in a parameter.")
    return int(found[1]) * ONE + int((found[2] or "").ljust(8, "0"))


def text(amount: int) -> str:
    """Write an amount with eight places."""
    return f"{amount // ONE}.{amount % ONE:08d}"


class Book:
    """Orders, trades and balances of the one account, and the rule by which they change."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"book {seed}")
        self.orders: list[dict[str, Any]] = []
        self.trades: list[dict[str, Any]] = []
        self.total = Counter({"USDT": 5_000_000 * ONE, "BTC": 100 * ONE, "ETH": 1_000 * ONE})

    def locked(self, asset: str) -> int:
        """Return how much of an asset open orders hold."""
        held = 0
        for order in self.orders:
            if order["status"] not in ENDED:
                left, market = order["qty"] - order["done"], MARKETS[order["symbol"]]
                spent = market["quote"] if order["side"] == "BUY" else market["base"]
                held += (left * order["price"] // ONE + 1 if order["side"] == "BUY" else left) * (spent == asset)
        return held

    def place(self, asked: dict[str, str], now: int) -> dict[str, Any]:
        """Take an order, and fill what crosses at once."""
        market, kind = MARKETS.get(asked.get("symbol", "")), asked.get("type")
        if market is None:
            raise Refused(-1121, "Invalid symbol.")
        if kind not in ("MARKET", "LIMIT") or asked.get("side") not in ("BUY", "SELL"):
            raise Refused(-1116, "Invalid orderType.")
        buying, quantity, price = asked["side"] == "BUY", units(asked["quantity"]), units(asked.get("price", "0"))
        best = market["mid"] + market["mid"] * SPREAD_PPM // 1_000_000 * (1 if buying else -1)
        best -= best % market["tick"]
        if not quantity or quantity % market["step"] or price % market["tick"]:
            raise Refused(-1013, "Filter failure: LOT_SIZE")
        if quantity * (price or best) // ONE < LEAST_NOTIONAL:
            raise Refused(-1013, "Filter failure: NOTIONAL")
        name = asked.get("newClientOrderId") or f"web_{len(self.orders)}"
        if any(order["name"] == name and order["status"] not in ENDED for order in self.orders):
            raise Refused(-2010, "Duplicate order sent.")
        spent, need = (market["quote"], quantity * (price or best) // ONE + 1) if buying else (market["base"], quantity)
        if self.total[spent] - self.locked(spent) < need:
            raise Refused(-2010, "Account has insufficient balance for requested action.")
        order = {"id": 700_000 + 3 * len(self.orders), "name": name, "symbol": asked["symbol"], "side": asked["side"],
                 "type": kind, "tif": asked.get("timeInForce", "GTC"), "qty": quantity, "price": price, "done": 0,
                 "cost": 0, "status": "NEW", "time": now, "changed": now, "shown": now, "next": 0.0}  # fmt: skip
        self.orders.append(order)
        if kind == "MARKET" or (price >= best if buying else price <= best):
            half = quantity // 2 // market["step"] * market["step"]
            for part in (half, quantity - half):
                self.trade(order, part, best, "taker", now)
        elif order["tif"] != "GTC":
            order["status"] = "EXPIRED"
        order["next"] = time.monotonic() + self.dice.uniform(*SLICE_S)
        return order

    def trade(self, order: dict[str, Any], quantity: int, price: int, role: str, now: int) -> None:
        """Carry out one trade."""
        if not quantity:
            return
        market, buying, cost = MARKETS[order["symbol"]], order["side"] == "BUY", quantity * price // ONE
        got, gave = (market["base"], market["quote"]) if buying else (market["quote"], market["base"])
        received, spent = (quantity, cost) if buying else (cost, quantity)
        fee = received * FEE_PPM[role] // 1_000_000
        self.total[got] += received - fee
        self.total[gave] -= spent
        order["done"] += quantity
        order["cost"] += cost
        order["changed"] = now
        order["status"] = "FILLED" if order["done"] == order["qty"] else "PARTIALLY_FILLED"
        self.trades.append(
            {"id": 90_000 + 7 * len(self.trades), "order": order, "qty": quantity, "price": price, "cost": cost,
             "fee": fee, "asset": got, "time": now, "maker": role == "maker"}
        )  # fmt: skip

    def pass_time(self, now: int) -> None:
        """Fill a third of each resting order whose moment has come."""
        for order in self.orders:
            if order["status"] not in ENDED and order["next"] < time.monotonic():
                step = MARKETS[order["symbol"]]["step"]
                part = min(max(order["qty"] // 3 // step * step, step), order["qty"] - order["done"])
                self.trade(order, part, order["price"], "maker", now)
                order["next"] = time.monotonic() + self.dice.uniform(*SLICE_S)

    def find(self, asked: dict[str, str], now: int) -> dict[str, Any] | None:
        """Return the order that a request names; by our id, an open one first, as client ids are free once closed."""
        named = [order for order in self.orders if order["symbol"] == asked.get("symbol") and order["shown"] <= now]
        if asked.get("orderId"):
            return next((order for order in named if str(order["id"]) == asked["orderId"]), None)
        named = [order for order in named if order["name"] == asked.get("origClientOrderId")]
        return next((order for order in named if order["status"] not in ENDED), named[-1] if named else None)


def order_line(order: dict[str, Any]) -> dict[str, Any]:
    """Show an order as Binance does."""
    return {
        "symbol": order["symbol"], "orderId": order["id"], "orderListId": -1, "clientOrderId": order["name"],
        "price": text(order["price"]), "origQty": text(order["qty"]), "executedQty": text(order["done"]),
        "cummulativeQuoteQty": text(order["cost"]), "status": order["status"], "timeInForce": order["tif"],
        "type": order["type"], "side": order["side"], "stopPrice": text(0), "icebergQty": text(0),
        "time": order["time"], "updateTime": order["changed"], "isWorking": True, "workingTime": order["time"],
        "origQuoteOrderQty": text(0), "selfTradePreventionMode": "NONE",
    }  # fmt: skip


def trade_line(trade: dict[str, Any]) -> dict[str, Any]:
    """Show a trade as Binance does."""
    order = trade["order"]
    return {
        "symbol": order["symbol"], "id": trade["id"], "orderId": order["id"], "orderListId": -1,
        "price": text(trade["price"]), "qty": text(trade["qty"]), "quoteQty": text(trade["cost"]),
        "commission": text(trade["fee"]), "commissionAsset": trade["asset"], "time": trade["time"],
        "isBuyer": order["side"] == "BUY", "isMaker": trade["maker"], "isBestMatch": True,
    }  # fmt: skip


class Door:
    """The venue's HTTP: what is asked, who asks, and what goes wrong on the way."""

    def __init__(self, seed: int, probability: float) -> None:
        self.book = Book(seed)
        self.dice = random.Random(f"door {seed}")
        self.probability = probability
        self.struck: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/ledger", self.ledger)
        app.router.add_get("/balances", self.balances)
        app.router.add_get("/struck", self.show_struck)
        app.router.add_post("/calm", self.calm)
        app.router.add_route("*", "/{face:api|sapi}/{version}/{call:.+}", self.serve)
        return app

    async def ledger(self, request: web.Request) -> web.Response:
        """Tell what truly happened."""
        fills = [{**trade_line(trade), "clientOrderId": trade["order"]["name"]} for trade in self.book.trades]
        orders = [order_line(order) for order in self.book.orders]
        return web.json_response({"orders": orders, "fills": fills, "requests": self.requests})

    async def balances(self, request: web.Request) -> web.Response:
        """Tell what the account holds."""
        locked = {asset: self.book.locked(asset) for asset in self.book.total}
        return web.json_response(
            {a: {"free": text(total - locked[a]), "locked": text(locked[a])} for a, total in self.book.total.items()}
        )

    async def show_struck(self, request: web.Request) -> web.Response:
        """Tell how often each trouble struck."""
        return web.json_response(self.struck)

    async def calm(self, request: web.Request) -> web.Response:
        """End all troubles."""
        self.probability = 0
        return web.json_response({})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one call of the venue."""
        query, body = request.raw_path.partition("?")[2], (await request.read()).decode()
        asked, call, now = dict(parse_qsl(query) + parse_qsl(body)), request.match_info["call"], self.now()
        note = {"method": request.method, "path": f"/{call}", "time_ms": now}
        if request.method != "GET":
            self.requests.append(note | {"newClientOrderId": asked.get("newClientOrderId", "")})
        self.book.pass_time(now)
        try:
            self.check(call, request, query + body, asked)
            trouble = self.trouble(request.method, call)
            if trouble in ("request lost", "502 and not", "-1007 and not"):
                return await self.spoilt(trouble, request, "")
            answer = self.answer(request.method, call, asked, hidden=trouble == "hidden")
        except Refused as refusal:
            if request.method != "GET":
                self.requests[-1]["refused"] = refusal.code
            return web.json_response({"code": refusal.code, "msg": refusal.text}, status=refusal.status)
        written = json.dumps(answer)
        if trouble in (None, "hidden"):
            return web.Response(text=written, content_type="application/json")
        return await self.spoilt(trouble, request, written)

    @staticmethod
    def now() -> int:
        """Return the venue's time: its clock is 200 ms behind."""
        return int(time.time() * 1000) - 200

    def check(self, call: str, request: web.Request, sent: str, asked: dict[str, str]) -> None:
        """Check key, signature and window of a signed call. Raises `Refused`."""
        if call in ("time", "exchangeInfo", "depth", "ticker/24hr", "ping"):
            return
        if request.headers.get("X-MBX-APIKEY") != KEY:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        signed, _, signature = sent.rpartition("&signature=")
        if not hmac.compare_digest(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest(), signature):
            raise Refused(-1022, "Signature for this request is not valid.")
        stamp, window = int(asked.get("timestamp", 0)), int(asked.get("recvWindow", 5000))
        if not self.now() - window <= stamp <= self.now() + 1000:
            raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")

    def trouble(self, method: str, call: str) -> str | None:
        """Throw the dice for each trouble in turn."""
        if call not in ("order", "openOrders", "myTrades", "account"):
            return None
        for name in TROUBLES if method == "POST" else (*TROUBLES[:3], "hang"):
            if self.dice.random() < self.probability:
                self.struck[f"{name} ({method} /{call})"] += 1
                return name
        return None

    async def spoilt(self, trouble: str, request: web.Request, written: str) -> web.StreamResponse:
        """Answer as the trouble wants it."""
        if trouble.startswith("502"):
            return web.Response(text="<html>Bad Gateway</html>", status=502, content_type="text/html")
        if trouble.startswith("-1007"):
            said = {"code": -1007, "msg": "Timeout waiting for response from backend server."}
            return web.json_response(said, status=408)
        if trouble == "hang":
            await asyncio.sleep(HANG_S)
        if trouble in ("hang", "reply lost", "request lost") and request.transport is not None:
            request.transport.abort()
        return web.Response(text="", content_type="application/json")

    def answer(self, method: str, call: str, asked: dict[str, str], *, hidden: bool) -> Any:
        """Carry a call out. Raises `Refused`."""
        now = self.now()
        if (method, call) == ("POST", "order"):
            order = self.book.place(asked, now)
            order["shown"] = now + int(HIDDEN_S * 1000) * hidden
            told = order_line(order)
            fills = [trade_line(trade) for trade in self.book.trades if trade["order"] is order]
            return told | {"transactTime": now, "fills": [line | {"tradeId": line["id"]} for line in fills]}
        if call == "order":
            return self.one(method, asked, now)
        if call in ("openOrders", "allOrders"):
            wanted = [order for order in self.book.orders if asked.get("symbol") in (None, order["symbol"])]
            return [order_line(order) for order in wanted
                    if order["shown"] <= now and (call == "allOrders" or order["status"] not in ENDED)]  # fmt: skip
        if call == "myTrades":
            return self.trades(asked, now)
        if call == "account":
            held = [{"asset": asset, "free": text(total - self.book.locked(asset)),
                     "locked": text(self.book.locked(asset))} for asset, total in self.book.total.items()]  # fmt: skip
            return {"canTrade": True, "accountType": "SPOT", "updateTime": now, "balances": held}
        return public(call, asked, now)

    def one(self, method: str, asked: dict[str, str], now: int) -> dict[str, Any]:
        """Show or cancel one order."""
        order = self.book.find(asked, now)
        if method == "GET":
            if order is None:
                raise Refused(-2013, "Order does not exist.")
            return order_line(order)
        if order is None or order["status"] in ENDED:
            raise Refused(-2011, "Unknown order sent.")
        order["status"], order["changed"] = "CANCELED", now
        return order_line(order) | {"origClientOrderId": order["name"], "clientOrderId": f"x{now}"}

    def trades(self, asked: dict[str, str], now: int) -> list[dict[str, Any]]:
        """Show a page of trades."""
        since, first, limit = int(asked.get("startTime", 0)), int(asked.get("fromId", 0)), int(asked.get("limit", 500))
        found = [
            trade_line(trade)
            for trade in self.book.trades
            if trade["order"]["symbol"] == asked["symbol"] and trade["order"]["shown"] <= now
            and trade["time"] >= since and trade["id"] >= first
            and asked.get("orderId") in (None, str(trade["order"]["id"]))
        ]  # fmt: skip
        return found[:limit] if since or "fromId" in asked else found[-limit:]


def public(call: str, asked: dict[str, str], now: int) -> Any:
    """Answer a call that needs no key. Raises `Refused`."""
    if call == "time":
        return {"serverTime": now}
    if call == "exchangeInfo":
        return {"timezone": "UTC", "serverTime": now, "symbols": [listing(name) for name in MARKETS]}
    market = MARKETS.get(asked.get("symbol", ""))
    if market is None:
        raise Refused(-1121, "Invalid symbol.")
    mid, away = market["mid"], market["mid"] * SPREAD_PPM // 1_000_000
    bid, ask = (price - price % market["tick"] for price in (mid - away, mid + away))
    if call == "depth":
        return {"lastUpdateId": now, "bids": [[text(bid), text(9 * ONE)]], "asks": [[text(ask), text(9 * ONE)]]}
    if call == "ticker/24hr":
        names = ("openPrice", "highPrice", "lowPrice", "lastPrice", "weightedAvgPrice", "prevClosePrice")
        return {"symbol": asked["symbol"], "bidPrice": text(bid), "askPrice": text(ask), "bidQty": text(ONE),
                "askQty": text(ONE), "volume": text(ONE), "quoteVolume": text(mid), "openTime": now - 86_400_000,
                "closeTime": now, "count": 1, "priceChange": text(0), "priceChangePercent": "0.000",
                **dict.fromkeys(names, text(mid))}  # fmt: skip
    raise Refused(-1000, f"No such call: {call}", 404)


def listing(name: str) -> dict[str, Any]:
    """Show a symbol's rules."""
    market = MARKETS[name]
    tick, step = text(market["tick"]), text(market["step"])
    return {
        "symbol": name, "status": "TRADING", "baseAsset": market["base"], "quoteAsset": market["quote"],
        "baseAssetPrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True, "permissions": ["SPOT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000.00000000", "stepSize": step},
            {"filterType": "NOTIONAL", "minNotional": text(LEAST_NOTIONAL), "maxNotional": "9000000.00000000"},
        ],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--probability", type=float, default=0.02)
    given = parser.parse_args()
    app = Door(given.seed, given.probability).application()
    web.run_app(app, host="127.0.0.1", port=given.port, access_log=None, print=None, shutdown_timeout=0.2)
