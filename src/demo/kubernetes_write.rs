//! Writes to the simulated API server, and how its controllers take them.

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::Object;
use super::estate::SimEstate;
use super::kind::Kind;
use super::kubernetes_api::{Target, failure, find, json_text, not_found, serde_urlencoded_parse};
use super::script::JobSpec;
use super::world::World;
use super::{objects, patch};

/// The real server's limit of a request body.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WriteParameters {
    dry_run: String,
    grace_period_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeleteOptions {
    grace_period_seconds: Option<u64>,
    preconditions: Preconditions,
    dry_run: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

pub(super) async fn write(
    estate: &SimEstate,
    target: Target,
    query: &str,
    request: Request,
) -> Response {
    let method = request.method().clone();
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let Ok(parameters) = serde_urlencoded_parse::<WriteParameters>(query) else {
        return failure(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "invalid query parameters",
            &json!({}),
        );
    };
    let dry_run = parameters.dry_run == "All";
    let Ok(body) = axum::body::to_bytes(request.into_body(), BODY_LIMIT).await else {
        return failure(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            "limit is 3145728",
            &json!({}),
        );
    };
    let subresource = target.subresource.as_deref();
    match (&method, &target.name, subresource) {
        (&Method::DELETE, Some(name), None) => {
            let options = serde_json::from_slice::<DeleteOptions>(&body).unwrap_or_default();
            let grace = options
                .grace_period_seconds
                .or(parameters.grace_period_seconds);
            let dry_run = dry_run || options.dry_run.iter().any(|what| what == "All");
            estate.change(|world| {
                delete(world, &target, name, &options.preconditions, grace, dry_run)
            })
        }
        (&Method::POST, Some(name), Some("eviction")) => {
            let options = serde_json::from_slice::<Value>(&body)
                .ok()
                .and_then(|mut body| {
                    serde_json::from_value::<DeleteOptions>(body["deleteOptions"].take()).ok()
                })
                .unwrap_or_default();
            let dry_run = dry_run || options.dry_run.iter().any(|what| what == "All");
            let answer = estate.change(|world| {
                delete(
                    world,
                    &target,
                    name,
                    &options.preconditions,
                    Some(30),
                    dry_run,
                )
            });
            if answer.status().is_success() {
                (StatusCode::CREATED, Json(success(&json!({})))).into_response()
            } else {
                answer
            }
        }
        (&Method::PATCH | &Method::PUT, Some(name), subresource) => {
            let change = match patch::Patch::parse(&method, &content_type, &body) {
                Ok(change) => change,
                Err(message) => {
                    return failure(StatusCode::BAD_REQUEST, "BadRequest", &message, &json!({}));
                }
            };
            let scale = subresource == Some("scale");
            estate.change(|world| update(world, &target, name, &change, scale, dry_run))
        }
        (&Method::POST, None, None) => match serde_json::from_slice::<Value>(&body) {
            Ok(body) => estate.change(|world| create(world, &target, body, dry_run)),
            Err(error) => failure(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                &error.to_string(),
                &json!({}),
            ),
        },
        _ => {
            let message = "the server does not allow this method on the requested resource";
            failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                message,
                &json!({}),
            )
        }
    }
}

fn success(details: &Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

fn conflict(target: &Target, name: &str, why: &str) -> Response {
    let kind = target.kind.qualified();
    let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}");
    let details = json!({"name": name, "group": target.kind.group(), "kind": target.kind.plural()});
    failure(StatusCode::CONFLICT, "Conflict", &message, &details)
}

fn delete(
    world: &mut World,
    target: &Target,
    name: &str,
    preconditions: &Preconditions,
    grace: Option<u64>,
    dry_run: bool,
) -> Response {
    let Some(object) = find(world, target, name) else {
        return not_found(target, name);
    };
    if let Some(uid) = preconditions.uid.as_ref().filter(|uid| **uid != object.uid) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object.uid
        );
        return conflict(target, name, &why);
    }
    let version = object.version.to_string();
    if let Some(wanted) = preconditions
        .resource_version
        .as_ref()
        .filter(|wanted| **wanted != version)
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {version}"
        );
        return conflict(target, name, &why);
    }
    let job = world
        .job_named(&object.namespace, name)
        .filter(|job| job.uid == object.uid)
        .map(|job| job.id);
    let details = json!({"name": name, "group": target.kind.group(), "kind": target.kind.plural(), "uid": object.uid});
    if dry_run {
        return if target.kind == Kind::Pod {
            json_text(object.whole())
        } else {
            Json(success(&details)).into_response()
        };
    }
    match (target.kind, job) {
        (Kind::Pod, _) => {
            world.delete_pod(&object.uid, Duration::from_secs(grace.unwrap_or(30)));
            let last = find(world, target, name).unwrap_or(object);
            json_text(last.whole())
        }
        (_, Some(job)) => {
            world.delete_job(job);
            Json(success(&details)).into_response()
        }
        (_, None) => {
            world.cluster.remove(target.kind, &object.namespace, name);
            Json(success(&details)).into_response()
        }
    }
}

