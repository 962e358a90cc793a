//! One typed configuration, read once, handed out in parts. Nothing else reads the environment.
//!
//! Values come from the environment, a `.env` file and one YAML file, in that order. Every mistake is reported in one
//! go, by name and line. The names are those of `.env.example`.

mod alerting;
mod approvals;
mod people;
mod reader;
mod source;
mod windows;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::alert::Severity;
use crate::alert::settings::SeverityRule;
use crate::alert::window::Window;
use crate::desk::{Person, Role};
use crate::detect::Thresholds;
use crate::http::oidc::is_loopback;
use crate::notify::links::LinkTemplate;
use crate::runbook::library::DEFAULT_FOLDER;
use crate::safety::approvers::Approvers;
use reader::Reader;
use source::{Value, YamlFile};

/// The YAML file that is read when it exists and no other is named.
pub const DEFAULT_FILE: &str = "nightbell.yaml";

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    pub http: Http,
    /// `sqlite://…` or `postgres://…`; may hold a password.
    pub database_url: SecretString,
    pub log: Log,
    pub runai: Option<Runai>,
    pub monitor: Monitor,
    pub kubernetes: Kubernetes,
    pub slack: Slack,
    pub pagerduty: PagerDuty,
    /// `U…`, `S…` or `local`; empty means nobody may approve.
    pub approvers: Vec<String>,
    /// Who is who, under whatever name they come.
    pub people: Vec<Person>,
    /// Who approves what `APPROVERS` is not for.
    pub approval_rules: Vec<crate::safety::rules::Rule>,
    pub gate: Gate,
    pub alerts: Alerts,
    pub thresholds: Thresholds,
    /// How often the logs of running GPU jobs are read for progress.
    pub progress_interval: Duration,
    /// Extra knowledge of failures, merged over what is built in.
    pub knowledge_file: Option<PathBuf>,
    pub deadman_url: Option<Url>,
    pub metrics: Option<Metrics>,
    /// Name → PromQL: the measures that runbooks name.
    pub metric_queries: BTreeMap<String, String>,
    /// Where runbooks of one's own are: `runbooks.folder`, or `runbooks` beside the file if that exists.
    pub runbook_folder: Option<PathBuf>,
    /// Settings that are given but that this version does not act on, as sentences.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Http {
    pub host: IpAddr,
    pub port: u16,
    pub jwt_secret: Option<SecretString>,
    pub oidc: Option<Oidc>,
    /// Where people reach the page, for links in messages.
    pub public_url: Option<Url>,
}

/// An identity provider whose tokens the API takes.
#[derive(Clone, Debug)]
pub struct Oidc {
    pub issuer: Url,
    pub audience: String,
    /// Claims that hold roles or groups; `roles` and `groups` when not given.
    pub claims: Option<Vec<String>>,
    /// A role or group of the provider → what it may here.
    pub roles: BTreeMap<String, Role>,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// A `tracing` filter: `info`, `debug`, `nightbell=trace`.
    pub level: String,
    pub debug: bool,
    pub folder: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Runai {
    pub base_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
}

/// Section `runai_proactive_monitor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// `["*"]` means all.
    pub projects: Vec<String>,
    pub poll_interval: Duration,
    pub auto_troubleshoot: bool,
    pub only_failed: bool,
    pub max_alerts_per_job: u64,
}

#[derive(Clone, Debug)]
pub struct Kubernetes {
    pub enabled: bool,
    pub kubeconfig: Option<PathBuf>,
    /// Empty means the current context.
    pub contexts: Vec<String>,
    /// Run:AI cluster id → kube context, where it cannot be told otherwise.
    pub runai_clusters: HashMap<String, String>,
}

/// Prometheus.
#[derive(Clone)]
pub struct Metrics {
    /// May carry a user and a password.
    pub endpoint: Url,
    /// How often what is watched by metrics is looked at.
    pub check_interval: Duration,
}

