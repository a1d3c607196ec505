"""The manifests, against Kubernetes' own schema and KubeRay's field names."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from deployment_files import DOCKER, known_variables, manifests, pods

RAYJOB = json.loads((Path(__file__).parents[1] / "data/kuberay/rayjob.schema.json").read_text())
SETTINGS = manifests()["ConfigMap tokgraft"]
PODS = [(name, pod) for name, one in manifests().items() for pod in pods(one)]


def validate(manifest: dict[str, Any]) -> None:
    """By the schema of its kind; KubeRay's pod templates by that of a PodTemplate."""
    version = kubernetes_validate.latest_version()
    if manifest["kind"] != "RayJob":
        kubernetes_validate.validate(manifest, version, strict=True)
        return
    jsonschema.validate(manifest, RAYJOB)
    cluster = manifest["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for template in (
        manifest["spec"]["submitterPodTemplate"],
        *(one["template"] for one in groups),
    ):
        wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "template": template}
        kubernetes_validate.validate(wrapped, version, strict=True)


@pytest.mark.parametrize("name", manifests())
def test_every_manifest_follows_its_schema(name: str):
    validate(manifests()[name])


@pytest.mark.parametrize("name", [name for name, one in manifests().items() if "spec" in one])
def test_a_field_that_does_not_exist_would_be_found(name: str):
    wrong = copy.deepcopy(manifests()[name])
    wrong["spec"]["replica"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(wrong)


@pytest.mark.parametrize("name", [name for name, one in manifests().items() if list(pods(one))])
def test_a_wrong_field_of_a_container_would_be_found(name: str):
    wrong = copy.deepcopy(manifests()[name])
    next(pods(wrong))["containers"][0]["enviroment"] = []
    with pytest.raises(jsonschema.ValidationError):
        validate(wrong)


@pytest.mark.parametrize(("name", "pod"), PODS)
def test_pods_are_nobody_with_a_share_of_the_machine(name: str, pod: dict[str, Any]):
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == int(
        re.findall(r"^USER (\d+)", (DOCKER / "Dockerfile").read_text(), re.M)[-1]
    )
    for one in pod["containers"]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= one["resources"]["requests"].keys()
        assert "memory" in one["resources"]["limits"]
        assert {"/data", "/tmp"} <= {mount["mountPath"] for mount in one["volumeMounts"]}
        assert {mount["name"] for mount in one["volumeMounts"]} == {
            v["name"] for v in pod["volumes"]
        }
    assert not any("persistentVolumeClaim" in volume for volume in pod["volumes"])


@pytest.mark.parametrize(("name", "pod"), PODS)
def test_probes_ask_a_port_that_the_container_has(name: str, pod: dict[str, Any]):
    for one in pod["containers"]:
        ports = {port["name"]: port["containerPort"] for port in one.get("ports", [])}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert (kind in one) == bool(ports)
            if kind in one:
                assert one[kind]["httpGet"]["port"] in ports
        if "--port" in (arguments := one.get("args", [])):
            assert int(arguments[arguments.index("--port") + 1]) in ports.values()


def test_the_service_leads_to_the_webhook():
    service = manifests()["Service tokgraft-webhook"]["spec"]
    template = manifests()["Deployment tokgraft-webhook"]["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports


def test_references_name_keys_that_the_instructions_make():
    """The head of settings.yaml says how the secrets are made."""
    text = (DOCKER / "kubernetes" / "settings.yaml").read_text().replace(" \\\n#", "")
    made = {
        (found[1], key)
        for found in re.finditer(r"create secret generic (\S+)(.*)", text)
        for key in re.findall(r"--from-literal=([\w-]+)=", found[2])
    }
    used = set[tuple[str, str]]()
    for _, pod in PODS:
        for entry in (entry for one in pod["containers"] for entry in one.get("env", [])):
            if "secretKeyRef" in (source := entry.get("valueFrom", {})):
                used.add((source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]))
            if "configMapKeyRef" in source:
                assert source["configMapKeyRef"]["key"] in SETTINGS["data"]
    auth = manifests()["RayJob tokgraft-run-"]["spec"]["rayClusterSpec"]["authOptions"]
    assert auth["mode"] == "token"
    assert used | {(auth["secretName"], "auth_token")} == made
    for file in re.findall(r"-f (\S+\.yaml)", text):
        assert (DOCKER / "kubernetes" / file).exists()


def test_ray_is_reached_by_its_own_nodes_and_who_submits():
    """Every rule that lets others in names a port, and that one is the dashboard's."""
    policy = manifests()["NetworkPolicy tokgraft-ray"]["spec"]
    nodes = policy["podSelector"]
    for rule in policy["ingress"]:
        if rule["from"] != [{"podSelector": nodes}]:
            assert [port["port"] for port in rule["ports"]] == [8265]
    head = manifests()["RayJob tokgraft-run-"]["spec"]["rayClusterSpec"]["headGroupSpec"][
        "template"
    ]
    # KubeRay adds ray.io/is-ray-node to the labels of its pods.
    assert head["metadata"]["labels"].items() <= nodes["matchLabels"].items()
    closed = manifests()["NetworkPolicy tokgraft-nothing-else"]["spec"]
    assert "ingress" not in closed
    for _, one in manifests().items():
        if one["kind"] == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert closed["podSelector"]["matchLabels"].items() <= labels.items()


def test_settings_of_the_map_are_settings():
    assert SETTINGS["data"].keys() <= known_variables()