fn update(
    world: &mut World,
    target: &Target,
    name: &str,
    change: &patch::Patch,
    scale: bool,
    dry_run: bool,
) -> Response {
    let Some(object) = find(world, target, name) else {
        return not_found(target, name);
    };
    let old = object.value();
    let mut new = old.clone();
    if scale {
        let mut wanted = scale_of(&object);
        if let Err(message) = change.apply(&mut wanted) {
            return failure(StatusCode::BAD_REQUEST, "BadRequest", &message, &json!({}));
        }
        new["spec"]["replicas"] = wanted["spec"]["replicas"].clone();
    } else if let Err(message) = change.apply(&mut new) {
        return failure(StatusCode::BAD_REQUEST, "BadRequest", &message, &json!({}));
    }
    if new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return conflict(target, name, why);
    }
    if let Some(refusal) = immutable(target, name, &old, &new) {
        return refusal;
    }
    if new["spec"] != old["spec"] {
        new["metadata"]["generation"] =
            (old["metadata"]["generation"].as_u64().unwrap_or(1) + 1).into();
    }
    if dry_run {
        return answer(target, &new, scale);
    }
    react(world, target, name, &old, new);
    let Some(stored) = find(world, target, name) else {
        return not_found(target, name);
    };
    answer(target, &stored.value(), scale)
}

fn answer(target: &Target, value: &Value, scale: bool) -> Response {
    if scale {
        return Json(scale_value(value)).into_response();
    }
    let mut whole = value.clone();
    whole["kind"] = target.kind.name().into();
    whole["apiVersion"] = target.kind.api_version().into();
    Json(whole).into_response()
}

/// The refusal of a change that the real server does not allow.
fn immutable(target: &Target, name: &str, old: &Value, new: &Value) -> Option<Response> {
    if target.kind != Kind::Job || old["spec"]["template"] == new["spec"]["template"] {
        return None;
    }
    let message = format!(
        "Job.batch \"{name}\" is invalid: spec.template: Invalid value: field is immutable"
    );
    let details = json!({"name": name, "group": "batch", "kind": "Job",
        "causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: field is immutable", "field": "spec.template"}]});
    Some(failure(
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid",
        &message,
        &details,
    ))
}

/// Stores the changed object and lets its controller do what follows.
fn react(world: &mut World, target: &Target, name: &str, old: &Value, mut new: Value) {
    let namespace = target.namespace.clone().unwrap_or_default();
    let changed = |pointer: &str| {
        let (before, after) = (old.pointer(pointer), new.pointer(pointer));
        (before != after).then(|| after.cloned().unwrap_or(Value::Null))
    };
    let suspend = changed("/spec/suspend").or_else(|| changed("/spec/runPolicy/suspend"));
    let template = changed("/spec/template");
    let replicas = changed("/spec/replicas").or_else(|| changed("/spec/parallelism"));
    let unschedulable = changed("/spec/unschedulable");
    if target.kind == Kind::Node
        && let Some(on) = &unschedulable
    {
        let on = on.as_bool().unwrap_or(false);
        let taint = json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
        new["spec"]["taints"] = if on { taint } else { json!([]) };
        world.cluster.put(Kind::Node, new);
        world.cordon(name, on);
        return;
    }
    world.cluster.put(target.kind, new);
    let Some(job) = world.job_named(&namespace, name).map(|job| job.id) else {
        return;
    };
    if let Some(replicas) = replicas.as_ref().and_then(Value::as_u64) {
        world.scale(job, u32::try_from(replicas).unwrap_or(u32::MAX).min(1_000));
    }
    match suspend.map(|suspend| suspend.as_bool().unwrap_or(false)) {
        Some(true) => world.suspend(job, None),
        Some(false) => world.resume(job),
        None => {}
    }
    if let Some(template) = template {
        adopt_template(world, job, &template);
        world.roll_out(job);
    }
}

/// Takes over what the simulation understands of a pod template: the image and the nodes to avoid.
fn adopt_template(world: &mut World, job: u64, template: &Value) {
    let Some(job) = world.jobs.get_mut(&job) else {
        return;
    };
    if let Some(image) = template
        .pointer("/spec/containers/0/image")
        .and_then(Value::as_str)
    {
        image.clone_into(&mut job.spec.image);
    }
    let terms = template
        .pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")
        .and_then(Value::as_array);
    let expressions = terms
        .into_iter()
        .flatten()
        .filter_map(|term| term["matchExpressions"].as_array())
        .flatten();
    job.avoid = expressions
        .filter(|expression| {
            expression["key"] == "kubernetes.io/hostname" && expression["operator"] == "NotIn"
        })
        .filter_map(|expression| expression["values"].as_array())
        .flatten()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect();
}

