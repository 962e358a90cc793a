//! Discovery of the simulated API server: which groups and kinds it serves.

use serde_json::{Value, json};

use super::kind::Kind;

/// The answers to `/api`, `/apis` and below, without which clients find no kinds.
pub(super) fn discovery(path: &str) -> Option<Value> {
    let groups = ["batch", "apps", "kubeflow.org", "authorization.k8s.io"];
    let version = |group: &str| json!({"groupVersion": format!("{group}/v1"), "version": "v1"});
    let group = |group: &str| {
        json!({"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [version(group)],
            "preferredVersion": version(group)})
    };
    match path
        .trim_matches('/')
        .split('/')
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["api"] => Some(
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ),
        ["apis"] => {
            let groups: Vec<Value> = groups.into_iter().map(group).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] if groups.contains(name) => Some(group(name)),
        ["api", "v1"] => Some(resources("", "v1")),
        ["apis", name, "v1"] if groups.contains(name) => {
            Some(resources(name, &format!("{name}/v1")))
        }
        _ => None,
    }
}

fn resources(group: &str, group_version: &str) -> Value {
    let verbs = [
        "create", "delete", "get", "list", "patch", "update", "watch",
    ];
    let mut list: Vec<Value> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.group() == group)
        .map(|kind| {
            json!({"name": kind.plural(), "singularName": kind.name().to_lowercase(), "namespaced": kind.namespaced(),
                "kind": kind.name(), "verbs": verbs})
        })
        .collect();
    if group.is_empty() {
        list.push(json!({"name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": ["get"]}));
        list.push(json!({"name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy",
            "version": "v1", "kind": "Eviction", "verbs": ["create"]}));
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}