/// The address may hold a password, which is not shown.
impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Metrics")
            .field("host", &self.endpoint.host_str())
            .field("check_interval", &self.check_interval)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub struct Slack {
    pub bot_token: Option<SecretString>,
    pub app_token: Option<SecretString>,
    pub signing_secret: Option<SecretString>,
    /// Base of the Web API; ends in `/api/`.
    pub api_url: Url,
    pub channel: Option<String>,
    pub webhook_url: Option<SecretString>,
    /// Guests of the workspace and people of others in shared channels may read.
    pub guests_may_read: bool,
}

#[derive(Clone, Debug)]
pub struct PagerDuty {
    pub routing_key: Option<SecretString>,
    pub events_url: Url,
}

/// What limits actions.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    pub dry_run: bool,
    pub require_approval: bool,
    /// Actions that put this much or more at stake are asked about (see `safety::policy::risk`).
    pub require_approval_threshold: Severity,
    pub actions_per_hour: u64,
    pub actions_per_day: u64,
    pub restarts_per_service: u64,
    pub cooldown: Duration,
    pub concurrent_actions: u64,
    pub action_timeout: Duration,
    pub approval_expiry: Duration,
    /// How long the target of an action is observed before the result counts as not verified.
    pub verify_timeout: Duration,
    pub between_major: Duration,
    pub one_service_at_a_time: bool,
    pub one_region_at_a_time: bool,
    pub instances_percent: u64,
    pub cordons_per_cluster: u64,
    /// Actions in a row that may fail before everything stops; 0 for as many as there are.
    pub failures_until_stop: u64,
}

/// Section `alerts`.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// A job must be without symptoms this long before its alert is resolved.
    pub resolve_after: Duration,
    /// Messages of their own per channel and minute before a storm is told in one.
    pub messages_per_minute: u64,
    /// What is over is deleted after so many days. The audit is kept.
    pub retention_days: u64,
    /// Section `maintenance_windows`.
    pub windows: Vec<Window>,
    /// Section `severity_rules`, in the order in which they are tried.
    pub severities: Vec<SeverityRule>,
    /// Section `links`.
    pub links: Vec<LinkTemplate>,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting with its file and line, or the file.
    pub key: String,
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// All mistakes at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} mistake(s)", .0.len())]
pub struct Mistakes(pub Vec<Mistake>);

