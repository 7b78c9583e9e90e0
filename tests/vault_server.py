"""A real Vault for tests: file storage, so that it can be sealed, stopped and started again; plain and with TLS."""

import datetime
import ipaddress
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from embedded.child import free_port

BESIDE = Path(__file__).parents[2] / "shared" / "bin" / "vault"
START_S = 60
_CONFIG = """
disable_mlock = true
storage "file" {{ path = "{directory}/data" }}
listener "tcp" {{
  address     = "127.0.0.1:{port}"
  tls_disable = true
}}
listener "tcp" {{
  address       = "127.0.0.1:{tls_port}"
  tls_cert_file = "{directory}/server.pem"
  tls_key_file  = "{directory}/server.key"
}}
"""


def vault_binary() -> str:
    """Return the binary beside the project or on PATH; skip the test where there is none."""
    found = str(BESIDE) if BESIDE.exists() else shutil.which("vault")
    if found is None:
        pytest.skip("no vault binary at ../shared/bin/vault or on PATH")
    return found


class VaultServer:
    """One server. Its KV version 2 store is at `secret/`. `stop()` must be called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.tls_port = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.tls_address = f"https://127.0.0.1:{self.tls_port}"
        self.cacert = directory / "ca.pem"
        self._binary = vault_binary()
        self._process: subprocess.Popen[bytes] | None = None
        self.root_token = ""
        self.unseal_key = ""
        _write_certificates(directory)
        (directory / "vault.hcl").write_text(
            _CONFIG.format(directory=directory, port=self.port, tls_port=self.tls_port)
        )

    @property
    def admin(self) -> hvac.Client:
        """A client that may do everything."""
        return hvac.Client(url=self.address, token=self.root_token)

    def start(self) -> None:
        """Start, initialize the first time, and unseal. A binary that does not run is an error, never a skip."""
        self.launch()
        client = hvac.Client(url=self.address, token="")
        if not self.root_token:
            made = client.sys.initialize(secret_shares=1, secret_threshold=1)
            self.root_token, self.unseal_key = made["root_token"], made["keys"][0]
            self.unseal()
            self.admin.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
            self._until(lambda: self.admin.secrets.kv.v2.list_secrets("", mount_point="secret") is None)
        else:
            self.unseal()

    def launch(self) -> None:
        """Start the process; a store that was initialized before comes up sealed."""
        with (self.directory / "vault.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "server", "-config", str(self.directory / "vault.hcl")],
                env={name: value for name, value in os.environ.items() if not name.startswith("VAULT_")},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._until(lambda: hvac.Client(url=self.address, token="").sys.is_initialized() is not None)

    def stop(self) -> None:
        """Stop the process that was started here."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def seal(self) -> None:
        """Seal: it answers nothing any more until it is unsealed."""
        self.admin.sys.seal()

    def unseal(self) -> None:
        """Unseal, and wait until it serves."""
        hvac.Client(url=self.address, token="").sys.submit_unseal_key(self.unseal_key)
        self._until(lambda: self.admin.lookup_token() is not None)

    def write(self, path: str, **fields: Any) -> None:
        """Write a secret."""
        self.admin.secrets.kv.v2.create_or_update_secret(path=path, secret=fields)

    def make_role(self, name: str = "volex", **limits: str) -> tuple[str, str]:
        """Make an AppRole that may read what volex reads; return its role id and a secret id."""
        admin = self.admin
        rules = 'path "secret/data/api_keys/*" { capabilities = ["read"] }\n'
        rules += 'path "secret/data/agents/execution" { capabilities = ["read"] }'
        admin.sys.create_or_update_policy("volex", rules)
        if "approle/" not in admin.sys.list_auth_methods()["data"]:
            admin.sys.enable_auth_method("approle")
        admin.auth.approle.create_or_update_approle(name, token_policies=["volex"], **limits)
        role_id = admin.auth.approle.read_role_id(name)["data"]["role_id"]
        return role_id, admin.auth.approle.generate_secret_id(name)["data"]["secret_id"]

    def _until(self, reached: Any) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                if reached():
                    return
            except hvac.exceptions.InvalidPath:
                return  # an empty store lists nothing, and says so
            except (hvac.exceptions.VaultError, requests.RequestException):
                pass
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"vault does not run: {(self.directory / 'vault.log').read_text()[-2000:]}")
            time.sleep(0.05)


def _write_certificates(directory: Path) -> None:
    """Write an authority's certificate, and one for 127.0.0.1 that it signed."""
    ca_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, own_name = _named("authority of a test"), _named("127.0.0.1")
    ca = _certificate(ca_name, ca_name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = _certificate(own_name, ca_name, own_key).add_extension(where, False)
    pem = serialization.Encoding.PEM
    (directory / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (directory / "server.pem").write_bytes(own.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    no_password = serialization.NoEncryption()
    key = own_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password)
    (directory / "server.key").write_bytes(key)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
