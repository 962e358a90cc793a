//! A world for stories: a simulated estate whose time follows the clock, a Slack, and the real program between them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightbell::demo::script::{Act, Cure, Exit, JobSpec, Script};
use nightbell::demo::{DemoServers, SimEstate, server};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::bot::Bot;
use super::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, Message, SIGNING_SECRET};

pub const CHANNEL: &str = "C0ALERTS";
pub const APPROVER: &str = "U0APPROVER";
pub const STRANGER: &str = "U0STRANGER";
pub const PROJECT: &str = "nlp";
pub const NAMESPACE: &str = "runai-nlp";

/// The longest that a story waits for one thing: Slack's pace is a call a second, a repair is watched for 15 s.
const PATIENCE: Duration = Duration::from_mins(2);
/// Jobs that do well, so that one failure is not half of the estate.
const HEALTHY: u32 = 12;

/// Shorter waits than in life.
const SETTINGS: &str = "
alerts:
  resolve_after_seconds: 3
  messages_per_minute: 30
thresholds:
  pending_seconds: 3
  quota_seconds: 3
  starting_seconds: 5
  terminating_seconds: 5
  restarting_seconds: 1
  settle_seconds: 1
  node_seconds: 2
runai_proactive_monitor:
  poll_interval_seconds: 1
";

/// Which parts of the world the bot is connected with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub kubernetes: bool,
    pub runai: bool,
    /// Slack calls the bot, instead of sockets.
    pub http: bool,
    pub settings: &'static str,
    pub variables: Vec<(&'static str, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            kubernetes: true,
            runai: false,
            http: false,
            settings: SETTINGS,
            variables: Vec::new(),
        }
    }
}

impl Setup {
    pub fn both() -> Self {
        Self {
            runai: true,
            ..Self::default()
        }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }
}

/// Everything that a story needs. Dropping it ends it all.
pub struct World {
    pub estate: SimEstate,
    pub slack: FakeSlack,
    pub bot: Bot,
    _servers: DemoServers,
    _folder: tempfile::TempDir,
    clock: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

impl World {
    /// A world in which all is well and the bot is ready.
    pub async fn start(setup: Setup) -> Self {
        let http = setup.http;
        let mut world = Self::prepare(setup).await;
        world.bot.launch();
        world.bot.ready().await;
        if !http {
            world.slack.wait_for_sockets(1).await;
        }
        world
    }

    /// A world whose bot is not started yet.
    pub async fn prepare(setup: Setup) -> Self {
        let slack = FakeSlack::start().await;
        let estate = SimEstate::new(Timestamp::now(), 1.0, 11);
        estate.add_project(PROJECT, 400);
        estate.add_node("pool-01", "healthy", HEALTHY);
        for n in 0..HEALTHY {
            estate.add_job(JobSpec {
                pool: "healthy".to_owned(),
                ..JobSpec::training(PROJECT, &format!("fine-{n:02}"))
            });
        }
        let servers = server::serve(estate.clone(), Duration::from_hours(1))
            .await
            .expect("the loopback has room");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, servers.kubeconfig()).expect("the folder is ours");

        let mut variables: Vec<(&str, String)> = vec![
            ("SLACK_BOT_TOKEN", BOT_TOKEN.to_owned()),
            ("SLACK_API_URL", slack.api_url().to_string()),
            ("SLACK_CHANNEL", CHANNEL.to_owned()),
            ("APPROVERS", APPROVER.to_owned()),
            ("DRY_RUN", "false".to_owned()),
        ];
        variables.push(if setup.http {
            ("SLACK_SIGNING_SECRET", SIGNING_SECRET.to_owned())
        } else {
            ("SLACK_APP_TOKEN", APP_TOKEN.to_owned())
        });
        if setup.kubernetes {
            variables.push(("KUBE_ENABLED", "true".to_owned()));
            variables.push(("KUBECONFIG", kubeconfig.display().to_string()));
        }
        if setup.runai {
            variables.push(("RUNAI_BASE_URL", servers.runai_base_url.clone()));
            variables.push(("RUNAI_CLIENT_ID", servers.runai_client_id.clone()));
            variables.push(("RUNAI_CLIENT_SECRET", servers.runai_client_secret.clone()));
        }
        variables.extend(setup.variables);
        let borrowed: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let bot = Bot::prepare(&borrowed);
        bot.configure(setup.settings);
        if setup.http {
            slack.use_http(bot.url("/").parse().expect("a URL"));
        }

