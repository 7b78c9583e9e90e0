"""Asks the risk agent over HTTP: one POST, signed by both sides, with a time limit and a limit on the answer's size.

    POST <url>
    Content-Type: application/json
    Idempotency-Key: <order id>              the same order may be asked about again
    X-Volex-Timestamp: <seconds since 1970>  refuse what is older than you like
    X-Volex-Nonce: <32 hex digits>           another one with every request
    X-Volex-Signature: v1=<hex of HMAC-SHA256(secret, timestamp "." nonce "." body)>

    200 {"answer": "allow" | "deny" | "hold", "reason": "…", "reference": "…"}
    X-Volex-Signature: v1=<hex of HMAC-SHA256(secret, nonce "." body)>

The answer's signature covers the request's nonce, so that an old answer cannot be played again.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from typing import Final

import httpx2
from pydantic import SecretStr, ValidationError

from domain.controls import Missing
from domain.order import OrderRequest
from domain.risk import Finding
from domain.risk_agent import AgentQuestion, AgentWord, is_concerned, no_word, word_finding

ANSWER_MAX_BYTES: Final = 16 * 1024
SIGNATURE: Final = "X-Volex-Signature"
TIMESTAMP: Final = "X-Volex-Timestamp"
NONCE: Final = "X-Volex-Nonce"
log = logging.getLogger("volex.risk_agent")


class HttpRiskAgent:
    """Implements `domain.risk_agent.RiskAgent`.

    Parameters
    ----------
    timeout_ms
        Milliseconds for the whole exchange.
    scopes
        Scopes whose orders it is asked about; all orders if empty.
    shadow
        Its answers are recorded, and do not count.
    """

    def __init__(
        self, url: str, secret: SecretStr, *, timeout_ms: int, scopes: tuple[str, ...] = (), shadow: bool = False
    ) -> None:
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_ms / 1000
        self._scopes = scopes
        self._shadow = shadow
        # No proxy of the environment and no redirect: the question goes to this address, and nowhere else.
        self._client = httpx2.AsyncClient(timeout=self._timeout_s, trust_env=False, follow_redirects=False)

    def concerns(self, request: OrderRequest) -> bool:
        """Tell whether it is asked about the order."""
        return is_concerned(request, self._scopes)

    async def ask(self, question: AgentQuestion) -> Finding:
        """Ask; what is no answer is UNAVAILABLE."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._asked(question)
        except TimeoutError:
            found = Missing("TIMEOUT", f"the risk agent has not answered within {int(self._timeout_s * 1000)} ms")
        except httpx2.HTTPError as error:
            found = Missing(type(error).__name__, "the risk agent cannot be reached")
        took_ms = int((time.monotonic() - began) * 1000)
        if isinstance(found, Missing):
            log.warning("risk_agent_silent", extra={"order_id": question.order_id, "cause": found.code})
            return no_word(found, took_ms=took_ms, shadow=self._shadow)
        return word_finding(found, took_ms=took_ms, shadow=self._shadow)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _asked(self, question: AgentQuestion) -> AgentWord | Missing:
        body, nonce = question.model_dump_json().encode(), secrets.token_hex(16)
        timestamp, secret = str(int(time.time())), self._secret.get_secret_value()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": question.order_id,
            TIMESTAMP: timestamp,
            NONCE: nonce,
            SIGNATURE: sign_question(secret, timestamp=timestamp, nonce=nonce, body=body),
        }
        async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
            if answer.status_code != httpx2.codes.OK:
                return Missing(f"STATUS_{answer.status_code}", f"the risk agent answered with {answer.status_code}")
            told = bytearray()
            async for chunk in answer.aiter_bytes():
                told += chunk
                if len(told) > ANSWER_MAX_BYTES:
                    return Missing("TOO_LONG", f"the risk agent's answer is longer than {ANSWER_MAX_BYTES} bytes")
            signature = answer.headers.get(SIGNATURE, "")
        if not hmac.compare_digest(signature.encode(), sign_answer(secret, nonce=nonce, body=bytes(told)).encode()):
            return Missing("SIGNATURE_WRONG", "the risk agent's answer is not signed with our common secret")
        try:
            return AgentWord.model_validate_json(bytes(told))
        except ValidationError:
            return Missing("UNREADABLE", "the risk agent's answer is none of allow, deny and hold")


def sign_question(secret: str, *, timestamp: str, nonce: str, body: bytes) -> str:
    """Return the signature of a question, as its header has it."""
    return _signed(secret, f"{timestamp}.{nonce}.".encode() + body)


def sign_answer(secret: str, *, nonce: str, body: bytes) -> str:
    """Return the signature of an answer to the question with that nonce, as its header has it."""
    return _signed(secret, f"{nonce}.".encode() + body)


def _signed(secret: str, message: bytes) -> str:
    return f"v1={hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()}"
