//! Wiring: clients, store, desk, sources, workers and HTTP become one running bot. No rule of the product lives here.

pub mod alone;
pub mod connect;
pub mod demo;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::action::executor::{Executor, Report, Reporter};
use crate::alert;
use crate::alert::lifecycle::Event;
use crate::alert::service::{AlertError, Alerts};
use crate::chat::slack::deliver::Deliverer;
use crate::chat::slack::{self, Inbox, People, socket};
use crate::config::Config;
use crate::decide::worker::Diagnoser;
use crate::desk::{self, Desk, Handler, Roster};
use crate::diagnose;
use crate::diagnose::collect::Collector;
use crate::diagnose::knowledge::Knowledge;
use crate::estate::SharedEstate;
use crate::estate::index::Estate;
use crate::http;
use crate::notify::page::Pager;
use crate::notify::pagerduty::{self, PagerDuty};
use crate::notify::replica::Replica;
use crate::notify::slack::SlackDelivery;
use crate::notify::view::Views;
use crate::notify::{self, Destination};
use crate::safety::Safety;
use crate::store::{Store, new_id};
use crate::supervisor::{Stop, Supervisor};
use crate::telemetry::STARTUP;
use crate::watch::control::{MonitoringControl, Projects};
use crate::watch::pipeline::Pipeline;
use crate::watch::progress::Sampler;
use crate::watch::sources::Sources;
use crate::watch::{self, deadman, kubernetes, runai};
use connect::Connected;

/// Observations in flight between the sources and the pipeline: beyond that the sources wait.
const OBSERVATIONS: usize = 4_096;
/// How often what is done and old is deleted.
const PRUNE_EVERY: Duration = Duration::from_hours(1);
/// Alerts, groups and jobs deleted in one transaction.
const PRUNED_AT_ONCE: i64 = 200;
/// Done effects and handled deliveries are kept a day, for people who look into something.
const KEEP_DONE: SignedDuration = SignedDuration::from_hours(24);
/// A webhook's message cannot be edited: it waits so long for its diagnosis, which seldom takes more than a few seconds.
const AWAIT_DIAGNOSIS: SignedDuration = SignedDuration::from_secs(10);
/// For one call of PagerDuty's Events API.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often Slack is asked who we are until it answers.
const IDENTITY_RETRY: Duration = Duration::from_secs(30);

/// Runs the bot on `listener` until `stop`.
///
/// # Errors
/// When the database cannot be opened, a client cannot be built, or a task ended though nobody asked it to.
pub async fn run(
    config: Config,
    demo: bool,
    listener: TcpListener,
    stop: Stop,
) -> anyhow::Result<()> {
    let began = Timestamp::now();
    for note in &config.notes {
        warn!(target: STARTUP, "{note}");
    }
    let store = Store::open(config.database_url.expose_secret())
        .await
        .context("cannot open the database")?;
    let connected = Connected::from_config(&config).await?;
    for absent in &connected.absent {
        info!(target: STARTUP, "{absent}");
    }
    let bot = Bot::build(&config, store, connected, demo).await?;
    let mut supervisor = Supervisor::new();
    // Before any worker claims anything.
    let replica = Replica::join(bot.store.clone(), &bot.owner, began)
        .await
        .context("cannot join the processes that share the database")?;
    let shutdown = supervisor.shutdown();
    supervisor.spawn("replica", async move {
        replica.run(shutdown).await;
        Ok(())
    });
    bot.spawn(&config, listener, &mut supervisor)?;
    info!(target: STARTUP, ready_ms = Timestamp::now().duration_since(began).as_millis(), "nightbell is ready");
    let outcome = supervisor.run(stop).await;
    // What this process still held is free for the next one.
    if let Err(error) = bot.store.bury_replica(&bot.owner).await {
        warn!(%error, "cannot give back what is in hand; its leases run out");
    }
    bot.store.close().await;
    outcome.context("a part of nightbell failed")
}

