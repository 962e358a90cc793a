//! Actions: what can be done and was done, what one of them would do, and asking for it.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Exit, Failed, Global, execute};
use crate::action::{ActionRequest, Parameters};
use crate::desk;

#[derive(Debug, Args)]
pub struct Actions {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What can be done, and what was done lately.
    List,
    /// Ask for an action; somebody else approves it.
    Run(Wanted),
}

/// One action as a person names it.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Name from `nightbell actions`, or a verb such as restart, scale, rollback, drain.
    action: String,
    /// What to act on: a job, `deployment/web`, a node, a container, a configured name.
    name: String,
    #[arg(long, short)]
    namespace: Option<String>,
    #[arg(long)]
    cluster: Option<String>,
    #[arg(long)]
    project: Option<String>,
    /// Kind of Kubernetes object.
    #[arg(long)]
    kind: Option<String>,
    /// A parameter; numbers, true and false are taken as such, lists as JSON.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
}

/// Shows exactly what an action would do and what each gate would say; changes nothing.
#[derive(Debug, Args)]
pub struct TestAction {
    #[command(flatten)]
    wanted: Wanted,
}

fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "write NAME=VALUE, for example replicas=3".to_owned())?;
    // Only what cannot be a text for people is taken as something else.
    let read = serde_json::from_str::<Value>(value)
        .ok()
        .filter(|value| !value.is_null() && !value.is_string())
        .unwrap_or_else(|| Value::String(value.to_owned()));
    Ok((name.trim().to_owned(), read))
}

impl Wanted {
    fn request(self) -> ActionRequest {
        ActionRequest {
            action: self.action,
            name: self.name,
            kind: self.kind,
            namespace: self.namespace,
            cluster: self.cluster,
            project: self.project,
            parameters: self.parameters.into_iter().collect::<Parameters>(),
        }
    }
}

impl Actions {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let command = match self.what {
            None | Some(What::List) => desk::Command::ListActions,
            Some(What::Run(wanted)) => desk::Command::RunAction {
                request: wanted.request(),
            },
        };
        execute(global, command).await
    }
}

impl TestAction {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let request = self.wanted.request();
        execute(global, desk::Command::PreviewAction { request }).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_read_as_what_they_look_like() {
        for (text, name, value) in [
            ("replicas=3", "replicas", json!(3)),
            ("force=true", "force", json!(true)),
            ("image=web:2", "image", json!("web:2")),
            ("memory_limit=8Gi", "memory_limit", json!("8Gi")),
            ("note=a=b", "note", json!("a=b")),
        ] {
            assert_eq!(parameter(text), Ok((name.to_owned(), value)));
        }
        assert!(parameter("replicas").is_err());
    }
}
