//! The command line: one file per family. Commands speak to a running bot through its API; `troubleshoot`, `ask` and
//! `check-config` work alone too.
//!
//! Exit codes: 0 done; 1 the thing asked about is bad (unhealthy, not found, refused); 2 wrong usage or configuration;
//! 3 the service could not be reached.

mod actions;
mod alerts;
mod approvals;
mod ask;
mod audit;
mod chat;
mod check_config;
mod client;
mod control;
mod emergency;
mod evaluate;
mod jobs;
mod knowledge;
mod monitor;
mod print;
mod runbook;
mod service;
mod silences;
mod status;
mod token;
mod troubleshoot;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use futures_util::future::BoxFuture;
use url::Url;

use crate::config::{Config, Mistakes};
use crate::desk::{Answer, JobQuery, Outcome};
use client::{Client, ClientError};

/// nightbell: an on-call engineer for GPU and Kubernetes platforms.
#[derive(Debug, Parser)]
#[command(name = "nightbell", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Read this file instead of nightbell.yaml.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the running nightbell answers [default: API_HOST and API_PORT of the configuration].
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<Url>,
    /// A file with an API token [default: one is made with JWT_SECRET, if that is set].
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the bot.
    Serve(service::Serve),
    /// Run the bot on a simulated estate, with nothing installed.
    Demo,
    /// Check the whole configuration; touch nothing.
    CheckConfig,
    /// How things stand.
    Status(status::Status),
    /// Whether the running bot is healthy: exit code 1 when it is not, or when it does not know.
    Health,
    /// Collect the evidence on a job and say what is wrong with it; works without a running bot too.
    Troubleshoot(troubleshoot::Troubleshoot),
    /// Answer one sentence; without a running bot, say how it is understood.
    Ask(ask::Ask),
    /// Questions about actions: list them, approve, deny.
    Approvals(approvals::Approvals),
    /// Actions: list the catalogue and what was done, or ask for one.
    Actions(actions::Actions),
    /// Show exactly what one action would do and what each gate would say; nothing is changed.
    TestAction(actions::TestAction),
    /// Who asked, who decided, what ran: check that nothing was tampered with, or export it.
    Audit(audit::Audit),
    /// Stop all actions, or clear the stop.
    EmergencyStop(emergency::EmergencyStop),
    /// Keep one kind of action from starting, approved or not, until it is enabled again.
    DisableAction(control::ActionType),
    /// Let a kind of action that was disabled run again.
    EnableAction(control::ActionType),
    /// Withdraw every question that waits, and cancel what was permitted and has not begun.
    ClearQueue,
    /// What is monitored, how fresh each source is.
    MonitorStatus,
    /// Start or stop monitoring.
    Monitor(monitor::Monitor),
    /// The jobs of the estate.
    Jobs(jobs::Jobs),
    /// Alerts: list, show, acknowledge, resolve, silence.
    Alerts(alerts::Alerts),
    /// Be silent about alerts for a time: list, add by labels, remove.
    Silences(silences::Silences),
    /// What nightbell knows of failures: list, search, explain; check a local file.
    Knowledge(knowledge::KnowledgeCommand),
    /// Runbooks: check, list, show.
    Runbook(runbook::RunbookCommand),
    /// Talk to the running bot, as in Slack.
    Chat,
    /// Measure this build: how often its diagnoses are right.
    Evaluate(evaluate::Evaluate),
    /// Make an API token with JWT_SECRET.
    Token(token::Token),
}

type Run<In, Out> = Box<dyn FnOnce(In) -> BoxFuture<'static, anyhow::Result<Out>> + Send>;

/// What this room does not do itself: it is handed in by `program`.
pub struct Runners {
    /// Runs until it is told to stop.
    pub serve: Run<Config, ()>,
    /// Runs the demo until it is told to stop.
    pub demo: Run<(), ()>,
    /// Diagnoses a job without a running bot. The answer is that of the desk: its body is the diagnosis, or
    /// `{"error", "candidates"}` with [`Outcome::NotFound`].
    pub troubleshoot: Run<(Config, JobQuery), Answer>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    Bad,
    Usage,
    Unreachable,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Bad => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
        })
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::NotFound | Outcome::Refused => Self::Bad,
            Outcome::Invalid => Self::Usage,
            Outcome::Unavailable => Self::Unreachable,
        }
    }
}

