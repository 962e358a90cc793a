//! Changes of what a controller makes its pods from, and of how many it makes: scale, image, resources, probes.
//!
//! Each keeps the former values, so that it can be taken back exactly.

use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use super::super::parameters::Parameters;
use super::super::systems::{ActionError, Prepared};
use super::super::{ActionKind, ActionSpec};
use super::change::{Change, Form, Pin};
use super::{Object, check_rolls, owner, patched, refused};
use crate::watch::kubernetes::client::ClusterClient;

/// Said instead of a quantity where there is none, or shall be none.
pub(in crate::action) const NONE: &str = "none";

/// Parameters of [`ActionKind::PatchResources`] with their places in a container.
const RESOURCES: [(&str, &str); 4] = [
    ("memory_limit", "/resources/limits/memory"),
    ("cpu_limit", "/resources/limits/cpu"),
    ("memory_request", "/resources/requests/memory"),
    ("cpu_request", "/resources/requests/cpu"),
];
/// Parameters of [`ActionKind::PatchProbes`] with their names in a probe.
const PROBE: [(&str, &str); 4] = [
    ("initial_delay_seconds", "initialDelaySeconds"),
    ("period_seconds", "periodSeconds"),
    ("timeout_seconds", "timeoutSeconds"),
    ("failure_threshold", "failureThreshold"),
];

pub(super) async fn prepare_scale(
    cluster: &ClusterClient,
    object: Object,
    live: &DynamicObject,
    spec: &ActionSpec,
) -> Result<Prepared, ActionError> {
    owner::check_free(&object, live)?;
    let former = replicas(&live.data);
    let wanted = spec.parameters.integer("replicas").unwrap_or(former);
    if let Some(from) = spec.parameters.integer("from")
        && from != former
    {
        return Err(ActionError::Changed(format!(
            "{object} has {former} replicas now, not {from}"
        )));
    }
    if wanted == former {
        return Err(ActionError::Changed(format!(
            "{object} has {former} replicas already"
        )));
    }
    let doubt = owner::check_autoscaler(cluster, &object).await?;
    let mut change = Change {
        subresource: Some("scale"),
        form: Form::Merge,
        body: json!({"spec": {"replicas": wanted}}),
        pin: Some(Pin::to(live, &["/spec/replicas"])),
        object,
    };
    change.rehearse(cluster).await?;
    let back = Parameters::default()
        .with("replicas", former)
        .with("from", wanted);
    Ok(patched(
        format!("{} (it has {former} now{doubt})", change.told()),
        Some(json!({
            "replicas": wanted,
            "inverse": {"kind": ActionKind::Scale, "parameters": back},
        })),
        change,
    ))
}

/// Desired replicas; the server's default is one.
pub(super) fn replicas(live: &Value) -> i64 {
    live.pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1)
}

/// Image, resources or probes of one container of the template.
pub(super) async fn prepare_container(
    cluster: &ClusterClient,
    object: Object,
    live: &DynamicObject,
    spec: &ActionSpec,
) -> Result<Prepared, ActionError> {
    owner::check_free(&object, live)?;
    check_rolls(&live.data)?;
    let (list, container) = container(&live.data, spec.parameters.text("container"))?;
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let edits = match spec.kind {
        ActionKind::SetImage => vec![Edit {
            parameter: "image",
            pointer: "/image".to_owned(),
            wanted: json!(spec.parameters.text("image")),
        }],
        ActionKind::PatchResources => resources(&spec.parameters)?,
        _ => probes(&spec.parameters, container)?,
    };
    let mut fields = json!({});
    let mut back = Parameters::default().with("container", name.as_str());
    if let Some(probe) = spec.parameters.text("probe") {
        back = back.with("probe", probe);
    }
    for edit in &edits {
        put(&mut fields, &edit.pointer, edit.wanted.clone());
        back = back.with(edit.parameter, edit.former(container));
    }
    if edits
        .iter()
        .all(|edit| container.pointer(&edit.pointer).unwrap_or(&Value::Null) == &edit.wanted)
    {
        return Err(ActionError::Changed(format!(
            "container {name} of {object} is so already"
        )));
    }
    fields["name"] = json!(name);
    let mut change = Change {
        subresource: None,
        form: Form::Strategic,
        body: json!({"spec": {"template": {"spec": {list: [fields]}}}}),
        pin: Some(Pin::to(live, &["/spec"])),
        object,
    };
    let would_be = change.rehearse(cluster).await?;
    // The server writes quantities in its own way, so what to look for afterwards is what it would store.
    let (_, stored) = self::container(&would_be.data, Some(&name))?;
    let carries: Vec<Value> = edits
        .iter()
        .map(|edit| json!([edit.pointer, stored.pointer(&edit.pointer)]))
        .collect();
    Ok(patched(
        format!("{}; its pods are then replaced", change.told()),
        Some(json!({
            "container": name,
            "carries": carries,
            "inverse": {"kind": spec.kind, "parameters": back},
        })),
        change,
    ))
}

