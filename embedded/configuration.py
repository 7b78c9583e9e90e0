"""What the stack's children are told: the caller's own settings, our addresses, and an account at the simulator.

Everything is checked here, before anything starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from credentials import load_all_settings
from embedded.child import free_port
from settings import CONFIG_FILE, Settings

_OVERLAY: Final = """
# Added by the embedded stack, for no account is configured: the first order needs neither network nor key.
[accounts.binanceus]
exchange = "binanceus"
mode = "paper"
credentials = "none"
[accounts.binanceus.ccxt.urls.api]
public = "{venue}/api/v3"
private = "{venue}/api/v3"
sapi = "{venue}/sapi/v1"
"""
_KRAKEN_OVERLAY: Final = """
[accounts.kraken]
exchange = "kraken"
mode = "paper"
credentials = "none"
[accounts.kraken.ccxt.urls.api]
public = "{venue}"
private = "{venue}"
"""
GRACEFUL_SHUTDOWN_MAX_S: Final = 8
"""The whole stack stops within 25 s, of which the workers get this much."""


@dataclass(frozen=True)
class Ports:
    """Where everything listens, all on 127.0.0.1 but the REST interface's own host."""

    api: int
    temporal: int
    ui: int
    postgres: int
    simulator: int
    simulator_control: int
    simulator_kraken: int
    simulator_kraken_control: int


def choose_ports(settings: Settings, given: Mapping[str, int | None]) -> Ports:
    """Return the given ports, and free ones for the rest. The REST interface's may also come from the settings."""
    wanted = {name: given.get(name) for name in Ports.__annotations__}
    if wanted["api"] is None and "api_port" in settings.model_fields_set:
        wanted["api"] = settings.api_port
    chosen = {name: port for name, port in wanted.items() if port}
    for name in wanted.keys() - chosen.keys():
        port = free_port()
        while port in chosen.values():
            port = free_port()
        chosen[name] = port
    return Ports(**chosen)


def reachable_url(host: str, port: int, *, scheme: str = "http") -> str:
    """Return where what listens on that host is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # read here, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class StackConfiguration:
    """The caller's settings, checked, and what becomes of them.

    Raises
    ------
    ConfigurationError
        When they cannot be read, contradict each other, or need an API key that is not set.
    """

    def __init__(self, config: Path | None, environ: Mapping[str, str]) -> None:
        named = str(config.resolve()) if config else environ.get("VOLEX_CONFIG")
        path = Path(named) if named else Path(CONFIG_FILE)
        self.config = path.resolve() if named or path.exists() else None
        self.environ: Mapping[str, str] = {**environ, **({"VOLEX_CONFIG": str(self.config)} if self.config else {})}
        self.settings = load_all_settings(self.environ)
        self.settings.check_api_key()

    @property
    def graceful_shutdown_s(self) -> int:
        """Seconds that workers get to finish running venue calls."""
        return min(self.settings.worker.graceful_shutdown_s, GRACEFUL_SHUTDOWN_MAX_S)

    def api_url(self, port: int) -> str:
        """Return where the REST interface is reached from this machine."""
        return reachable_url(self.settings.api_host, port, scheme=self.settings.api_scheme)

    def effective_file(self, run_dir: Path, *, venue_url: str | None, kraken_url: str | None = None) -> Path | None:
        """Return the file that children read: the caller's own, with the simulators' accounts if it defines none."""
        if (venue_url is None and kraken_url is None) or "accounts" in self.settings.model_fields_set:
            return self.config
        own = self.config.read_text("utf-8") if self.config else ""
        path = run_dir / CONFIG_FILE
        path.touch(mode=0o600)
        overlays = ((_OVERLAY, venue_url), (_KRAKEN_OVERLAY, kraken_url))
        path.write_text(own + "".join(text.format(venue=url) for text, url in overlays if url), "utf-8")
        return path

    def environment(
        self, ports: Ports, *, database_url: str, temporal_address: str, ui_url: str, file: Path | None
    ) -> dict[str, str]:
        """Return the environment of the children: the one that our settings came from, led to this stack's servers."""
        return {
            **self.environ,
            # An empty value counts as unset: what our environment says of another Temporal has no meaning here.
            "VOLEX_CONFIG": str(file) if file else "",
            "TEMPORAL_API_KEY": "",
            "TEMPORAL_TLS_CERT_PATH": "",
            "TEMPORAL_TLS_KEY_PATH": "",
            "TEMPORAL_TLS_CA_PATH": "",
            "TEMPORAL_TLS_SERVER_NAME": "",
            "TEMPORAL_ADDRESS": temporal_address,
            "TEMPORAL_NAMESPACE": self.settings.temporal_namespace,
            "DATABASE_URL": database_url,
            "UI_ADDRESS": ui_url,
            "API_PORT": str(ports.api),
        }