fn create(world: &mut World, target: &Target, body: Value, dry_run: bool) -> Response {
    let name = body["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let namespace = target.namespace.clone().unwrap_or_default();
    if name.is_empty() {
        let message = "name or generateName is required";
        return failure(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            message,
            &json!({}),
        );
    }
    if world.cluster.get(target.kind, &namespace, &name).is_some() {
        let message = format!("{} \"{name}\" already exists", target.kind.qualified());
        let details =
            json!({"name": name, "group": target.kind.group(), "kind": target.kind.plural()});
        return failure(StatusCode::CONFLICT, "AlreadyExists", &message, &details);
    }
    if dry_run {
        return (StatusCode::CREATED, answer(target, &body, false)).into_response();
    }
    let Some(spec) = spec_for(world, target, &namespace, &name) else {
        // What no controller cares about is simply stored.
        let mut value = body;
        value["metadata"]["uid"] = world.new_uid().into();
        value["metadata"]["creationTimestamp"] = objects::stamp(world.now).into();
        let stored = world.cluster.put(target.kind, value);
        return (StatusCode::CREATED, json_text(stored.whole())).into_response();
    };
    let (spec, run) = spec;
    let id = world.add_job(spec, run);
    let template = body
        .pointer("/spec/template")
        .or_else(|| body.pointer("/spec/pytorchReplicaSpecs/Worker/template"))
        .or_else(|| body.pointer("/spec/pytorchReplicaSpecs/Master/template"));
    if let Some(template) = template {
        adopt_template(world, id, template);
    }
    if let Some(object) = world.cluster.get(target.kind, &namespace, &name) {
        let mut value = object.value();
        for part in ["labels", "annotations"] {
            patch::merge(&mut value["metadata"][part], &body["metadata"][part]);
        }
        world.cluster.put(target.kind, value);
    }
    match find(
        world,
        &Target {
            name: Some(name.clone()),
            ..target.clone()
        },
        &name,
    ) {
        Some(stored) => (StatusCode::CREATED, json_text(stored.whole())).into_response(),
        None => not_found(target, &name),
    }
}

/// The job to make of a created controller: the earlier one of that name in its next run, else a healthy one.
fn spec_for(world: &World, target: &Target, namespace: &str, name: &str) -> Option<(JobSpec, u32)> {
    let earlier = world
        .names
        .get(&(namespace.to_owned(), name.to_owned()))
        .and_then(|id| world.jobs.get(id))
        .filter(|job| objects::controller_kind(job.spec.kind) == target.kind);
    if let Some(job) = earlier {
        return Some((job.spec.clone(), job.run + 1));
    }
    let project = namespace.strip_prefix("runai-")?;
    let spec = match target.kind {
        Kind::Job => JobSpec::training(project, name),
        Kind::PyTorchJob => JobSpec::distributed(project, name, 2),
        Kind::Deployment => JobSpec::inference(project, name, 1),
        Kind::StatefulSet => JobSpec::workspace(project, name),
        Kind::Namespace
        | Kind::Node
        | Kind::Pod
        | Kind::Event
        | Kind::PersistentVolumeClaim
        | Kind::ReplicaSet => return None,
    };
    Some((spec, 0))
}

/// The `scale` subresource of a controller.
pub(super) fn scale_of(object: &Object) -> Value {
    scale_value(&object.value())
}

fn scale_value(value: &Value) -> Value {
    let metadata = &value["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"]},
        "spec": {"replicas": value["spec"]["replicas"]}, "status": {"replicas": value["status"]["replicas"]}
    })
}

/// Whether the caller may do something, as `SelfSubjectAccessReview` tells.
pub(super) async fn access_review(estate: &SimEstate, request: Request) -> Response {
    let body = axum::body::to_bytes(request.into_body(), BODY_LIMIT)
        .await
        .unwrap_or_default();
    let Ok(mut review) = serde_json::from_slice::<Value>(&body) else {
        return failure(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "cannot decode the review",
            &json!({}),
        );
    };
    let attributes = &review["spec"]["resourceAttributes"];
    let text = |key: &str| attributes[key].as_str().unwrap_or_default();
    let resource = match text("subresource") {
        "" => text("resource").to_owned(),
        subresource => format!("{}/{subresource}", text("resource")),
    };
    let allowed = !estate.kubernetes_faults().forbids(text("verb"), &resource);
    review["status"] = json!({"allowed": allowed, "reason": if allowed { "demo: everything is allowed" } else { "" }});
    (StatusCode::CREATED, Json(review)).into_response()
}
