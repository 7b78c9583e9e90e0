"""The external risk agent over HTTP: the adapter of `domain.risk_agent.RiskAgent`."""

from risk_agent.http_agent import HttpRiskAgent, sign_answer, sign_question

__all__ = ["HttpRiskAgent", "sign_answer", "sign_question"]