        let driven = estate.clone();
        let clock = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            loop {
                ticks.tick().await;
                driven.advance(Timestamp::now());
            }
        });
        Self {
            estate,
            slack,
            bot,
            _servers: servers,
            _folder: folder,
            clock,
        }
    }

    /// Submits a job that has a node of its own.
    pub fn submit(&self, spec: JobSpec) -> String {
        let (name, node) = (spec.name.clone(), format!("node-{}", spec.name));
        self.estate.add_node(&node, &node, spec.gpus * spec.pods);
        self.estate.add_job(JobSpec { pool: node, ..spec });
        name
    }

    /// How often the job was run: 0 is the first run.
    pub fn runs(&self, name: &str) -> u32 {
        self.estate.job(NAMESPACE, name).map_or(0, |job| job.run)
    }

    /// Waits until `look` finds what it looks for; `what` names it in the failure.
    pub async fn eventually<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "it never happened: {what}\n{}",
                self.report().await
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until the message about `job` holds all of `parts`.
    pub async fn message_with(&self, job: &str, parts: &[&str]) -> Message {
        let what = format!("a message about {job} with {parts:?}");
        let has = |message: &Message| {
            let shown = message.shown();
            parts.iter().all(|part| shown.contains(part))
        };
        self.eventually(&what, |world| world.about(job).into_iter().find(has))
            .await
    }

    /// What the channel shows outside threads.
    pub fn channel(&self) -> Vec<Message> {
        let mut messages = self.slack.all();
        messages.retain(|m| {
            m.channel == CHANNEL
                && m.thread_ts.is_none()
                && m.only_for.is_none()
                && m.user == super::slack::BOT_USER
        });
        messages
    }

    /// Messages of the channel that name the job.
    pub fn about(&self, job: &str) -> Vec<Message> {
        let mut messages = self.channel();
        messages.retain(|message| message.shown().contains(job));
        messages
    }

    /// What the thread of a message holds.
    pub fn thread(&self, parent: &Message) -> String {
        let mut messages = self.slack.all();
        messages.retain(|message| message.thread_ts.as_ref() == Some(&parent.ts));
        messages
            .iter()
            .map(Message::shown)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// What `user` alone is shown.
    pub fn whispers(&self) -> String {
        let mut messages = self.slack.all();
        messages.retain(|message| message.only_for.is_some());
        messages
            .iter()
            .map(Message::shown)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// All alerts of the bot's API, those that are over too.
    pub async fn alerts(&self) -> Vec<Value> {
        let page = self.bot.get("/api/v1/alerts?state=all&limit=500").await;
        page["items"].as_array().cloned().unwrap_or_default()
    }

    /// All actions of the bot's API.
    pub async fn actions(&self) -> Vec<Value> {
        let page = self.bot.get("/api/v1/actions?limit=500").await;
        page["items"].as_array().cloned().unwrap_or_default()
    }

    /// What a person needs who looks into a failed story.
    pub async fn report(&self) -> String {
        let mut report = format!(
            "at {}\nSlack shows\n{}\n\nAlerts\n",
            Timestamp::now(),
            self.slack.messages()
        );
        let folder = self.bot.folder().join("nightbell.db");
        let url = format!("sqlite://{}?mode=ro", folder.display());
        match sqlx::SqlitePool::connect(&url).await {
            Ok(database) => {
                for (what, sql) in [("", ALERTS), ("\nEffects that wait\n", EFFECTS)] {
                    report.push_str(what);
                    let rows: Vec<String> = sqlx::query_scalar(sql)
                        .fetch_all(&database)
                        .await
                        .unwrap_or_else(|error| vec![error.to_string()]);
                    for row in rows {
                        let _ = writeln!(report, "{row}");
                    }
                }
            }
            Err(error) => {
                let _ = writeln!(report, "the database cannot be read: {error}");
            }
        }
        report.push_str("\nThe bot logged\n");
        let log = self.bot.log();
        let lines: Vec<&str> = log.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(80)) {
            let _ = writeln!(report, "{line}");
        }
        report
    }
}

/// Each alert of the database in a line, and each effect that is not done.
const ALERTS: &str = "select '#' || number || ' ' || state || ' ' || json_extract(body, '$.subject.name') || ' '
    || json_extract(body, '$.failure') || ' group ' || coalesce(group_id, '-') || ' diagnosis '
    || coalesce(json_extract(body, '$.diagnosis.findings[0].cause'), '-') || ' missing '
    || coalesce(json_extract(body, '$.diagnosis.missing_evidence'), '-') from alert order by number";
const EFFECTS: &str =
    "select kind || ' ' || lane || ' owner ' || coalesce(owner, '-') || ' attempts ' || attempts
    || ' due ' || strftime('%H:%M:%S', due_ms / 1000, 'unixepoch')
    || ' lease ' || coalesce(strftime('%H:%M:%S', lease_until_ms / 1000, 'unixepoch'), '-')
    || ' ' || coalesce(last_error, '') from effect where done_ms is null order by kind, lane, id";

/// A Kubernetes Job, unknown to Run:AI, that loses its GPU at once; a new pod works.
pub fn lost_gpu(name: &str) -> JobSpec {
    JobSpec {
        script: Script::steps([
            (
                0.2,
                None,
                Act::Log(vec!["Failed to initialize NVML: Unknown Error".to_owned()]),
            ),
            (0.4, None, Act::Exit(Exit::error(1))),
        ]),
        cure: Cure::NewPod,
        runai: false,
        ..alone(name)
    }
}

/// A Job with a bug that no repair helps against.
pub fn buggy(name: &str, lines: &[&str]) -> JobSpec {
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    JobSpec {
        script: Script::steps([
            (0.2, None, Act::Log(lines)),
            (0.4, None, Act::Exit(Exit::error(1))),
        ]),
        runai: false,
        ..alone(name)
    }
}

/// A healthy job that has nothing in common with another, not even its image.
pub fn alone(name: &str) -> JobSpec {
    JobSpec {
        image: format!("registry.example.com/train/{name}:1"),
        ..JobSpec::training(PROJECT, name)
    }
}