/// The parts that tasks share.
struct Bot {
    demo: bool,
    started: Timestamp,
    owner: String,
    store: Store,
    connected: Connected,
    estate: SharedEstate,
    sources: Sources,
    monitoring: MonitoringControl,
    alerts: Alerts,
    safety: Safety,
    collector: Collector,
    knowledge: Arc<Knowledge>,
    views: Views,
    desk: Handler,
}

impl Bot {
    async fn build(
        config: &Config,
        store: Store,
        connected: Connected,
        demo: bool,
    ) -> anyhow::Result<Self> {
        let now = Timestamp::now();
        let contexts = connected
            .clusters
            .names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let estate: SharedEstate = Arc::new(RwLock::new(Estate::new(
            contexts,
            config.kubernetes.runai_clusters.clone(),
        )));
        let monitoring = MonitoringControl::open(
            store.clone(),
            Projects::from_names(&config.monitor.projects),
            now,
        )
        .await?;
        let sources = Sources::default();
        let plain = Alerts::new(store.clone(), alert_settings(config, demo));
        let mut safety = Safety::new(store.clone(), connect::safety_settings(config, demo)?)
            .with_alerts(plain.clone())
            .with_estate(Arc::clone(&estate))
            .with_roster(Roster::load(&config.people, store.clone()).await?);
        if let Some(client) = connected
            .slack
            .clone()
            .filter(|_| config.slack.bot_token.is_some())
        {
            safety = safety.with_groups(Arc::new(move |group| {
                let client = client.clone();
                Box::pin(async move {
                    client
                        .user_group_members(&group)
                        .await
                        .ok()
                        .map(|members| members.to_vec())
                })
            }));
        }
        // Each tells the other: a decision shows on its alert, and the end of an alert withdraws its question.
        let alerts = plain.withdrawing(safety.clone());
        let knowledge = Arc::new(knowledge(config)?);
        let collector = Collector::new(
            connected.runai.clone(),
            connected.clusters.clone(),
            Arc::clone(&estate),
            crate::diagnose::collect::Settings {
                patience: config.thresholds.clone(),
                ..crate::diagnose::collect::Settings::default()
            },
        )
        .with_metrics(connected.metrics.clone());
        let views = Views::new(store.clone(), page_url(config)).leading_to(&config.alerts.links);
        let handler = Desk {
            store: store.clone(),
            estate: Arc::clone(&estate),
            monitoring: monitoring.clone(),
            sources: sources.clone(),
            alerts: alerts.clone(),
            safety: safety.clone(),
            systems: connected.systems(),
            views: views.clone(),
            collect: collect(collector.clone()),
            analyze: analyze_with(Arc::clone(&knowledge)),
            settings: Arc::new(desk_settings(config, &connected, &alerts, demo)),
        }
        .handler();
        Ok(Self {
            demo,
            started: now,
            owner: new_id(),
            store,
            connected,
            estate,
            sources,
            monitoring,
            alerts,
            safety,
            collector,
            knowledge,
            views,
            desk: handler,
        })
    }

