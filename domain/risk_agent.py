"""An external risk agent: somebody else's program that is asked about orders which our own limits would let pass.

It can only be stricter than they are. What it says stands with the decision's evidence. No answer, a late one, one that
is not signed, or one that cannot be read is UNAVAILABLE: the order's workflow asks again, and nothing is sent.
"""

from enum import StrEnum
from typing import Annotated, Final, Protocol

from pydantic import BaseModel, ConfigDict, StringConstraints

from domain.controls import Missing
from domain.exposure import Validated
from domain.identifiers import Account, OrderId
from domain.instrument import NormalTicket
from domain.limits import FIRM, scopes_of
from domain.numbers import Notional, Price, multiply
from domain.order import Frozen, OrderRequest, OrderTicket, TradingMode
from domain.risk import AccountTerms, Answer, Decision, Finding, Reservation, worst_price

RISK_AGENT: Final = "risk_agent"
"""What the agent is called among the limits."""
CODES: Final = {
    Answer.ALLOW: "RISK_AGENT_ALLOWED",
    Answer.DENY: "RISK_AGENT_DENIED",
    Answer.HOLD: "RISK_AGENT_ASKS_PERSON",
    Answer.UNAVAILABLE: "RISK_AGENT_UNAVAILABLE",
}
"""What each of its answers is called, as the reason of a decision."""
_TEXTS: Final = {
    Answer.ALLOW: "the risk agent lets the order pass",
    Answer.DENY: "the risk agent does not let the order pass",
    Answer.HOLD: "the risk agent wants a person to approve the order",
}


class AgentQuestion(Frozen):
    """What the agent is asked: the order as it would go to the venue, and what our own limits measured."""

    version: int = 1
    order_id: OrderId
    account: Account
    exchange: str
    mode: TradingMode
    requested_by: str
    ticket: OrderTicket
    normal: NormalTicket
    """The ticket as it fits the venue."""
    price: Price
    """Quote units per base unit that our limits measured it at."""
    notional: Notional
    findings: tuple[Finding, ...]
    reservation: Reservation | None


class AgentVerdict(StrEnum):
    """What the agent may answer."""

    ALLOW = "allow"
    DENY = "deny"
    HOLD = "hold"


class AgentWord(BaseModel):
    """The agent's answer. What else it holds is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    answer: AgentVerdict
    reason: Annotated[str, StringConstraints(max_length=2000)] = ""
    reference: Annotated[str, StringConstraints(max_length=200)] = ""
    """The agent's own name for its decision."""


class RiskAgent(Protocol):
    """The agent as the gate asks it."""

    def concerns(self, request: OrderRequest) -> bool:
        """Tell whether the agent is asked about the order."""

    async def ask(self, question: AgentQuestion) -> Finding:
        """Ask. Never raises: what is no answer is a finding that says UNAVAILABLE, and why."""


def is_concerned(request: OrderRequest, scopes: tuple[str, ...]) -> bool:
    """Tell whether one of the order's scopes is among those of the agent; without any, it is asked about all."""
    return not scopes or any(scope in scopes for scope in scopes_of(request))


def question_of(
    request: OrderRequest, validated: Validated, foreseen: Decision, terms: AccountTerms
) -> AgentQuestion | None:
    """Return what the agent is asked; `None` when our own limits let nothing pass that it could stop."""
    normal = validated.normal
    price = worst_price(request.ticket, normal, validated.reference_price) if normal is not None else None
    if foreseen.answer not in (Answer.ALLOW, Answer.HOLD) or normal is None or price is None:
        return None
    return AgentQuestion(
        order_id=request.order_id,
        account=request.account,
        exchange=terms.exchange,
        mode=terms.mode,
        requested_by=request.requested_by,
        ticket=request.ticket,
        normal=normal,
        price=price,
        notional=multiply(normal.quantity, price),
        findings=foreseen.findings,
        reservation=foreseen.reservation,
    )


def word_finding(word: AgentWord, *, took_ms: int, shadow: bool) -> Finding:
    """Return the agent's word as a finding; its free text is data, and stands among the numbers."""
    answer = Answer[word.answer.name]
    told = {"reason": _printable(word.reason), "reference": _printable(word.reference), "took_ms": str(took_ms)}
    numbers = {name: text for name, text in told.items() if text}
    return _finding(answer, _TEXTS[answer], numbers, shadow=shadow)


def no_word(missing: Missing, *, took_ms: int, shadow: bool) -> Finding:
    """Return that the agent gave no answer, and why."""
    return _finding(Answer.UNAVAILABLE, missing.text, {"cause": missing.code, "took_ms": str(took_ms)}, shadow=shadow)


def _finding(answer: Answer, text: str, numbers: dict[str, str], *, shadow: bool) -> Finding:
    return Finding(
        limit=RISK_AGENT, scope=FIRM, answer=answer, code=CODES[answer], text=text, numbers=numbers, shadow=shadow
    )


def _printable(text: str) -> str:
    """Return at most 200 printable characters, with a space for every other."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200].strip()


__all__ = [
    "CODES",
    "RISK_AGENT",
    "AgentQuestion",
    "AgentVerdict",
    "AgentWord",
    "RiskAgent",
    "is_concerned",
    "no_word",
    "question_of",
    "word_finding",
]
