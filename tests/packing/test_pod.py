"""Pods of the templates, merged as Kustomize merges them."""

from __future__ import annotations

import pytest

from quantbento.core.errors import QuantbentoError
from quantbento.packing.pod import merged, pod_template
from tests.packing.test_kubernetes_templates import KUBERNETES, built


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_it_is_the_pod_that_kustomize_makes(overlay):
    ours, theirs = pod_template(KUBERNETES, overlay, {"spec": {"template": {}}}), built(overlay)
    theirs_spec = dict(theirs.pod)
    theirs_spec["containers"] = [dict(theirs.container)]
    settings = theirs_spec["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    assert settings.startswith("bento-settings-")  # with the hash, which only Kustomize knows
    theirs_spec["containers"][0]["envFrom"] = [{"configMapRef": {"name": "bento-settings"}}]
    assert by_name(ours["spec"]) == by_name(theirs_spec)
    assert ours["metadata"] == {"labels": theirs.pod_labels, "annotations": ours["metadata"]["annotations"]}


def by_name(value):
    """Without the order of what has names."""
    if isinstance(value, dict):
        return {key: by_name(each) for key, each in value.items()}
    if isinstance(value, list) and all(
        isinstance(each, dict) and {"name", "mountPath"} & each.keys() for each in value
    ):
        return sorted((by_name(each) for each in value), key=lambda each: each.get("mountPath", each.get("name")))
    return value


def test_null_takes_a_field_away_and_other_lists_are_replaced():
    assert merged({"a": 1, "b": [1], "c": 3}, {"a": None, "b": [2]}) == {"b": [2], "c": 3}
    containers = merged([{"name": "x", "a": 1}, {"name": "y"}], [{"name": "x", "b": 2}], "name")
    assert containers == [{"name": "x", "a": 1, "b": 2}, {"name": "y"}]


def test_a_template_that_is_none_is_named(tmp_path):
    for part in ("base", "overlays/gpu"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "deployment.yaml").write_text("spec: {}")
    with pytest.raises(QuantbentoError, match=r"the template .*deployment\.yaml is no Deployment with a pod"):
        pod_template(tmp_path, "gpu", {"spec": {"template": {}}})