    fn spawn(
        &self,
        config: &Config,
        listener: TcpListener,
        supervisor: &mut Supervisor,
    ) -> anyhow::Result<()> {
        let (ready, is_ready) = tokio::sync::watch::channel(false);
        self.spawn_sources(config, supervisor);
        self.spawn_decisions(config, supervisor);
        let slack_routes = self.spawn_chat(config, supervisor);
        self.spawn_paging(config, supervisor)?;
        self.spawn_upkeep(config, supervisor);

        let shared = http::Shared {
            store: self.store.clone(),
            desk: Arc::clone(&self.desk),
            estate: Arc::clone(&self.estate),
            sources: self.sources.clone(),
            monitoring: self.monitoring.clone(),
            safety: self.safety.clone(),
            views: self.views.clone(),
            registry: Arc::new(Registry::default()),
            access: connect::access(config),
            demo: self.demo,
            started: self.started,
            ready: is_ready,
            shutdown: supervisor.shutdown(),
            pulses: http::Pulses::default(),
        };
        let router = http::router(shared).merge(slack_routes);
        let stop = supervisor.shutdown();
        supervisor.spawn("http", async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await?;
            Ok(())
        });
        ready.send_replace(true);
        // Readiness lasts as long as the supervisor's tasks: the sender lives with one of them.
        let stop = supervisor.shutdown();
        supervisor.spawn("readiness", async move {
            stop.cancelled().await;
            ready.send_replace(false);
            Ok(())
        });
        Ok(())
    }

    /// The sources, and the pipeline that they feed.
    /// The Run:AI workloads that open alerts tell of, as far as they are monitored.
    fn alerted_workloads(&self) -> runai::poller::Followed {
        let (alerts, monitoring) = (self.alerts.clone(), self.monitoring.clone());
        runai::poller::Followed::new(move || {
            let (alerts, monitoring) = (alerts.clone(), monitoring.clone());
            Box::pin(async move {
                let open = alerts.open().await.map_err(|error| error.to_string())?;
                let now = Timestamp::now();
                Ok(open
                    .into_iter()
                    .map(|alert| alert.subject)
                    .filter(|subject| {
                        monitoring.admits(subject.project.as_deref(), &subject.namespace, now)
                    })
                    .filter_map(|subject| subject.runai_id)
                    .collect())
            })
        })
    }

    fn spawn_sources(&self, config: &Config, supervisor: &mut Supervisor) {
        let (out, observations) = mpsc::channel(OBSERVATIONS);
        let pipeline = Pipeline::new(
            Arc::clone(&self.estate),
            self.alerts.clone(),
            self.store.clone(),
            self.monitoring.clone(),
            self.sources.clone(),
            config.thresholds.clone(),
        )
        .of_failing_only(self.connected.runai.is_some() && config.monitor.only_failed);
        let stop = supervisor.shutdown();
        supervisor.spawn("pipeline", async move {
            pipeline.run(observations, stop).await;
            Ok(())
        });
        if let Some(client) = self.connected.runai.clone() {
            let settings = runai::poller::Settings {
                interval: config.monitor.poll_interval,
                projects: Projects::from_names(&config.monitor.projects),
                only_failed: config.monitor.only_failed,
                followed: Some(self.alerted_workloads()),
                ..runai::poller::Settings::default()
            };
            let (monitoring, sources, out, stop) = (
                self.monitoring.subscribe(),
                self.sources.clone(),
                out.clone(),
                supervisor.shutdown(),
            );
            supervisor.spawn("runai", async move {
                runai::poller::run(client, settings, monitoring, sources, out, stop).await;
                Ok(())
            });
        }
        for cluster in self.connected.clusters.iter().cloned() {
            let (out, stop) = (out.clone(), supervisor.shutdown());
            let settings = kubernetes::watcher::Settings::default();
            self.sources.expect(
                &format!("kubernetes/{}", cluster.name()),
                settings.beat_every,
                Timestamp::now(),
            );
            supervisor.spawn("kubernetes", async move {
                match stop
                    .run_until_cancelled(kubernetes::watcher::run(cluster, settings, out))
                    .await
                {
                    Some(ended) => Ok(ended?),
                    None => Ok(()),
                }
            });
        }
        if !self.connected.clusters.names().is_empty() {
            let sampler = Sampler {
                clusters: self.connected.clusters.clone(),
                estate: Arc::clone(&self.estate),
                monitoring: self.monitoring.clone(),
                sources: self.sources.clone(),
                thresholds: config.thresholds.clone(),
                gpus: self.connected.metrics.clone().map(watch::gpus::ask),
                settings: watch::progress::Settings {
                    every: config.progress_interval,
                    ..watch::progress::Settings::default()
                },
            };
            let (out, stop) = (out.clone(), supervisor.shutdown());
            supervisor.spawn("progress", async move {
                sampler.run(out, stop).await;
                Ok(())
            });
        }
        // With no source at all the pipeline still judges by time; it must not see a closed channel as its end.
        let stop = supervisor.shutdown();
        supervisor.spawn("observations", async move {
            stop.cancelled().await;
            drop(out);
            Ok(())
        });
        let (monitoring, stop) = (self.monitoring.clone(), supervisor.shutdown());
        supervisor.spawn("monitoring", async move {
            monitoring.run(stop).await;
            Ok(())
        });
        if let Some(url) = config.deadman_url.clone() {
            let (sources, stop) = (self.sources.clone(), supervisor.shutdown());
            supervisor.spawn("deadman", async move {
                let healthy = move || sources.healthy(Timestamp::now());
                deadman::run(deadman::Settings::new(url), healthy, stop).await;
                Ok(())
            });
        }
    }

    /// Diagnosing, and carrying out what was permitted.
    fn spawn_decisions(&self, config: &Config, supervisor: &mut Supervisor) {
        let diagnoser = Diagnoser {
            store: self.store.clone(),
            alerts: self.alerts.clone(),
            safety: self.safety.clone(),
            collector: self.collector.clone(),
            knowledge: Arc::clone(&self.knowledge),
            estate: Arc::clone(&self.estate),
            owner: format!("{}/diagnose", self.owner),
            started: self.started,
        };
        let stop = supervisor.shutdown();
        supervisor.spawn("diagnose", async move {
            diagnoser.run(stop).await;
            Ok(())
        });
        let systems = self.connected.systems();
        let executor = Executor::new(
            self.safety.clone(),
            self.store.clone(),
            systems,
            connect::executor_settings(config, self.demo),
            reporter(self.alerts.clone()),
        )
        .in_process(&self.owner);
        let stop = supervisor.shutdown();
        supervisor.spawn("actions", async move {
            executor.run(stop).await;
            Ok(())
        });
    }

    /// Slack both ways. Returns the routes that Slack calls, none unless there is a signing secret.
    fn spawn_chat(&self, config: &Config, supervisor: &mut Supervisor) -> axum::Router {
        let Some(client) = self.connected.slack.clone() else {
            return axum::Router::new();
        };
        let delivery = SlackDelivery::new(
            self.store.clone(),
            client.clone(),
            self.views.clone(),
            notify::slack::Settings {
                default_channel: config.slack.channel.clone(),
                await_diagnosis: if config.monitor.auto_troubleshoot {
                    AWAIT_DIAGNOSIS
                } else {
                    SignedDuration::ZERO
                },
                ..notify::slack::Settings::default()
            },
            &self.owner,
        );
        let (messages, stop) = (delivery.clone(), supervisor.shutdown());
        supervisor.spawn("slack messages", async move {
            messages.run_messages(stop).await;
            Ok(())
        });
        let (pictures, stop) = (delivery.clone(), supervisor.shutdown());
        supervisor.spawn("slack pictures", async move {
            pictures.run_pictures(stop).await;
            Ok(())
        });
        let stop = supervisor.shutdown();
        supervisor.spawn("slack notes", async move {
            delivery.run_notes(stop).await;
            Ok(())
        });
        if config.slack.bot_token.is_none() {
            return axum::Router::new();
        }
        let safety = self.safety.clone();
        let people = People::new(
            client.clone(),
            config.slack.guests_may_read,
            Arc::new(move |team| safety.set_home_team(team)),
        )
        .telling(self.safety.roster().clone());
        let (asked, stop) = (people.clone(), supervisor.shutdown());
        supervisor.spawn("slack identity", async move {
            learn_team(&asked, &stop).await;
            stop.cancelled().await;
            Ok(())
        });
        if config.slack.app_token.is_none() && config.slack.signing_secret.is_none() {
            return axum::Router::new();
        }
        let (inbox, writer) = Inbox::new(self.store.clone());
        let stop = supervisor.shutdown();
        supervisor.spawn("slack inbox", async move {
            writer.run(stop).await;
            Ok(())
        });
        let deliverer = Deliverer {
            store: self.store.clone(),
            client: client.clone(),
            inbox: inbox.clone(),
            desk: Arc::clone(&self.desk),
            people,
            owner: format!("{}/deliver", self.owner),
        };
        let stop = supervisor.shutdown();
        supervisor.spawn("slack answers", async move {
            deliverer.run(stop).await;
            Ok(())
        });
        if config.slack.app_token.is_some() {
            let (inbox, stop) = (inbox.clone(), supervisor.shutdown());
            supervisor.spawn("slack sockets", async move {
                socket::run(client, inbox, socket::Settings::default(), stop).await;
                Ok(())
            });
        }
        match &config.slack.signing_secret {
            Some(secret) => slack::http::router(inbox, secret),
            None => axum::Router::new(),
        }
    }

    fn spawn_paging(&self, config: &Config, supervisor: &mut Supervisor) -> anyhow::Result<()> {
        let Some(routing_key) = config.pagerduty.routing_key.clone() else {
            return Ok(());
        };
        let client = PagerDuty::new(pagerduty::Settings {
            events_url: config.pagerduty.events_url.clone(),
            routing_key,
            page: page_url(config),
            timeout: PAGE_TIMEOUT,
        })?;
        let pager = Pager::new(
            self.store.clone(),
            client,
            self.views.clone(),
            self.alerts.settings(),
            &self.owner,
        );
        let stop = supervisor.shutdown();
        supervisor.spawn("pagerduty", async move {
            pager.run(stop).await;
            Ok(())
        });
        Ok(())
    }

    fn spawn_upkeep(&self, config: &Config, supervisor: &mut Supervisor) {
        let (store, stop) = (self.store.clone(), supervisor.shutdown());
        let days = i64::try_from(config.alerts.retention_days).unwrap_or(i64::MAX);
        let keep_history = SignedDuration::from_hours(days.saturating_mul(24));
        supervisor.spawn("upkeep", async move {
            upkeep(&store, keep_history, &stop).await;
            Ok(())
        });
    }
}

