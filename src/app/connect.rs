//! From the configuration to clients and to each room's settings.

use std::str::FromStr;

use anyhow::Context;
use jiff::SignedDuration;

use crate::action::{Systems, executor};
use crate::chat::slack::{self, SlackClient};
use crate::config::Config;
use crate::http::access::Access;
use crate::http::oidc::{self, Oidc};
use crate::safety;
use crate::safety::approvers::Approvers;
use crate::safety::limits::Limits;
use crate::safety::policy::Policy;
use crate::watch::kubernetes::client::Clusters;
use crate::watch::kubernetes::connect as kubernetes;
use crate::watch::metrics::{self, Prometheus};
use crate::watch::runai::{self, RunaiClient};

/// Clients of whatever is configured, and sentences about what is not.
#[derive(Clone)]
pub struct Connected {
    pub runai: Option<RunaiClient>,
    pub clusters: Clusters,
    pub slack: Option<SlackClient>,
    pub metrics: Option<Prometheus>,
    pub absent: Vec<String>,
}

impl Connected {
    /// Builds the clients; no server is spoken to.
    ///
    /// # Errors
    /// When a client cannot be built: a kubeconfig that cannot be read, a context that does not exist.
    pub async fn from_config(config: &Config) -> anyhow::Result<Self> {
        let mut absent = Vec::new();
        let runai = config.runai.as_ref().map(|runai| {
            let secret = runai.client_secret.clone();
            RunaiClient::new(runai::Settings::new(
                runai.base_url.clone(),
                runai.client_id.clone(),
                secret,
            ))
        });
        if runai.is_none() {
            absent.push("Run:AI is not configured: set RUNAI_BASE_URL, RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET".to_owned());
        }
        let clusters = Clusters::connect(&kubernetes::Settings {
            kubeconfig: config.kubernetes.kubeconfig.clone(),
            contexts: config.kubernetes.contexts.clone(),
            enabled: config.kubernetes.enabled,
            in_cluster: true,
        })
        .await
        .context("cannot use the Kubernetes configuration")?;
        if clusters.names().is_empty() {
            absent.push(if config.kubernetes.enabled {
                "no Kubernetes cluster is configured: set KUBECONFIG or run inside a cluster"
                    .to_owned()
            } else {
                "Kubernetes is turned off by KUBE_ENABLED=false".to_owned()
            });
        }
        let slack = (config.slack.bot_token.is_some() || config.slack.webhook_url.is_some())
            .then(|| {
                SlackClient::new(slack::Settings {
                    api_url: Some(config.slack.api_url.clone()),
                    bot_token: config.slack.bot_token.clone(),
                    app_token: config.slack.app_token.clone(),
                    webhook_url: config.slack.webhook_url.clone(),
                    ..slack::Settings::default()
                })
            })
            .transpose()
            .context("cannot build the Slack client")?;
        if slack.is_none() {
            absent
                .push("Slack is not configured: alerts go to the built-in console only".to_owned());
        } else if config.slack.app_token.is_none() && config.slack.signing_secret.is_none() {
            absent.push("Slack cannot reach nightbell: set SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) for buttons and questions".to_owned());
        }
        if config.approvers.is_empty() && config.approval_rules.is_empty() {
            absent.push("APPROVERS is empty: nobody may approve an action".to_owned());
        }
        Ok(Self {
            runai,
            clusters,
            slack,
            metrics: config
                .metrics
                .as_ref()
                .map(|metrics| Prometheus::new(metrics::Settings::new(metrics.endpoint.clone()))),
            absent,
        })
    }
}

impl Connected {
    /// What can be acted on.
    #[must_use]
    pub fn systems(&self) -> Systems {
        Systems {
            runai: self.runai.clone(),
            clusters: self.clusters.clone(),
            ..Systems::default()
        }
    }
}

/// The gate's settings. The demo's limits leave a newcomer room to try things one after another.
///
/// # Errors
/// When an approver is not one; the configuration has checked that before.
pub fn safety_settings(config: &Config, demo: bool) -> anyhow::Result<safety::Settings> {
    let gate = &config.gate;
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let defaults = Limits::default();
    let limits = Limits {
        per_hour: count(gate.actions_per_hour),
        per_day: count(gate.actions_per_day),
        service_restarts: count(gate.restarts_per_service),
        cooldown: SignedDuration::try_from(gate.cooldown).unwrap_or(defaults.cooldown),
        concurrent: count(gate.concurrent_actions),
        between_major: SignedDuration::try_from(gate.between_major)
            .unwrap_or(defaults.between_major),
        one_service_at_a_time: gate.one_service_at_a_time,
        one_region_at_a_time: gate.one_region_at_a_time,
        instances_percent: gate.instances_percent,
        cordons_per_cluster: count(gate.cordons_per_cluster),
    };
    let limits = if demo {
        Limits {
            between_major: SignedDuration::ZERO,
            one_service_at_a_time: false,
            one_region_at_a_time: false,
            ..limits
        }
    } else {
        limits
    };
    let default = safety::Settings::default();
    Ok(safety::Settings {
        policy: Policy {
            require_approval: gate.require_approval,
            require_approval_threshold: gate.require_approval_threshold,
            dry_run: gate.dry_run,
        },
        limits,
        approvers: Approvers::from_str(&config.approvers.join(","))?.with_tokens(),
        rules: config.approval_rules.clone(),
        approval_ttl: SignedDuration::try_from(gate.approval_expiry)
            .unwrap_or(default.approval_ttl),
        breaker: count(gate.failures_until_stop),
        ..default
    })
}

/// The executor's settings. The demo does not keep a newcomer waiting for a target to settle.
pub fn executor_settings(config: &Config, demo: bool) -> executor::Settings {
    let default = executor::Settings::default();
    let settings = executor::Settings {
        timeout: config.gate.action_timeout,
        verify_timeout: config.gate.verify_timeout,
        ..default
    };
    if demo {
        executor::Settings {
            verify_every: std::time::Duration::from_secs(1),
            settle: std::time::Duration::from_secs(3),
            ..settings
        }
    } else {
        settings
    }
}

/// Who may use the API: whoever brings a token, or with nothing to check tokens by, this machine only.
pub fn access(config: &Config) -> Access {
    let oidc = config.http.oidc.as_ref().map(|given| {
        let mut settings = oidc::Settings::new(given.issuer.clone(), given.audience.clone());
        if let Some(claims) = &given.claims {
            settings.claims.clone_from(claims);
        }
        settings.roles.clone_from(&given.roles);
        Oidc::new(settings)
    });
    Access::new(config.http.jwt_secret.as_ref(), oidc)
}
