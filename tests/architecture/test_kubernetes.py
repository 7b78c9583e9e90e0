"""deploy/kubernetes cannot be applied here, so it is checked against Kubernetes' own schemas and what it refers to."""

import tomllib
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from settings import SECTIONS, Settings, load_settings
from tests.architecture.sources import ROOT

FOLDER = ROOT / "deploy/kubernetes"
VERSIONS = ("1.29", "1.37")
"""The oldest that is still common, and the newest that the tool knows."""
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))
OBJECTS: list[dict[str, Any]] = [
    item
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for item in yaml.safe_load_all(path.read_text("utf-8"))
]
NAMED = {f"{item['kind']}/{item['metadata']['name']}": item for item in OBJECTS}


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for item in OBJECTS:
        if item["kind"] in ("Deployment", "Job"):
            yield item["metadata"]["name"], item["spec"]["template"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", list(NAMED))
def test_each_object_fits_the_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(NAMED[name], version, strict=True)


def test_a_key_that_is_none_would_be_found() -> None:
    item = NAMED["Deployment/worker"]
    wrong = {**item, "spec": {**item["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_file_is_applied_but_the_example_of_a_secret() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert files - set(KUSTOMIZATION["resources"]) == {"kustomization.yaml", "secrets.example.yaml"}
    assert not any(NAMED["Secret/volex"]["stringData"].values()), "an example holds no secret"


def test_what_pods_refer_to_is_there() -> None:
    for name, template in pods():
        spec = template["spec"]
        assert f"ServiceAccount/{spec['serviceAccountName']}" in NAMED, name
        for container in spec["containers"]:
            for source in container["envFrom"]:
                kind = "ConfigMap" if "configMapRef" in source else "Secret"
                assert f"{kind}/{next(iter(source.values()))['name']}" in NAMED, name
            assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                assert port is None or port in {entry["name"] for entry in container["ports"]}, (name, probe)


def test_selectors_find_their_pods() -> None:
    labels = [template["metadata"]["labels"] for _, template in pods()]
    for item in OBJECTS:
        spec = item.get("spec", {})
        selector = spec.get("selector") if item["kind"] == "Service" else spec.get("selector", {}).get("matchLabels")
        selector = selector or spec.get("podSelector", {}).get("matchLabels")
        if selector:
            assert any(selector.items() <= own.items() for own in labels), item["metadata"]["name"]


def test_only_settings_that_exist_are_set_and_they_load() -> None:
    data = dict(NAMED["ConfigMap/volex"]["data"])
    file = data.pop("volex.toml")
    known = {name.upper() for name in Settings.model_fields} | {"VOLEX_CONFIG"}
    known |= {f"{part}__{name}".upper() for part, model in SECTIONS.items() for name in model.model_fields}
    set_by_pods = {entry["name"] for _, t in pods() for c in t["spec"]["containers"] for entry in c.get("env", ())}
    assert {*data, *set_by_pods, *NAMED["Secret/volex"]["stringData"]} <= known
    for section, values in tomllib.loads(file).items():
        if section in SECTIONS:
            assert set(values) <= set(SECTIONS[section].model_fields)
    assert load_settings({"DRY_RUN_MODE": data["DRY_RUN_MODE"]}).dry_run_mode, "paper, until somebody means it"


def test_pods_are_confined_and_end_in_peace() -> None:
    for name, template in pods():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] and own["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name
    worker = NAMED["Deployment/worker"]["spec"]["template"]["spec"]
    settings = tomllib.loads(NAMED["ConfigMap/volex"]["data"]["volex.toml"])
    assert worker["terminationGracePeriodSeconds"] > settings["worker"]["graceful_shutdown_s"]
