"""The one way to connect to Temporal: worker, client library and tests share converter, sandbox and options."""

from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RetryConfig, TLSConfig

from observability import traces
from settings import Settings
from workflows.temporal_plugin import volex_plugin


async def connect_temporal(
    address: str,
    *,
    namespace: str = "default",
    api_key: str | None = None,
    tls_cert_path: Path | None = None,
    tls_key_path: Path | None = None,
    tls_ca_path: Path | None = None,
    tls_server_name: str | None = None,
    identity: str | None = None,
    lazy: bool = False,
    sandboxed: bool = True,
    runtime: Runtime | None = None,
) -> Client:
    """Connect to Temporal; with `lazy` the connection is made by the first call.

    `sandboxed` matters to workers alone; see `workflows.temporal_plugin`.

    Raises
    ------
    RuntimeError
        When the server does not answer (from temporalio).
    """
    options: dict[str, Any] = {}
    paths = (tls_cert_path, tls_key_path, tls_ca_path)
    if any(paths) or tls_server_name is not None:
        certificate, key, authority = (path.read_bytes() if path is not None else None for path in paths)
        options["tls"] = TLSConfig(
            client_cert=certificate,
            client_private_key=key,
            server_root_ca_cert=authority,
            domain=tls_server_name,
        )
    elif api_key is not None:
        options["tls"] = True
    if identity is not None:
        options["identity"] = identity
    return await Client.connect(
        address,
        namespace=namespace,
        api_key=api_key,
        lazy=lazy,
        plugins=[volex_plugin(sandboxed=sandboxed)],
        interceptors=traces.interceptors(),
        runtime=runtime,
        retry_config=RetryConfig(max_elapsed_time_millis=20_000),
        **options,
    )


async def connect_with(
    settings: Settings,
    *,
    identity: str | None = None,
    lazy: bool = False,
    sandboxed: bool = True,
    runtime: Runtime | None = None,
) -> Client:
    """Connect to the Temporal server of the settings; see `connect_temporal`."""
    return await connect_temporal(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        api_key=settings.temporal_api_key.get_secret_value() if settings.temporal_api_key else None,
        tls_cert_path=settings.temporal_tls_cert_path,
        tls_key_path=settings.temporal_tls_key_path,
        tls_ca_path=settings.temporal_tls_ca_path,
        tls_server_name=settings.temporal_tls_server_name,
        identity=identity,
        lazy=lazy,
        sandboxed=sandboxed,
        runtime=runtime,
    )
