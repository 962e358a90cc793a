//! `nightbell demo`: the same bot on the simulated estate, with nothing to install or configure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::demo::{self, DemoServers};
use crate::store::new_id;
use crate::supervisor::Stop;

/// Shorter waits than in life: a newcomer should see the whole story within a minute or two.
const SETTINGS: &str = "
alerts:
  resolve_after_seconds: 20
  messages_per_minute: 30
thresholds:
  pending_seconds: 15
  quota_seconds: 10
  starting_seconds: 60
  terminating_seconds: 60
  restarting_seconds: 3
  settle_seconds: 10
  node_seconds: 5
  hang_seconds: 45
  silence_seconds: 60
progress:
  interval_seconds: 5
approvals:
  verify_within_seconds: 120
runai_proactive_monitor:
  poll_interval_seconds: 2
";

/// A running simulation and the configuration of the bot that watches it.
pub struct Demo {
    pub config: Config,
    servers: DemoServers,
    folder: PathBuf,
}

impl Demo {
    /// Starts the simulated estate. `environment` may set where to listen and how to log; nothing else of it counts,
    /// so that no real cluster, channel or database is ever touched.
    ///
    /// # Errors
    /// When no port or temporary folder can be had, or the environment's values are wrong.
    pub async fn start(environment: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let servers = demo::start(&demo::Settings::default(), Timestamp::now())
            .await
            .context("cannot start the simulated estate")?;
        let folder = std::env::temp_dir().join(format!("nightbell-demo-{}", new_id()));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, servers.kubeconfig())
            .context("cannot write the demo's kubeconfig")?;

        let mut values: BTreeMap<String, String> = ["API_HOST", "API_PORT", "LOG_LEVEL", "DEBUG"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), environment.get(name)?.clone())))
            .collect();
        values
            .entry("LOG_LEVEL".to_owned())
            .or_insert_with(|| "warn".to_owned());
        let own = [
            (
                "DATABASE_URL",
                format!("sqlite://{}", folder.join("nightbell.db").display()),
            ),
            ("LOG_DIR", folder.join("logs").display().to_string()),
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("RUNAI_BASE_URL", servers.runai_base_url.clone()),
            ("RUNAI_CLIENT_ID", servers.runai_client_id.clone()),
            ("RUNAI_CLIENT_SECRET", servers.runai_client_secret.clone()),
            ("APPROVERS", "local".to_owned()),
            ("DRY_RUN", "false".to_owned()),
            ("COOLDOWN_SECONDS", "10".to_owned()),
            ("MAX_ACTIONS_PER_HOUR", "100".to_owned()),
            ("MAX_ACTIONS_PER_DAY", "100".to_owned()),
        ];
        values.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let config = Config::from_values(&values, SETTINGS)?;
        Ok(Self {
            config,
            servers,
            folder,
        })
    }

    /// Listens where the configuration says; if that port is taken, on a free one.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn listen(&mut self) -> anyhow::Result<TcpListener> {
        let wanted = SocketAddr::new(self.config.http.host, self.config.http.port);
        let listener = match TcpListener::bind(wanted).await {
            Ok(listener) => listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                TcpListener::bind(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0)).await?
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {wanted}")),
        };
        self.config.http.port = listener.local_addr()?.port();
        Ok(listener)
    }

    /// Runs the bot until `stop`, then takes the simulation down and its files away.
    ///
    /// # Errors
    /// As [`super::run`].
    pub async fn run(self, listener: TcpListener, stop: Stop) -> anyhow::Result<()> {
        let outcome = super::run(self.config, true, listener, stop).await;
        self.servers.shut_down().await;
        // What is left in a temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
        outcome
    }
}
