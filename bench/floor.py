"""The floor's worker: a bare Temporal worker whose submit is the same signed POST to the same venue."""

import asyncio
import hashlib
import hmac
import json
import os
import signal
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from temporalio import activity
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from bench.floor_workflow import ORDERS_QUEUE, VENUE_QUEUE, FloorWorkflow
from starter.connection import connect_temporal


class FloorActivities:
    """Four activities; only `submit` does anything."""

    def __init__(self, venue: str, key: str, secret: str, session: aiohttp.ClientSession) -> None:
        self._venue, self._key, self._secret, self._session = venue, key, secret, session

    @activity.defn(name="floor_validate")
    async def validate(self, client_order_id: str) -> str:
        """Do nothing."""
        return client_order_id

    @activity.defn(name="floor_risk_check")
    async def risk_check(self, client_order_id: str) -> str:
        """Do nothing."""
        return client_order_id

    @activity.defn(name="floor_submit")
    async def submit(self, client_order_id: str) -> str:
        """Send the order as ccxt would."""
        body = urlencode(
            {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "MARKET",
                "quantity": "0.001",
                "newClientOrderId": client_order_id,
                "newOrderRespType": "FULL",
                "timestamp": int(time.time() * 1000),
            }
        )
        signature = hmac.new(self._secret.encode(), body.encode(), hashlib.sha256).hexdigest()
        async with self._session.post(
            f"{self._venue}/api/v3/order",
            data=f"{body}&signature={signature}",
            headers={"X-MBX-APIKEY": self._key, "Content-Type": "application/x-www-form-urlencoded"},
        ) as answer:
            return str(json.loads(await answer.text())["status"])

    @activity.defn(name="floor_persist")
    async def persist(self, client_order_id: str) -> str:
        """Do nothing."""
        return client_order_id


async def main(temporal: str, venue: str, ready_file: Path) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await connect_temporal(temporal, sandboxed=False)
    async with aiohttp.ClientSession() as session:
        acts = FloorActivities(venue, os.environ["BINANCEUS_API_KEY"], os.environ["BINANCEUS_SECRET_KEY"], session)
        poll = PollerBehaviorAutoscaling()
        orders = Worker(
            client,
            task_queue=ORDERS_QUEUE,
            workflows=[FloorWorkflow],
            activities=[acts.risk_check, acts.persist],
            workflow_task_poller_behavior=poll,
            activity_task_poller_behavior=poll,
        )
        venue_worker = Worker(
            client,
            task_queue=VENUE_QUEUE,
            activities=[acts.validate, acts.submit],
            activity_task_poller_behavior=poll,
        )
        async with orders, venue_worker:
            ready_file.write_text("ready")
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
    os._exit(0)
