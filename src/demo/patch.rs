//! The patches of the Kubernetes API: merge, strategic merge, JSON patch, apply, and whole replacement.

use axum::http::Method;
use serde_json::{Map, Value};

/// A change to one object.
#[derive(Clone, Debug)]
pub(super) enum Patch {
    Merge(Value),
    /// As merge, but lists of named things (containers, env) are merged by name. Apply is taken the same way.
    Strategic(Value),
    Json(Vec<Operation>),
    Replace(Value),
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Operation {
    Add { path: String, value: Value },
    Replace { path: String, value: Value },
    Remove { path: String },
    Test { path: String, value: Value },
}

impl Patch {
    /// Reads a request body by its content type.
    pub(super) fn parse(method: &Method, content_type: &str, body: &[u8]) -> Result<Self, String> {
        let json = || serde_json::from_slice::<Value>(body).map_err(|error| error.to_string());
        if method == Method::PUT {
            return Ok(Self::Replace(json()?));
        }
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => Ok(Self::Merge(json()?)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(json()?)),
            "application/json-patch+json" => serde_json::from_slice(body)
                .map(Self::Json)
                .map_err(|error| error.to_string()),
            "application/apply-patch+yaml" => {
                let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
                serde_saphyr::from_str(text)
                    .map(Self::Strategic)
                    .map_err(|error| error.to_string())
            }
            other => Err(format!(
                "the body of the request was in an unknown format: {other}"
            )),
        }
    }

    pub(super) fn apply(&self, target: &mut Value) -> Result<(), String> {
        match self {
            Self::Merge(patch) => merge(target, patch),
            Self::Strategic(patch) => strategic(target, patch),
            Self::Replace(whole) => {
                let mut whole = whole.clone();
                if let Some(object) = whole.as_object_mut() {
                    object.remove("kind");
                    object.remove("apiVersion");
                }
                // The status is written by controllers alone, and identity does not change.
                whole["status"] = target["status"].clone();
                whole["metadata"]["uid"] = target["metadata"]["uid"].clone();
                if whole["metadata"]["resourceVersion"].is_null() {
                    whole["metadata"]["resourceVersion"] =
                        target["metadata"]["resourceVersion"].clone();
                }
                *target = whole;
            }
            Self::Json(operations) => {
                for operation in operations {
                    operation.apply(target)?;
                }
            }
        }
        if let Some(object) = target.as_object_mut() {
            object.remove("kind");
            object.remove("apiVersion");
        }
        Ok(())
    }
}

impl Operation {
    fn apply(&self, target: &mut Value) -> Result<(), String> {
        let (Self::Add { path, .. }
        | Self::Replace { path, .. }
        | Self::Remove { path }
        | Self::Test { path, .. }) = self;
        let (parent, key) = path
            .rsplit_once('/')
            .ok_or_else(|| format!("invalid path {path}"))?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let place = target
            .pointer_mut(parent)
            .ok_or_else(|| format!("path {path} does not exist"))?;
        match (self, place) {
            (Self::Add { value, .. } | Self::Replace { value, .. }, Value::Object(object)) => {
                object.insert(key, value.clone());
            }
            (Self::Add { value, .. }, Value::Array(list)) => {
                let at = if key == "-" {
                    list.len()
                } else {
                    index(&key, list.len())?
                };
                list.insert(at, value.clone());
            }
            (Self::Replace { value, .. }, Value::Array(list)) => {
                let at = index(&key, list.len().saturating_sub(1))?;
                list[at] = value.clone();
            }
            (Self::Remove { .. }, Value::Object(object)) => {
                object.remove(&key);
            }
            (Self::Remove { .. }, Value::Array(list)) => {
                let at = index(&key, list.len().saturating_sub(1))?;
                list.remove(at);
            }
            (Self::Test { value, .. }, place) => {
                let found = match place {
                    Value::Array(list) => key.parse::<usize>().ok().and_then(|at| list.get(at)),
                    other => other.get(&key),
                };
                if found != Some(value) {
                    return Err(format!("testing path {path} failed"));
                }
            }
            (Self::Add { .. } | Self::Replace { .. } | Self::Remove { .. }, _) => {
                return Err(format!("path {path} does not exist"));
            }
        }
        Ok(())
    }
}

fn index(key: &str, last: usize) -> Result<usize, String> {
    key.parse()
        .ok()
        .filter(|at| *at <= last)
        .ok_or_else(|| format!("index {key} is out of range"))
}

/// RFC 7386: null removes, objects merge, everything else replaces.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    merge_with(target, patch, &|target, patch| *target = patch.clone());
}

/// Adds the members of `more`, nulls included.
pub(super) fn merge_keeping_nulls(target: &mut Value, more: Value) {
    if let (Some(target), Value::Object(more)) = (target.as_object_mut(), more) {
        target.extend(more);
    }
}

fn strategic(target: &mut Value, patch: &Value) {
    merge_with(target, patch, &|target, patch| {
        let (Some(list), Some(changes)) = (target.as_array_mut(), patch.as_array()) else {
            *target = patch.clone();
            return;
        };
        if !changes.iter().all(|change| change["name"].is_string()) {
            *target = patch.clone();
            return;
        }
        for change in changes {
            match list.iter_mut().find(|item| item["name"] == change["name"]) {
                Some(item) => strategic(item, change),
                None => list.push(change.clone()),
            }
        }
    });
}

fn merge_with(target: &mut Value, patch: &Value, other: &dyn Fn(&mut Value, &Value)) {
    let Some(changes) = patch.as_object() else {
        if !patch.is_null() {
            other(target, patch);
        }
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(object) = target.as_object_mut() else {
        return;
    };
    for (key, change) in changes {
        if change.is_null() {
            object.remove(key);
        } else {
            merge_with(object.entry(key).or_insert(Value::Null), change, other);
        }
    }
}
