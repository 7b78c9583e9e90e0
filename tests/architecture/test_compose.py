"""docker-compose.yml cannot be run here, so it is checked against its schema and against what it refers to."""

import re
from typing import Any

import jsonschema
import yaml

from settings import SECTIONS, Settings
from tests.architecture.sources import ROOT
from workflows import search_attributes

TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"migrate", "worker", "execution"}

# The part of the Compose Specification that the file uses; an unknown key is an error there and here.
_WORDS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["image"]}, {"required": ["build"]}],
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z0-9./-]+:[\w.-]+$"},
        "build": {"type": "string"},
        "command": _WORDS,
        "entrypoint": _WORDS,
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "volumes": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^([a-z]+:/[\w./-]+|\./deploy/[\w./-]+:/[\w./-]+:ro)$"},
        },
        "secrets": {"type": "array", "items": {"type": "string"}},
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"}},
        "cap_add": {"type": "array", "items": {"type": "string"}},
        "stop_grace_period": {"type": "string", "pattern": r"^\d+s$"},
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["condition"],
                "additionalProperties": False,
                "properties": {
                    "condition": {"enum": ["service_started", "service_healthy", "service_completed_successfully"]}
                },
            },
        },
        "healthcheck": {
            "type": "object",
            "required": ["test"],
            "additionalProperties": False,
            "properties": {
                "test": {"type": "array", "items": {"type": "string"}},
                "interval": {"type": "string", "pattern": r"^\d+s$"},
                "timeout": {"type": "string", "pattern": r"^\d+s$"},
                "retries": {"type": "integer", "minimum": 1},
            },
        },
    },
}
SCHEMA = {
    "type": "object",
    "required": ["services"],
    "additionalProperties": False,
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": {"type": "object", "additionalProperties": _SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}},
        "secrets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["environment"],
                "additionalProperties": False,
                "properties": {"environment": {"type": "string"}},
            },
        },
    },
}


def test_the_file_fits_the_schema() -> None:
    jsonschema.validate(COMPOSE, SCHEMA)


def test_dependencies_name_services_and_wait_for_what_those_can_tell() -> None:
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} depends on {other}"
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for the health of {other}"


def _volumes() -> list[str]:
    return [volume for service in SERVICES.values() for volume in service.get("volumes", [])]


def test_volumes_and_secrets_are_declared() -> None:
    assert {v.partition(":")[0] for v in _volumes() if not v.startswith("./")} == set(COMPOSE["volumes"])
    assert {name for service in SERVICES.values() for name in service.get("secrets", [])} == set(COMPOSE["secrets"])


def test_what_is_mounted_from_here_is_here() -> None:
    missing = [v for v in _volumes() if v.startswith("./") and not (ROOT / v.partition(":")[0]).exists()]
    assert not missing


def test_our_services_set_only_settings_that_exist() -> None:
    known = {name.upper() for name in Settings.model_fields}
    known |= {f"{part}__{name}".upper() for part, model in SECTIONS.items() for name in model.model_fields}
    for name in OURS:
        assert set(SERVICES[name]["environment"]) <= known, name


def test_every_image_is_pinned_by_version() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    loose = [name for name, image in images.items() if not re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", image)]
    assert not loose


def test_the_example_names_every_variable_and_no_other() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    offered = {line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
    assert offered == set(re.findall(r"\$\{(\w+)", TEXT))
    assert not re.findall(r"^\w*(?:KEY|PASSWORD|TOKEN|SECRET|URL)=.+$", example, re.MULTILINE), (
        "an example of no secret"
    )


def test_the_services_that_users_name_are_there() -> None:
    named = "temporal temporal-ui timescaledb vault execution worker prometheus alertmanager grafana"
    assert set(named.split()) <= set(SERVICES)
    assert "container_name" not in TEXT, "a fixed name cannot be scaled"


def test_the_open_interface_needs_a_key() -> None:
    environment = SERVICES["execution"]["environment"]
    assert environment["API_KEY"].startswith("${API_KEY:?")
    assert SERVICES["execution"]["ports"] == ["127.0.0.1:8002:8002"]


def test_every_search_attribute_is_created() -> None:
    command = SERVICES["search-attributes"]["command"][0]
    created = set(re.findall(r"--name (\w+) --type (?:Keyword|Bool)", command))
    assert created == {key.name for key in search_attributes.ALL}


def test_the_image_installs_from_the_lock_and_runs_as_an_ordinary_user() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER volex$", dockerfile, re.MULTILINE)
    assert dockerfile.count("FROM ") == 2
