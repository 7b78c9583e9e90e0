"""What a fact rests on, as JSON text beside it: the venue's word in brief, and the hash of its raw answer."""

import hashlib
import json
from typing import Any

from domain.reports import OrderReport, VenueAnswer


def of_report(report: OrderReport, answer: VenueAnswer | None) -> str:
    """Return a report as evidence, with the answer that it was read from."""
    told = report.model_dump_json(exclude_none=True, exclude={"trades", "answer"})
    return f'{told[:-1]},"answer":{json.dumps(_brief(answer))}}}' if answer is not None else told


def of_answer(answer: VenueAnswer | None) -> str | None:
    """Return an answer that makes no report as evidence."""
    return json.dumps({"answer": _brief(answer)}) if answer is not None else None


def _brief(answer: VenueAnswer) -> dict[str, Any]:
    brief = answer.model_dump(exclude_none=True, exclude={"body"})
    return {**brief, "body_sha256": hashlib.sha256(answer.body.encode()).hexdigest()}


__all__ = ["of_answer", "of_report"]