impl Config {
    /// Reads the configuration of this process: its environment, `.env` in the working folder, and `file`, or
    /// `nightbell.yaml` if that exists.
    ///
    /// # Errors
    /// All mistakes, when there is any.
    pub fn load(file: Option<&Path>) -> Result<Self, Mistakes> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut mistakes = Vec::new();
        let env_path = Path::new(".env");
        let env_file = if env_path.exists() {
            source::read_env_file(env_path, &mut mistakes)
        } else {
            BTreeMap::new()
        };
        let yaml = match file {
            Some(path) => source::read_yaml(path, &mut mistakes),
            None if Path::new(DEFAULT_FILE).exists() => {
                source::read_yaml(Path::new(DEFAULT_FILE), &mut mistakes)
            }
            None => YamlFile::default(),
        };
        let mut config = Self::read(&environment, &env_file, &yaml, mistakes)?;
        if config.runbook_folder.is_none() {
            let beside = file.and_then(Path::parent).unwrap_or(Path::new(""));
            let folder = beside.join(DEFAULT_FOLDER);
            config.runbook_folder = folder.is_dir().then_some(folder);
        }
        Ok(config)
    }

    /// Reads a configuration from given values instead of the process: for the demo and for tests.
    ///
    /// # Errors
    /// All mistakes, when there is any.
    pub fn from_values(
        environment: &BTreeMap<String, String>,
        yaml: &str,
    ) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let yaml = source::parse_yaml(DEFAULT_FILE, yaml, &mut mistakes);
        Self::read(environment, &BTreeMap::new(), &yaml, mistakes)
    }

    fn read(
        environment: &BTreeMap<String, String>,
        env_file: &BTreeMap<String, String>,
        yaml: &YamlFile,
        mistakes: Vec<Mistake>,
    ) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(environment, env_file, yaml, mistakes);
        let config = Self::take(&mut reader);
        let mistakes = reader.finish();
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(Mistakes(mistakes))
        }
    }

    /// The environment variables that mean something, sorted.
    pub fn variables() -> Vec<String> {
        let (environment, env_file, yaml) = (BTreeMap::new(), BTreeMap::new(), YamlFile::default());
        let mut reader = Reader::new(&environment, &env_file, &yaml, Vec::new());
        Self::take(&mut reader);
        reader.variables().into_iter().collect()
    }

    fn take(r: &mut Reader<'_>) -> Self {
        let slack = read_slack(r);
        let pagerduty = read_pagerduty(r);
        let mut notes = read_later(r);
        notes.extend(doubts(&slack, &pagerduty));
        let http = read_http(r);
        notes.extend(unreachable_page(&http));
        Self {
            http,
            database_url: read_database(r),
            log: read_log(r),
            runai: read_runai(r),
            monitor: read_monitor(r),
            kubernetes: read_kubernetes(r),
            slack,
            pagerduty,
            approvers: read_approvers(r),
            people: people::read_people(r),
            approval_rules: approvals::read(r),
            gate: read_gate(r),
            alerts: Alerts {
                resolve_after: r.seconds("alerts.resolve_after_seconds", 1..=86_400, 300),
                messages_per_minute: r.number("alerts.messages_per_minute", 1..=30, 3),
                retention_days: r.number("alerts.retention_days", 1..=3_650, 90),
                windows: windows::read_windows(r),
                severities: alerting::read_severities(r),
                links: alerting::read_links(r),
            },
            thresholds: read_thresholds(r),
            progress_interval: r.seconds("progress.interval_seconds", 1..=3_600, 60),
            knowledge_file: r.text("knowledge_file").map(PathBuf::from),
            deadman_url: r.url("DEADMAN_URL"),
            metrics: read_metrics(r),
            metric_queries: read_metric_queries(r),
            runbook_folder: read_runbook_folder(r),
            notes,
        }
    }
}

fn read_http(r: &mut Reader<'_>) -> Http {
    let host_origin = r.origin("API_HOST");
    let host = match r.text("API_HOST").as_deref() {
        None | Some("localhost") => IpAddr::from([127, 0, 0, 1]),
        Some(text) => text.trim_matches(['[', ']']).parse().unwrap_or_else(|_| {
            r.mistake(
                host_origin.unwrap_or_default(),
                "is not an IP address: use 127.0.0.1, ::1 or 0.0.0.0",
            );
            IpAddr::from([127, 0, 0, 1])
        }),
    };
    let jwt_origin = r.origin("JWT_SECRET");
    let jwt_secret = r.secret("JWT_SECRET");
    // RFC 7518 section 3.2: an HS256 key has at least 256 bits.
    if jwt_secret
        .as_ref()
        .is_some_and(|secret| secret.expose_secret().len() < 32)
    {
        r.mistake(
            jwt_origin.unwrap_or_default(),
            "is too short: HS256 needs at least 32 characters",
        );
    }
    Http {
        host,
        port: u16::try_from(r.number("API_PORT", 0..=65_535, 8000)).unwrap_or(8000),
        jwt_secret,
        oidc: read_oidc(r),
        public_url: r.url("public_url"),
    }
}

