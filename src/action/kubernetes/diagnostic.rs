//! Running one of a few allowed commands in a container, as `kubectl exec` does, and keeping what it prints as evidence.
//!
//! The command is a vector of arguments from a table or the configuration, never a text that a shell would read.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess, DynamicObject};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

use super::super::ActionSpec;
use super::super::systems::{ActionError, Prepared, sent};
use super::{Call, Object, call, refused};
use crate::redact;
use crate::safety::{Permit, Safety};
use crate::watch::kubernetes::client::{ClusterClient, KubeError};

/// What is kept of each of the two streams.
const OUTPUT_BYTES: usize = 64 * 1024;
/// Characters of output in the answer itself; the whole is kept with the execution.
const SHOWN: usize = 1_500;

/// The commands that may be run, by name.
#[derive(Clone, Debug)]
pub struct Diagnostics(Arc<BTreeMap<String, Vec<String>>>);

impl Default for Diagnostics {
    fn default() -> Self {
        let table: [(&str, &[&str]); 6] = [
            // Where each thread of the main process is, without stopping it for long.
            ("stack_dump", &["py-spy", "dump", "--pid", "1"]),
            ("gpu_query", &["nvidia-smi", "-q"]),
            ("gpu_list", &["nvidia-smi"]),
            (
                "process_list",
                &["ps", "-eo", "pid,ppid,stat,etimes,rss,args"],
            ),
            ("disk_usage", &["df", "-h"]),
            ("memory", &["cat", "/proc/meminfo"]),
        ];
        let owned = |argv: &[&str]| argv.iter().map(|word| (*word).to_owned()).collect();
        Self(Arc::new(
            table
                .into_iter()
                .map(|(name, argv)| (name.to_owned(), owned(argv)))
                .collect(),
        ))
    }
}

impl Diagnostics {
    /// With more commands, or others under the names of the built-in ones.
    #[must_use]
    pub fn with(self, more: BTreeMap<String, Vec<String>>) -> Self {
        let mut all = (*self.0).clone();
        all.extend(more);
        Self(Arc::new(all))
    }

    /// Names and commands, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0
            .iter()
            .map(|(name, argv)| (name.as_str(), argv.as_slice()))
    }
}

#[derive(Debug)]
pub(in crate::action) struct Plan {
    object: Object,
    uid: String,
    container: String,
    argv: Vec<String>,
}

pub(super) fn prepare(
    diagnostics: &Diagnostics,
    object: Object,
    live: &DynamicObject,
    spec: &ActionSpec,
) -> Result<Prepared, ActionError> {
    let name = spec.parameters.text("diagnostic").unwrap_or_default();
    let Some(argv) = diagnostics.0.get(name) else {
        let known: Vec<&str> = diagnostics.iter().map(|(name, _)| name).collect();
        return Err(refused(format!(
            "there is no diagnostic of that name; there are {}",
            known.join(", ")
        )));
    };
    let running = |container: &&Value| container["state"]["running"].is_object();
    let statuses: Vec<&Value> = live
        .data
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let first = live
        .data
        .pointer("/spec/containers/0/name")
        .and_then(Value::as_str);
    let container = spec.parameters.text("container").or(first);
    let Some(container) = container.filter(|name| {
        statuses
            .iter()
            .any(|status| status["name"] == *name && running(status))
    }) else {
        return Err(refused(format!(
            "container {} of {object} is not running",
            container.unwrap_or("?")
        )));
    };
    Ok(Prepared {
        impact: Vec::new(),
        what: format!(
            "EXEC {argv:?} in container {container} of pod {}",
            object.path()
        ),
        memory: None,
        call: call(Call::Diagnostic(Plan {
            uid: live.metadata.uid.clone().unwrap_or_default(),
            container: container.to_owned(),
            argv: argv.clone(),
            object,
        })),
    })
}

pub(super) async fn carry_out(
    cluster: &ClusterClient,
    safety: &Safety,
    permit: &Permit,
    plan: Plan,
    until: Instant,
) -> Result<String, ActionError> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), &plan.object.namespace);
    // The exec call takes no uid, so it is looked at right before it.
    let live = plan.object.read(cluster).await?;
    if live.metadata.uid.as_deref() != Some(&plan.uid) {
        return Err(ActionError::Changed(format!(
            "{} was made anew meanwhile",
            plan.object
        )));
    }
    let attach = AttachParams {
        container: Some(plan.container.clone()),
        stdin: false,
        stdout: true,
        stderr: true,
        tty: false,
        ..AttachParams::default()
    };
    let call = api.exec(&plan.object.name, &plan.argv, &attach);
    let mut process = match timeout_at(until, call).await {
        Ok(Ok(process)) => process,
        Ok(Err(error)) => return Err(sent(KubeError::from(error))),
        Err(_) => {
            return Err(ActionError::Unknown(
                "the cluster did not answer in time".to_owned(),
            ));
        }
    };
    let read = read(&mut process);
    let Ok((out, err, ended)) = timeout_at(until, read).await else {
        process.abort();
        return Err(ActionError::Refused(format!(
            "{:?} did not end in time and was left",
            plan.argv
        )));
    };
    let output = json!({
        "command": plan.argv, "container": plan.container,
        "stdout": redact::scrub(&out), "stderr": redact::scrub(&err), "ended": ended,
    });
    // What was printed is worth keeping even where its keeping fails: the answer shows its beginning.
    let kept = safety
        .remember(permit, &json!({"output": output}))
        .await
        .is_ok();
    let shown: String = redact::scrub(if out.trim().is_empty() { &err } else { &out })
        .trim()
        .chars()
        .take(SHOWN)
        .collect();
    let whole = if kept {
        format!(
            " The whole output is kept: GET /api/v1/actions/{}/output.",
            permit.execution_id()
        )
    } else {
        String::new()
    };
    match ended.as_deref() {
        None => Ok(format!(
            "{} printed:\n{shown}\n{whole}",
            plan.argv.join(" ")
        )),
        Some(why) => Err(ActionError::Refused(format!(
            "{} failed ({why}): {shown}{whole}",
            plan.argv.join(" ")
        ))),
    }
}

/// Both streams, and why it failed if it did.
async fn read(process: &mut AttachedProcess) -> (String, String, Option<String>) {
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let (out, err) = tokio::join!(limited(stdout), limited(stderr));
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let ended = match status {
        Some(status) if status.status.as_deref() == Some("Success") => None,
        Some(status) => Some(
            status
                .message
                .or(status.reason)
                .unwrap_or_else(|| "it did not say why".to_owned()),
        ),
        None => Some("the connection ended before the command did".to_owned()),
    };
    (out, err, ended)
}

/// What a stream holds, up to the limit; the rest is read and dropped, so that the other side does not block.
async fn limited(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut buffer = vec![0; 8 * 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                let room = OUTPUT_BYTES.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..read.min(room)]);
            }
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}