/// What became of actions and approvals goes to the alert they were for.
fn reporter(alerts: Alerts) -> Reporter {
    Arc::new(move |report| {
        let alerts = alerts.clone();
        Box::pin(async move {
            let now = Timestamp::now();
            let told = match report {
                Report::Execution {
                    execution, text, ..
                } => {
                    let Some(alert_id) = execution.alert_id.clone() else {
                        return Ok(());
                    };
                    alerts
                        .note_action(&alert_id, &text, execution.state.is_active(), now)
                        .await
                }
                Report::Expired { approval, text } => {
                    let Some(alert_id) = approval.alert_id.clone() else {
                        return Ok(());
                    };
                    let event = Event::ApprovalDecided {
                        text,
                        by: None,
                        approved: false,
                    };
                    alerts.happen(&alert_id, event, now).await
                }
            };
            match told {
                Ok(_) => Ok(()),
                Err(AlertError::Store(error)) => Err(error),
                Err(error @ AlertError::NotFound(_)) => {
                    warn!(%error, "cannot note what became of an action on its alert");
                    Ok(())
                }
            }
        })
    })
}

/// Asks Slack which workspace is ours, so that it is known before the first question comes.
async fn learn_team(people: &People, stop: &CancellationToken) {
    loop {
        match people.home().await {
            Ok(team) => {
                info!(target: STARTUP, team, "connected to Slack");
                return;
            }
            Err(error) => warn!(%error, "Slack does not say who we are; asking again"),
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(IDENTITY_RETRY))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn upkeep(store: &Store, keep_history: SignedDuration, stop: &CancellationToken) {
    let mut ticks = interval(PRUNE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = Timestamp::now();
        let before = now.checked_sub(KEEP_DONE).unwrap_or(now);
        if let Err(error) = store.prune_effects(before).await {
            warn!(%error, "cannot delete old effects");
        }
        if let Err(error) = store.prune_inbox(before, now).await {
            warn!(%error, "cannot delete old deliveries");
        }
        let before = now.checked_sub(keep_history).unwrap_or(Timestamp::MIN);
        // In batches, so that nobody waits long for the one writer of SQLite.
        loop {
            match store.prune_history(before, PRUNED_AT_ONCE).await {
                Ok(0) => break,
                Ok(rows) => info!(rows, "deleted alerts and jobs that ended long ago"),
                Err(error) => {
                    warn!(%error, "cannot delete old alerts");
                    break;
                }
            }
            if stop.is_cancelled() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn alert_settings(config: &Config, demo: bool) -> alert::settings::Settings {
    let defaults = alert::settings::Settings::default();
    let mut destinations = vec![Destination::Console];
    if let (Some(_), Some(channel)) = (&config.slack.bot_token, &config.slack.channel) {
        destinations.push(Destination::Slack {
            channel: channel.clone(),
        });
    } else if config.slack.webhook_url.is_some() {
        destinations.push(Destination::SlackWebhook);
    }
    if config.pagerduty.routing_key.is_some() {
        destinations.push(Destination::PagerDuty);
    }
    let own_messages = usize::try_from(config.alerts.messages_per_minute).unwrap_or(3);
    alert::settings::Settings {
        max_alerts_per_job: config.monitor.max_alerts_per_job,
        resolve_after: SignedDuration::try_from(config.alerts.resolve_after)
            .unwrap_or(defaults.resolve_after),
        destinations,
        grouping: alert::settings::GroupingSettings {
            own_messages,
            ..defaults.grouping
        },
        windows: config.alerts.windows.clone(),
        severities: config.alerts.severities.clone(),
        demo,
        auto_troubleshoot: config.monitor.auto_troubleshoot,
        ..defaults
    }
}

/// What is known of failures: built in, with the local file merged over it.
fn knowledge(config: &Config) -> anyhow::Result<Knowledge> {
    match &config.knowledge_file {
        Some(path) => Knowledge::load(path).context("cannot read the knowledge of failures"),
        None => Ok(Knowledge::embedded()),
    }
}

/// How the desk has evidence collected.
pub fn collect(collector: Collector) -> desk::Collect {
    Arc::new(move |key, now| {
        let collector = collector.clone();
        Box::pin(async move { collector.collect(&key, now).await })
    })
}

/// How the desk has evidence weighed.
pub fn analyze_with(knowledge: Arc<Knowledge>) -> desk::Analyze {
    Arc::new(move |evidence| diagnose::analyze(evidence, &knowledge))
}

fn desk_settings(
    config: &Config,
    connected: &Connected,
    alerts: &Alerts,
    demo: bool,
) -> desk::Settings {
    desk::Settings {
        demo,
        not_configured: connected.absent.clone(),
        poll_interval_seconds: config.monitor.poll_interval.as_secs(),
        monitor_only_failed: config.monitor.only_failed,
        destinations: alerts.settings().destinations.iter().map(told_to).collect(),
        thresholds: config.thresholds.clone(),
    }
}

/// A destination as people call it.
fn told_to(destination: &Destination) -> String {
    match destination {
        Destination::Slack { channel } => format!("Slack channel {channel}"),
        Destination::SlackWebhook => "a Slack webhook".to_owned(),
        Destination::PagerDuty => "PagerDuty (high and critical)".to_owned(),
        Destination::Console => "the built-in console".to_owned(),
    }
}

/// Where the links in messages lead: the given address, else this machine's.
fn page_url(config: &Config) -> Option<url::Url> {
    config.http.public_url.clone().or_else(|| {
        let host = SocketAddr::new(config.http.host, config.http.port);
        config
            .http
            .host
            .is_loopback()
            .then(|| format!("http://{host}/").parse().ok())
            .flatten()
    })
}

/// Reads the estate even if a writer panicked: what it holds can be read again anyway.
pub fn read_estate(estate: &SharedEstate) -> std::sync::RwLockReadGuard<'_, Estate> {
    estate.read().unwrap_or_else(PoisonError::into_inner)
}