fn read_oidc(r: &mut Reader<'_>) -> Option<Oidc> {
    let names = ["OIDC_ISSUER", "OIDC_AUDIENCE"];
    let [issuer_origin, audience_origin] = names.map(|name| r.origin(name));
    let issuer = r.url(names[0]);
    let audience = r.text(names[1]);
    match (&issuer_origin, &audience_origin) {
        (Some(_), None) => r.mistake(
            names[1],
            "is not set, though OIDC_ISSUER is: without it tokens for other services would be taken",
        ),
        (None, Some(_)) => r.mistake(names[0], "is not set, though OIDC_AUDIENCE is"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if let (Some(url), Some(origin)) = (&issuer, issuer_origin)
        && url.scheme() != "https"
        && !is_loopback(url)
    {
        r.mistake(
            origin,
            "must begin with https://: whoever can change its answers could sign tokens",
        );
    }
    let claims = r.list("oidc.role_claims");
    let mut roles = BTreeMap::new();
    for (group, given) in r.section("oidc.roles") {
        let role = match &given.value {
            Value::Text(name) => name.parse().ok(),
            Value::List(_) => None,
        };
        match role {
            Some(role) => {
                roles.insert(group, role);
            }
            None => r.mistake(
                given.origin,
                "must be one of viewer, operator, approver, admin",
            ),
        }
    }
    Some(Oidc {
        issuer: issuer?,
        audience: audience?,
        claims,
        roles,
    })
}

fn read_database(r: &mut Reader<'_>) -> SecretString {
    let origin = r.origin("DATABASE_URL");
    let url = r
        .text("DATABASE_URL")
        .unwrap_or_else(|| "sqlite://nightbell.db".to_owned());
    if !["sqlite:", "postgres:", "postgresql:"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        r.mistake(
            origin.unwrap_or_default(),
            "must begin with sqlite:// or postgres://",
        );
    }
    url.into()
}

fn read_log(r: &mut Reader<'_>) -> Log {
    let debug = r.flag("DEBUG", false);
    let origin = r.origin("LOG_LEVEL");
    let level = r
        .text("LOG_LEVEL")
        .map_or_else(|| "info".to_owned(), |level| level.to_lowercase());
    let level = if level == "warning" {
        "warn".to_owned()
    } else {
        level
    };
    let plain = ["trace", "debug", "info", "warn", "error", "off"].contains(&level.as_str());
    if !plain && (!level.contains('=') || tracing_subscriber::EnvFilter::try_new(&level).is_err()) {
        r.mistake(
            origin.unwrap_or_default(),
            "is none of trace, debug, info, warn, error, nor a filter such as nightbell=debug",
        );
    }
    Log {
        level,
        debug,
        folder: r
            .text("LOG_DIR")
            .map_or_else(|| PathBuf::from("logs"), PathBuf::from),
    }
}

fn read_runai(r: &mut Reader<'_>) -> Option<Runai> {
    let names = ["RUNAI_BASE_URL", "RUNAI_CLIENT_ID", "RUNAI_CLIENT_SECRET"];
    let given = names.map(|name| r.origin(name).is_some());
    let base_url = r.url("RUNAI_BASE_URL");
    let client_id = r.text("RUNAI_CLIENT_ID");
    let client_secret = r.secret("RUNAI_CLIENT_SECRET");
    if given.contains(&true) {
        for (name, given) in names.iter().zip(given) {
            if !given {
                r.mistake(
                    *name,
                    "is not set, though other Run:AI settings are: all three are needed",
                );
            }
        }
    }
    Some(Runai {
        base_url: base_url?,
        client_id: client_id?,
        client_secret: client_secret?,
    })
}

fn read_monitor(r: &mut Reader<'_>) -> Monitor {
    let key = "runai_proactive_monitor.monitored_projects";
    let origin = r.origin(key);
    let projects = r.list(key).unwrap_or_else(|| vec!["*".to_owned()]);
    if projects.is_empty() {
        r.mistake(
            origin.clone().unwrap_or_default(),
            "is empty: use [\"*\"] for all projects",
        );
    }
    // Run:AI joins filter conditions by commas and offers no escape.
    if projects.iter().any(|project| project.contains(',')) {
        r.mistake(
            origin.unwrap_or_default(),
            "holds a project name with a comma, which Run:AI cannot filter by",
        );
    }
    Monitor {
        projects,
        poll_interval: r.seconds(
            "runai_proactive_monitor.poll_interval_seconds",
            1..=3_600,
            60,
        ),
        auto_troubleshoot: r.flag("runai_proactive_monitor.enable_auto_troubleshoot", true),
        only_failed: r.flag("runai_proactive_monitor.monitor_only_failed", false),
        max_alerts_per_job: r.number("runai_proactive_monitor.max_alerts_per_job", 1..=100, 1),
    }
}

fn read_kubernetes(r: &mut Reader<'_>) -> Kubernetes {
    let mut runai_clusters = HashMap::new();
    for (id, given) in r.section("runai_clusters") {
        match given.value {
            Value::Text(context) => {
                runai_clusters.insert(id, context);
            }
            Value::List(_) => r.mistake(given.origin, "must be the name of one kube context"),
        }
    }
    Kubernetes {
        enabled: r.flag("KUBE_ENABLED", true),
        kubeconfig: r.text("KUBECONFIG").map(PathBuf::from),
        contexts: r.list("KUBE_CONTEXTS").unwrap_or_default(),
        runai_clusters,
    }
}

fn read_metrics(r: &mut Reader<'_>) -> Option<Metrics> {
    let check_interval = r.seconds("CHECK_INTERVAL", 1..=3_600, 30);
    Some(Metrics {
        endpoint: r.url("METRICS_ENDPOINT")?,
        check_interval,
    })
}

fn read_metric_queries(r: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut queries = BTreeMap::new();
    for (name, given) in r.section("metrics") {
        match given.value {
            Value::Text(query) => {
                queries.insert(name, query);
            }
            Value::List(_) => r.mistake(given.origin, "must be one PromQL query"),
        }
    }
    queries
}

fn read_runbook_folder(r: &mut Reader<'_>) -> Option<PathBuf> {
    let origin = r.origin("runbooks.folder");
    match r.text("runbooks.folder").map(PathBuf::from) {
        Some(folder) => {
            if !folder.is_dir() {
                r.mistake(origin.unwrap_or_default(), "is no folder");
            }
            Some(folder)
        }
        None => None,
    }
}

fn read_slack(r: &mut Reader<'_>) -> Slack {
    let default_api = Url::parse("https://slack.com/api/").expect("a literal URL parses");
    let mut api_url = r.url("SLACK_API_URL").unwrap_or(default_api);
    if !api_url.path().ends_with('/') {
        api_url.set_path(&format!("{}/", api_url.path()));
    }
    let bot_token = r.token("SLACK_BOT_TOKEN", &["xoxb-", "xoxe.xoxb-"], "a bot token");
    let app_token = r.token("SLACK_APP_TOKEN", &["xapp-"], "an app-level token");
    let signing_secret = r.secret("SLACK_SIGNING_SECRET");
    let channel_origin = r.origin("SLACK_CHANNEL");
    let channel = r.text("SLACK_CHANNEL");
    if channel
        .as_ref()
        .is_some_and(|id| id.starts_with('<') || id.contains(char::is_whitespace))
    {
        r.mistake(
            channel_origin.unwrap_or_default(),
            "is not a channel id such as C0123456789",
        );
    }
    let webhook = [
        "SLACK_WEBHOOK_URL",
        "runai_proactive_monitor.slack_webhook_url",
    ]
    .into_iter()
    .find_map(|name| r.url(name))
    .map(|url| SecretString::from(url.to_string()));
    for (name, other) in [
        ("SLACK_APP_TOKEN", app_token.is_some()),
        ("SLACK_SIGNING_SECRET", signing_secret.is_some()),
    ] {
        if other && r.origin("SLACK_BOT_TOKEN").is_none() {
            r.mistake(
                name,
                "is set without SLACK_BOT_TOKEN: nothing could be answered",
            );
        }
    }
    Slack {
        bot_token,
        app_token,
        signing_secret,
        api_url,
        channel,
        webhook_url: webhook,
        guests_may_read: r.flag("slack.guests_may_read", false),
    }
}

fn read_pagerduty(r: &mut Reader<'_>) -> PagerDuty {
    let default_events = Url::parse("https://events.pagerduty.com").expect("a literal URL parses");
    let routing_key = r.secret("PAGERDUTY_ROUTING_KEY");
    PagerDuty {
        routing_key,
        events_url: r.url("PAGERDUTY_EVENTS_URL").unwrap_or(default_events),
    }
}

fn read_approvers(r: &mut Reader<'_>) -> Vec<String> {
    let origin = r.origin("APPROVERS");
    let approvers = r.list("APPROVERS").unwrap_or_default();
    for id in &approvers {
        if let Err(invalid) = id.parse::<Approvers>() {
            r.mistake(origin.clone().unwrap_or_default(), invalid.to_string());
        }
    }
    approvers
}

fn read_gate(r: &mut Reader<'_>) -> Gate {
    let origin = r.origin("REQUIRE_APPROVAL_THRESHOLD");
    let require_approval_threshold = match r.text("REQUIRE_APPROVAL_THRESHOLD").as_deref() {
        None | Some("medium") => Severity::Medium,
        Some("low") => Severity::Low,
        Some("high") => Severity::High,
        Some("critical") => Severity::Critical,
        Some(_) => {
            r.mistake(
                origin.unwrap_or_default(),
                "is none of low, medium, high, critical",
            );
            Severity::Medium
        }
    };
    Gate {
        dry_run: r.flag("DRY_RUN", true),
        require_approval: r.flag("REQUIRE_APPROVAL", false),
        require_approval_threshold,
        actions_per_hour: r.number("MAX_ACTIONS_PER_HOUR", 0..=10_000, 10),
        actions_per_day: r.number("MAX_ACTIONS_PER_DAY", 0..=100_000, 50),
        restarts_per_service: r.number("MAX_SERVICE_RESTARTS", 0..=1_000, 3),
        cooldown: r.seconds("COOLDOWN_SECONDS", 0..=86_400, 300),
        concurrent_actions: r.number("MAX_CONCURRENT_ACTIONS", 1..=100, 5),
        action_timeout: r.seconds("ACTION_TIMEOUT_SECONDS", 1..=3_600, 300),
        approval_expiry: r.seconds("approvals.expire_after_seconds", 60..=604_800, 4 * 3_600),
        verify_timeout: r.seconds("approvals.verify_within_seconds", 1..=7_200, 600),
        between_major: r.seconds("limits.between_major_seconds", 0..=86_400, 300),
        one_service_at_a_time: r.flag("limits.one_service_at_a_time", true),
        one_region_at_a_time: r.flag("limits.one_region_at_a_time", true),
        instances_percent: r.number("limits.instances_percent", 0..=100, 20),
        cordons_per_cluster: r.number("limits.cordons_per_cluster", 0..=1_000, 3),
        failures_until_stop: r.number("limits.failures_until_stop", 0..=1_000, 3),
    }
}

fn read_thresholds(r: &mut Reader<'_>) -> Thresholds {
    let default = Thresholds::default();
    let mut seconds =
        |name: &str, default: u64| r.number(&format!("thresholds.{name}"), 0..=604_800, default);
    Thresholds {
        pending_seconds: seconds("pending_seconds", default.pending_seconds),
        quota_seconds: seconds("quota_seconds", default.quota_seconds),
        starting_seconds: seconds("starting_seconds", default.starting_seconds),
        terminating_seconds: seconds("terminating_seconds", default.terminating_seconds),
        restarting_seconds: seconds("restarting_seconds", default.restarting_seconds),
        settle_seconds: seconds("settle_seconds", default.settle_seconds),
        node_seconds: seconds("node_seconds", default.node_seconds),
        hang_seconds: seconds("hang_seconds", default.hang_seconds),
        silence_seconds: seconds("silence_seconds", default.silence_seconds),
        idle_gpu_seconds: seconds("idle_gpu_seconds", default.idle_gpu_seconds),
        held_gpu_seconds: seconds("held_gpu_seconds", default.held_gpu_seconds),
        checkpoint_seconds: seconds("checkpoint_seconds", default.checkpoint_seconds),
    }
}

/// What can be run with, but hardly as it was meant.
fn doubts(slack: &Slack, pagerduty: &PagerDuty) -> Vec<String> {
    /// Integration keys of Events API v2 have so many characters.
    const ROUTING_KEY: usize = 32;
    let mut doubts = Vec::new();
    if slack.bot_token.is_some() && slack.channel.is_none() {
        let instead = if slack.webhook_url.is_some() {
            "to SLACK_WEBHOOK_URL, without buttons"
        } else {
            "to the built-in console only"
        };
        doubts.push(format!(
            "SLACK_CHANNEL is not set: questions are answered in Slack, but alerts go {instead}"
        ));
    }
    if pagerduty
        .routing_key
        .as_ref()
        .is_some_and(|key| key.expose_secret().len() != ROUTING_KEY)
    {
        doubts.push(format!(
            "PAGERDUTY_ROUTING_KEY does not have the {ROUTING_KEY} characters of an Events API v2 integration key: \
             PagerDuty may refuse it"
        ));
    }
    doubts
}

/// Links that nobody could follow: a public address needs a proxy, and whoever comes through one needs a token.
fn unreachable_page(http: &Http) -> Option<String> {
    let url = http.public_url.as_ref().filter(|url| !is_loopback(url))?;
    (http.jwt_secret.is_none() && http.oidc.is_none()).then(|| {
        format!(
            "public_url leads to {}, but without JWT_SECRET or OIDC_ISSUER only this machine is answered: links in \
             messages will be refused",
            url.host_str().unwrap_or_default()
        )
    })
}

/// Settings that exist but that this version does not act on: said, never swallowed.
fn read_later(r: &mut Reader<'_>) -> Vec<String> {
    const LATER: [(&[&str], &str); 10] = [
        (
            &[
                "PAGERDUTY_API_KEY",
                "PAGERDUTY_WEBHOOK_SECRET",
                "PAGERDUTY_FROM",
                "PAGERDUTY_API_URL",
            ],
            "PagerDuty's REST API and webhooks",
        ),
        (&["LOG_PATHS", "LOG_POLL_INTERVAL_SECONDS"], "log files"),
        (
            &[
                "ELASTICSEARCH_URLS",
                "ELASTICSEARCH_USERNAME",
                "ELASTICSEARCH_PASSWORD",
                "ELASTICSEARCH_API_KEY",
            ],
            "Elasticsearch",
        ),
        (
            &[
                "SPLUNK_HOST",
                "SPLUNK_PORT",
                "SPLUNK_USERNAME",
                "SPLUNK_PASSWORD",
                "SPLUNK_TOKEN",
            ],
            "Splunk",
        ),
        (
            &["AIRFLOW_URL", "AIRFLOW_USERNAME", "AIRFLOW_PASSWORD"],
            "Airflow",
        ),
        (&["DOCKER_HOST"], "Docker"),
        (&["REDIS_URL", "MEMCACHED_ADDR"], "caches"),
        (
            &["POSTGRES_TARGET_URL"],
            "PostgreSQL as a target of actions",
        ),
        (
            &[
                "AI_ENABLED",
                "CONFIDENCE_THRESHOLD",
                "AI_DECISION_LOOP_INTERVAL_SECONDS",
            ],
            "learning which action to take",
        ),
        (
            &["OPENAI_API_KEY", "OPENAI_BASE_URL", "MODEL_NAME"],
            "a language model",
        ),
    ];
    let mut notes = Vec::new();
    for (names, what) in LATER {
        let given: Vec<String> = names.iter().filter_map(|name| r.origin(name)).collect();
        if !given.is_empty() {
            let verb = if given.len() == 1 { "is" } else { "are" };
            notes.push(format!(
                "{} {verb} set, but this version does not use {what} yet",
                given.join(", ")
            ));
        }
    }
    // Wrong values are still mistakes, so that they do not surface with the version that uses them.
    r.flag("AI_ENABLED", true);
    r.fraction("CONFIDENCE_THRESHOLD", 0.75);
    r.number("AI_DECISION_LOOP_INTERVAL_SECONDS", 1..=3_600, 2);
    r.number("LOG_POLL_INTERVAL_SECONDS", 1..=3_600, 5);
    r.number("SPLUNK_PORT", 1..=65_535, 8089);
    for url in ["PAGERDUTY_API_URL", "AIRFLOW_URL", "OPENAI_BASE_URL"] {
        r.url(url);
    }
    notes
}

#[cfg(test)]
mod tests;
