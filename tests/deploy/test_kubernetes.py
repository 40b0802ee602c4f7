"""The manifests: built by kustomize, held against the schemas of Kubernetes and of the operators."""

import importlib
import re
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from encoder.store.signing.public_keys import normal_key
from encoder.user_cache import cache_size

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
KEDA, PROMETHEUS = "cloudcoil.models.keda.v1alpha1", "cloudcoil.models.prometheus_operator.v1"
KINDS = {
    "ScaledObject": KEDA,
    "TriggerAuthentication": KEDA,
    "PodMonitor": PROMETHEUS,
    "PrometheusRule": PROMETHEUS,
}
VERSIONS = ("1.30", kubernetes_validate.latest_version())
OVERLAYS = ("base", "example")
# https://keda.sh/docs/2.18/scalers/apache-kafka/: the trigger's metadata have no schema.
KAFKA_TRIGGER = {
    *("bootstrapServers", "consumerGroup", "topic", "lagThreshold", "activationLagThreshold"),
    *("offsetResetPolicy", "allowIdleConsumers", "scaleToZeroOnInvalidOffset", "excludePersistentLag"),
    *("limitToPartitionsWithLag", "ensureEvenDistributionOfPartitions", "version", "partitionLimitation"),
    *("sasl", "saslTokenProvider", "tls", "unsafeSsl", "awsRegion"),
}


def of_kind(objects, kind):
    [found] = [
        one for one in objects if one["kind"] == kind and one["metadata"]["name"] != "millstream-dashboard"
    ]
    return found


def as_known(one):
    """An object of an operator as the operator's own types know it."""
    kinds = importlib.import_module(KINDS[one["kind"]])  # seconds, and only here
    known = getattr(kinds, one["kind"]).model_validate(one)
    return known.model_dump(mode="json", by_alias=True, exclude_unset=True)


@pytest.fixture(params=OVERLAYS)
def objects(request, kustomize):
    return kustomize(request.param)


@pytest.fixture
def pod(objects):
    return of_kind(objects, "StatefulSet")["spec"]["template"]


@pytest.fixture
def container(pod):
    [found] = pod["spec"]["containers"]
    return found


@pytest.fixture
def plan(objects, pod, container, started_plan, tmp_path):
    """What the pod millstream-worker-1 is started with: arguments, environment and mounted files."""
    data = of_kind(objects, "ConfigMap")["data"]
    text = data["worker.toml"].replace("/etc/millstream", str(tmp_path))
    for name in ("username", "password"):
        (tmp_path / name).write_text(f"the {name}\n")
    for mount in container["volumeMounts"]:
        volume = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == mount["name"])
        if "secret" in volume:
            text = text.replace(mount["mountPath"], str(tmp_path))
    for name, content in {**data, "worker.toml": text}.items():
        (tmp_path / name).write_text(content)
    arguments = [word.replace("/etc/millstream/", f"{tmp_path}/") for word in container["args"]]
    fields = {"metadata.name": "millstream-worker-1"}
    environment = {
        one["name"]: one.get("value") or fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
        for one in container["env"]
    }
    return started_plan(arguments, environment)


def test_kubernetes_takes_every_object(objects):
    for one in objects:
        if one["kind"] not in KINDS:
            for version in VERSIONS:
                kubernetes_validate.validate(one, version, strict=True)


def test_the_operators_take_theirs_and_know_every_field(kustomize):
    found = [one for one in kustomize("example") if one["kind"] in KINDS]
    assert {one["kind"] for one in found} == set(KINDS)
    for one in found:
        assert as_known(one) == one


def test_a_field_that_is_not_known_is_seen(kustomize):
    scaled = of_kind(kustomize("example"), "ScaledObject")
    wrong = {**scaled, "spec": {**scaled["spec"], "minReplicas": 1}}
    assert as_known(wrong) != wrong
    stateful = of_kind(kustomize("base"), "StatefulSet")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**stateful, "spec": {**stateful["spec"], "replica": 1}}, VERSIONS[-1], strict=True
        )


def test_the_worker_reads_its_options(plan, container):
    [port] = container["ports"]
    assert plan.settings.listen == f"0.0.0.0:{port['containerPort']}"
    assert plan.settings.instance == "millstream-worker-1"
    assert plan.settings.delivery == "exactly-once"
    assert plan.properties["session.timeout.ms"] == "20000"


def test_the_example_trusts_the_key_that_it_mounts(kustomize):
    [container] = of_kind(kustomize("example"), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    data = of_kind(kustomize("example"), "ConfigMap")["data"]
    [key] = tomllib.loads(data["worker.toml"])["trust"]
    [folder] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "config"]
    assert normal_key(data[Path(key).relative_to(folder).as_posix()], key)


def test_secrets_come_from_files_and_are_in_no_manifest(objects, plan):
    assert not [one for one in objects if one["kind"] == "Secret"]
    if plan.properties.get("security.protocol") == "SASL_SSL":
        assert plan.properties["sasl.password"] == "the password"


