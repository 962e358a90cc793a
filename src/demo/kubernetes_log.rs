//! Logs of simulated containers, and the words of the real server when there are none.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde_json::Value;

use super::cluster::Object;
use super::kubernetes_api::{ReadParameters, failure, truthy};
use super::world::{Container, World};

/// The log of a container, or the words of the real server when there is none.
pub(super) fn log(world: &World, object: &Object, parameters: &ReadParameters) -> Response {
    let bad = |message: String| {
        failure(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            &message,
            &Value::Null,
        )
    };
    let Some(pod) = world.pods.get(&object.uid) else {
        return bad("pod has no containers".to_owned());
    };
    let Some(job) = world.jobs.get(&pod.job) else {
        return bad("pod has no containers".to_owned());
    };
    let container = super::objects::container_name(job);
    if !parameters.container.is_empty() && parameters.container != container {
        return bad(format!(
            "container {} is not valid for pod {}",
            parameters.container, pod.name
        ));
    }
    let runs = world.logs.get(&pod.uid).map_or(&[][..], Vec::as_slice);
    // While a crashed container waits for its next start, its last run is both the current and the previous one.
    let waits_again = pod.last.is_some() && !pod.running();
    let lines = if truthy(parameters.previous.as_ref()) {
        if pod.last.is_none() {
            return bad(format!(
                "previous terminated container \"{container}\" in pod \"{}\" not found",
                pod.name
            ));
        }
        if waits_again {
            runs.last()
        } else {
            runs.len().checked_sub(2).and_then(|at| runs.get(at))
        }
    } else {
        match &pod.container {
            Container::Waiting { reason, .. } if !waits_again => {
                return bad(if pod.scheduled.is_none() {
                    format!("pod {} does not have a host assigned", pod.name)
                } else {
                    format!(
                        "container \"{container}\" in pod \"{}\" is waiting to start: {reason}",
                        pod.name
                    )
                });
            }
            Container::Waiting { .. } | Container::Running { .. } | Container::Ended(_) => {
                runs.last()
            }
        }
    };
    let lines = lines.map_or(&[][..], Vec::as_slice);
    let since = parameters.since_seconds.and_then(|seconds| {
        world
            .now
            .checked_sub(SignedDuration::from_secs(seconds))
            .ok()
    });
    let old = since.map_or(0, |since| lines.partition_point(|line| line.at < since));
    let lines = &lines[old..];
    let first = parameters
        .tail_lines
        .map_or(0, |tail| lines.len().saturating_sub(tail));
    let mut text = String::new();
    for line in &lines[first..] {
        if truthy(parameters.timestamps.as_ref()) {
            text.push_str(&line.at.strftime("%Y-%m-%dT%H:%M:%S%.9fZ ").to_string());
        }
        text.push_str(&line.text);
        text.push('\n');
    }
    if let Some(limit) = parameters.limit_bytes {
        let end = (0..=limit.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
    ([(header::CONTENT_TYPE, "text/plain")], text).into_response()
}