/// Why a command did not come to an answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Configuration(#[from] Mistakes),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Usage(String),
    #[error("{0:#}")]
    Other(anyhow::Error),
}

/// Runs one command and says how it ended.
pub async fn run(cli: Cli, runners: Runners) -> ExitCode {
    let Cli { global, command } = cli;
    let ended = match command {
        Command::Serve(serve) => serve.run(&global, runners.serve).await,
        Command::Demo => service::demo(runners.demo).await,
        Command::CheckConfig => Ok(check_config::run(&global)),
        Command::Status(status) => status.run(&global).await,
        Command::Health => status::health(&global).await,
        Command::Troubleshoot(job) => job.run(&global, runners.troubleshoot).await,
        Command::Ask(ask) => ask.run(&global).await,
        Command::Approvals(approvals) => approvals.run(&global).await,
        Command::Actions(actions) => actions.run(&global).await,
        Command::TestAction(test) => test.run(&global).await,
        Command::Audit(audit) => audit.run(&global).await,
        Command::EmergencyStop(stop) => stop.run(&global).await,
        Command::DisableAction(action) => action.run(true, &global).await,
        Command::EnableAction(action) => action.run(false, &global).await,
        Command::ClearQueue => control::clear_queue(&global).await,
        Command::MonitorStatus => monitor::status(&global).await,
        Command::Monitor(monitor) => monitor.run(&global).await,
        Command::Jobs(jobs) => jobs.run(&global).await,
        Command::Alerts(alerts) => alerts.run(&global).await,
        Command::Silences(silences) => silences.run(&global).await,
        Command::Knowledge(knowledge) => knowledge.run(&global),
        Command::Runbook(runbook) => runbook.run(&global),
        Command::Chat => chat::run(&global).await,
        Command::Evaluate(evaluate) => evaluate.run(&global),
        Command::Token(token) => token.run(&global),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failed) => print::failure(&global, &failed).into(),
    }
}

/// Has the running bot execute one command of the desk, and prints its answer.
async fn execute(global: &Global, command: crate::desk::Command) -> Result<Exit, Failed> {
    let answer = Client::of(global)?.execute(&command).await?;
    print::answer(global, &answer);
    Ok(answer.outcome.into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_consistent_and_every_command_is_described() {
        let tree = Cli::command();
        tree.clone().debug_assert();
        for command in tree.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn commands_of_the_contract_are_read() {
        for line in [
            "serve",
            "serve --validate-only",
            "demo",
            "check-config --config x.yaml",
            "status --detailed --json",
            "health",
            "troubleshoot bert --project nlp --namespace runai-nlp --json",
            "ask what --context earlier --context later --json",
            "approvals",
            "approvals list --json",
            "approvals approve 3",
            "approvals deny 3 --reason no",
            "actions",
            "actions list --json",
            "actions run scale deployment/web -n ml --set replicas=3",
            "test-action drain gpu-7 --set max_instances=2 --json",
            "audit verify --json",
            "audit export --since 7d --json",
            "emergency-stop --reason fire",
            "emergency-stop --clear",
            "disable-action --type delete_pod",
            "enable-action --type delete_pod",
            "clear-queue",
            "monitor-status",
            "monitor start --project ml-team --for 30m",
            "monitor stop",
            "jobs --failing --project nlp",
            "alerts",
            "alerts --all",
            "alerts show 17",
            "alerts ack 17",
            "alerts silence 17 --for 2h",
            "silences",
            "silences list --json",
            "silences add project=ml-team severity!=critical --for 2h --reason patching",
            "silences add --alert 17",
            "silences remove S3",
            "evaluate diagnosis --cases DIR --json",
            "knowledge list --json",
            "knowledge search nccl timeout",
            "knowledge show cuda_oom",
            "knowledge xid 79",
            "knowledge check local.yaml",
            "runbook check",
            "runbook check runbooks own.yaml --json",
            "runbook list --json",
            "runbook show pod_restarting",
            "chat --url http://127.0.0.1:9000",
            "token --for mira --role viewer --valid 12h",
        ] {
            let words = std::iter::once("nightbell").chain(line.split(' '));
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        for line in [
            "",
            "deploy",
            "approvals deny",
            "silences add",
            "silences add team=ml",
            "audit verify --expect 12",
            "audit export --since yesterday",
            "emergency-stop --clear --reason x",
            "disable-action",
        ] {
            let words = std::iter::once("nightbell").chain(line.split_whitespace());
            let error = Cli::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