def test_keda_looks_at_what_the_worker_reads(objects, plan):
    scaled = [one for one in objects if one["kind"] == "ScaledObject"]
    file = yaml.safe_load((ROOT / "deploy/kubernetes/keda/scaledobject.yaml").read_text())
    [trigger] = (scaled[0] if scaled else file)["spec"]["triggers"]
    about = trigger["metadata"]
    assert trigger["type"] == "kafka"
    assert set(about) <= KAFKA_TRIGGER
    assert (about["bootstrapServers"], about["consumerGroup"]) == (plan.settings.brokers, plan.settings.group)
    assert about["topic"] in str(plan)
    assert about["offsetResetPolicy"] == plan.properties.get("auto.offset.reset", "earliest")
    assert (about.get("tls") == "enable") == (plan.properties.get("security.protocol") == "SASL_SSL")
    mechanism = plan.properties.get("sasl.mechanism", "")
    assert about.get("sasl", "") == mechanism.lower().replace("-", "_").replace("sha_", "sha")


def test_keda_alone_says_how_many_workers_there_are(kustomize):
    assert of_kind(kustomize("base"), "StatefulSet")["spec"]["replicas"] == 2
    stateful, scaled = (of_kind(kustomize("example"), kind) for kind in ("StatefulSet", "ScaledObject"))
    assert "replicas" not in stateful["spec"]
    target = scaled["spec"]["scaleTargetRef"]
    assert (target["apiVersion"], target["kind"]) == (stateful["apiVersion"], stateful["kind"])
    assert target["name"] == stateful["metadata"]["name"]


def test_every_name_leads_somewhere(objects, pod, container):
    names = {(one["kind"], one["metadata"]["name"]) for one in objects}
    stateful = of_kind(objects, "StatefulSet")
    assert ("Service", stateful["spec"]["serviceName"]) in names
    assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in names
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert ("ConfigMap", volumes["config"]["configMap"]["name"]) in names
    labels = pod["metadata"]["labels"].items()
    selectors = [stateful["spec"]["selector"]["matchLabels"], of_kind(objects, "Service")["spec"]["selector"]]
    selectors.append(of_kind(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    selectors += [one["spec"]["selector"]["matchLabels"] for one in objects if one["kind"] == "PodMonitor"]
    assert all(selector.items() <= labels for selector in selectors)
    ports = {port["name"] for port in container["ports"]}
    probes = [container[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "liveness", "readiness")]
    scraped = [
        end["port"]
        for one in objects
        if one["kind"] == "PodMonitor"
        for end in one["spec"]["podMetricsEndpoints"]
    ]
    assert {*probes, *scraped, of_kind(objects, "Service")["spec"]["ports"][0]["targetPort"]} <= ports


def test_a_change_of_the_options_restarts_the_workers(objects):
    assert re.search(r"-[a-z0-9]{10}$", of_kind(objects, "ConfigMap")["metadata"]["name"])


def test_the_pod_is_restricted(pod, container):
    # What the Pod Security Standard `restricted` asks for, and a root that is read-only.
    own, whole = container["securityContext"], pod["spec"]["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] == 10001  # the image's
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
    assert not [volume for volume in pod["spec"]["volumes"] if "hostPath" in volume]


def test_there_is_time_and_memory_enough(pod, container, plan):
    assert pod["spec"]["terminationGracePeriodSeconds"] > 10
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi")) << 20
    assert limit >= (plan.settings.max_memory + 768) << 20  # see statefulset.yaml


def test_the_disk_is_bounded_and_the_cache_leaves_room_for_a_version(pod, container):
    [cache] = [volume for volume in pod["spec"]["volumes"] if "emptyDir" in volume]
    volume, limit = (
        int(text.removesuffix("i")[:-1]) << {"M": 20, "G": 30}[text[-2]]
        for text in (cache["emptyDir"]["sizeLimit"], container["resources"]["limits"]["ephemeral-storage"])
    )
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert 2 * cache_size(environment["MILLSTREAM_CACHE_SIZE"]) <= volume < limit
    assert container["resources"]["requests"]["ephemeral-storage"]


def test_the_cache_is_a_folder_of_its_own_in_a_volume_that_is_mounted_once(pod, container):
    """Kubernetes gives an emptyDir the mode 0777, which `encoder.user_cache` refuses."""
    environment = {one["name"]: one.get("value") for one in container["env"]}
    [volume] = [one["name"] for one in pod["spec"]["volumes"] if "emptyDir" in one]
    [mount] = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == volume]
    assert Path(environment["MILLSTREAM_CACHE"]).parent == Path(mount)
    assert environment["MILLSTREAM_CACHE_CHECK"] == "inside"
    assert len(pod["spec"]["containers"]) == 1
    assert not pod["spec"].get("initContainers")


def test_the_network_lets_in_the_metrics_and_out_what_a_worker_calls(objects, pod, container, plan):
    policy = of_kind(objects, "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    [inward] = policy["ingress"]
    assert inward["ports"] == [{"port": container["ports"][0]["name"]}]
    assert inward["from"]
    outward = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    brokers = {int(broker.rpartition(":")[2]) for broker in plan.settings.brokers.split(",")}
    assert brokers | {53, 443} <= outward


def test_the_operators_rules_are_those_of_the_file():
    monitoring = ROOT / "deploy/monitoring"
    rules, file = (
        yaml.safe_load((monitoring / name).read_text()) for name in ("prometheusrule.yaml", "alerts.yaml")
    )
    assert rules["spec"] == file


def test_the_dashboard_is_what_grafanas_sidecar_looks_for(kustomize):
    [found] = [one for one in kustomize("example") if one["metadata"]["name"] == "millstream-dashboard"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["data"]["dashboard.json"] == (ROOT / "deploy/monitoring/dashboard.json").read_text()
