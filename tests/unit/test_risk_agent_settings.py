"""The settings of the external risk agent: whole or refused, and the secret never in the file nor in an error."""

from pathlib import Path

import pytest

from domain.errors import ConfigurationError
from settings import Settings, load_settings

SECRET = "a secret of the two of us"


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    """Read settings from a file and an environment."""
    file = tmp_path / "volex.toml"
    file.write_text(text)
    return load_settings({"VOLEX_CONFIG": str(file), **environ})


def test_agent_is_read_from_the_file_and_its_secret_from_the_environment(tmp_path):
    text = '[risk.agent]\nurl = "https://risk.example/ask"\ntimeout_ms = 250\nscopes = ["account:live", "firm"]\n'
    agent = load(tmp_path, text, RISK__AGENT__SECRET=SECRET).risk.agent
    assert (agent.url, agent.timeout_ms, agent.scopes, agent.shadow) == (
        "https://risk.example/ask", 250, ("account:live", "firm"), False,
    )  # fmt: skip
    assert agent.secret is not None and agent.secret.get_secret_value() == SECRET
    assert SECRET not in repr(agent)


def test_without_a_url_there_is_no_agent():
    assert load_settings({"VOLEX_CONFIG": "/dev/null", "RISK__AGENT__SECRET": SECRET}).risk.agent.url is None


@pytest.mark.parametrize(
    ("text", "environ", "told"),
    [
        ('url = "https://risk.example"', {}, "RISK__AGENT__SECRET"),
        ('url = "https://risk.example"', {"RISK__AGENT__SECRET": "too short"}, "16 characters"),
        ('url = "ftp://risk.example"', {"RISK__AGENT__SECRET": SECRET}, "http:// or https://"),
        ('url = "https://risk.example"\nscopes = ["acount:live"]', {"RISK__AGENT__SECRET": SECRET}, "acount:live"),
        (f'secret = "{SECRET}"', {}, "belongs in the environment"),
        ('ulr = "https://risk.example"', {}, "unknown key risk.agent.ulr"),
        ('url = "https://risk.example"\ntimeout_ms = 9000', {"RISK__AGENT__SECRET": SECRET}, "timeout_ms"),
    ],
)
def test_agent_that_is_not_whole_is_refused_and_no_secret_is_told(tmp_path, text, environ, told):
    with pytest.raises(ConfigurationError, match=told) as refused:
        load(tmp_path, f"[risk.agent]\n{text}\n", **environ)
    assert SECRET not in str(refused.value)