/// One value of a container to be set; null removes it.
struct Edit {
    parameter: &'static str,
    pointer: String,
    wanted: Value,
}

impl Edit {
    /// The present value, as the parameter that sets it again.
    fn former(&self, container: &Value) -> Value {
        match (container.pointer(&self.pointer), self.parameter) {
            (Some(value), _) if !value.is_null() => value.clone(),
            (_, "initial_delay_seconds") => json!(0),
            (_, _) => json!(NONE),
        }
    }
}

fn resources(parameters: &Parameters) -> Result<Vec<Edit>, ActionError> {
    let edits: Vec<Edit> = RESOURCES
        .iter()
        .filter_map(|(parameter, pointer)| {
            let quantity = parameters.text(parameter)?;
            Some(Edit {
                parameter,
                pointer: (*pointer).to_owned(),
                wanted: if quantity == NONE {
                    Value::Null
                } else {
                    json!(quantity)
                },
            })
        })
        .collect();
    if edits.is_empty() {
        let names = RESOURCES.map(|(name, _)| name).join(", ");
        return Err(refused(format!("say which to set: {names}")));
    }
    Ok(edits)
}

fn probes(parameters: &Parameters, container: &Value) -> Result<Vec<Edit>, ActionError> {
    let probe = parameters.text("probe").unwrap_or("readiness");
    let field = format!("{probe}Probe");
    if !container[&field].is_object() {
        return Err(refused(format!(
            "container {} has no {probe} probe to change",
            container["name"].as_str().unwrap_or_default()
        )));
    }
    let edits: Vec<Edit> = PROBE
        .iter()
        .filter_map(|(parameter, name)| {
            Some(Edit {
                parameter,
                pointer: format!("/{field}/{name}"),
                wanted: json!(parameters.integer(parameter)?),
            })
        })
        .collect();
    if edits.is_empty() {
        let names = PROBE.map(|(name, _)| name).join(", ");
        return Err(refused(format!("say which to set: {names}")));
    }
    Ok(edits)
}

/// The container that is meant, with the list that it is in.
pub(in crate::action) fn container<'a>(
    live: &'a Value,
    wanted: Option<&str>,
) -> Result<(&'static str, &'a Value), ActionError> {
    let of = |list: &'static str| {
        live.pointer(&format!("/spec/template/spec/{list}"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(move |container| (list, container))
    };
    let main: Vec<_> = of("containers").collect();
    match wanted {
        Some(name) => main
            .iter()
            .copied()
            .chain(of("initContainers"))
            .find(|(_, container)| container["name"] == name)
            .ok_or_else(|| refused(format!("there is no container {name}; {}", names(&main)))),
        None if main.len() == 1 => Ok(main[0]),
        None => Err(refused(format!("say which container; {}", names(&main)))),
    }
}

fn names(containers: &[(&'static str, &Value)]) -> String {
    let names: Vec<&str> = containers
        .iter()
        .filter_map(|(_, container)| container["name"].as_str())
        .collect();
    format!("it has {}", names.join(", "))
}

/// Sets a value at a pointer, making the objects on the way.
fn put(into: &mut Value, pointer: &str, value: Value) {
    let mut place = into;
    for key in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_chosen_by_name_or_for_want_of_another() {
        let one = json!({"spec": {"template": {"spec": {"containers": [{"name": "main"}]}}}});
        assert_eq!(container(&one, None).unwrap().1["name"], "main");
        let two = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "main"}, {"name": "proxy"}], "initContainers": [{"name": "fetch"}]}}}});
        assert_eq!(
            container(&two, None).unwrap_err(),
            ActionError::Refused(
                "nothing was done: say which container; it has main, proxy".into()
            )
        );
        assert_eq!(container(&two, Some("fetch")).unwrap().0, "initContainers");
        assert!(container(&two, Some("other")).is_err());
    }

    #[test]
    fn former_values_are_the_parameters_that_set_them_again() {
        let container =
            json!({"name": "main", "image": "a:1", "resources": {"limits": {"memory": "4Gi"}}});
        let parameters = Parameters::default()
            .with("memory_limit", "8Gi")
            .with("cpu_limit", "2")
            .with("cpu_request", NONE);
        let edits = resources(&parameters).unwrap();
        let former: Vec<_> = edits
            .iter()
            .map(|edit| (edit.parameter, edit.former(&container)))
            .collect();
        assert_eq!(
            former,
            [
                ("memory_limit", json!("4Gi")),
                ("cpu_limit", json!("none")),
                ("cpu_request", json!("none")),
            ]
        );
        assert_eq!(edits[2].wanted, Value::Null);
        assert!(probes(&Parameters::default().with("probe", "liveness"), &container).is_err());
    }
}
