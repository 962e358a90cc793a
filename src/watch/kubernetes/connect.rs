//! From settings to clients: kubeconfig contexts, or the pod's own service account.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::client::{ClusterClient, Clusters};

/// Which clusters to use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One file, or several joined as in `KUBECONFIG`. `None`: kubectl's default place.
    pub kubeconfig: Option<PathBuf>,
    /// Contexts to watch; empty means the current one.
    pub contexts: Vec<String>,
    pub enabled: bool,
    /// Use the pod's service account where there is no kubeconfig.
    pub in_cluster: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            contexts: Vec::new(),
            enabled: true,
            in_cluster: true,
        }
    }
}

/// Name that the cluster nightbell itself runs in has where no kubeconfig names one.
pub const IN_CLUSTER: &str = "in-cluster";

/// A cluster that does not accept a connection within this time counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence within an answer. Watches are renewed before it (see `feed`).
const READ_TIMEOUT: Duration = Duration::from_secs(90);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is wrong with the settings. All mistakes at once.
#[derive(Debug, thiserror::Error)]
#[error("{}", .mistakes.join("; "))]
pub struct ConnectError {
    pub mistakes: Vec<String>,
}

impl Clusters {
    /// Builds the clients without talking to any cluster. No cluster at all is not an error where none was asked for.
    ///
    /// # Errors
    /// A kubeconfig that cannot be read, unknown contexts, or contexts with unusable certificates or addresses.
    pub async fn connect(settings: &Settings) -> Result<Self, ConnectError> {
        if !settings.enabled {
            return Ok(Self::default());
        }
        match kubeconfig(settings)? {
            // Deleting a local cluster leaves such a file behind. Nobody asked for what is in it.
            Some(kubeconfig)
                if settings.kubeconfig.is_none()
                    && settings.contexts.is_empty()
                    && current_context(&kubeconfig).is_none() =>
            {
                in_cluster(settings)
            }
            Some(kubeconfig) => from_kubeconfig(&kubeconfig, &settings.contexts).await,
            None if !settings.contexts.is_empty() => Err(ConnectError {
                mistakes: vec![format!(
                    "contexts {} are to be watched, but there is no kubeconfig",
                    settings.contexts.join(", ")
                )],
            }),
            None => in_cluster(settings),
        }
    }
}

impl ClusterClient {
    /// A cluster at a plain address, without credentials.
    ///
    /// # Errors
    /// When the TLS set-up cannot be made.
    pub fn at(name: &str, url: http::Uri) -> Result<Self, kube::Error> {
        Self::from_config(name, Config::new(url))
    }

    /// # Errors
    /// When the configuration's certificates, proxy or credentials cannot be used.
    pub fn from_config(name: &str, mut config: Config) -> Result<Self, kube::Error> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.write_timeout = Some(WRITE_TIMEOUT);
        // Else a connection's idle time would count against the next answer.
        config.reset_reader_on_write = true;
        // kube would repeat writes too, and for minutes. What is repeated is decided per call (see `client`).
        config.default_retry = false;
        Ok(Self::new(name, Client::try_from(config)?))
    }
}

fn kubeconfig(settings: &Settings) -> Result<Option<Kubeconfig>, ConnectError> {
    let mistake = |mistake: String| ConnectError {
        mistakes: vec![mistake],
    };
    let Some(paths) = &settings.kubeconfig else {
        return match Kubeconfig::read() {
            Ok(kubeconfig) => Ok(Some(kubeconfig)),
            Err(KubeconfigError::FindPath) => Ok(None),
            Err(KubeconfigError::ReadConfig(error, _))
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(mistake(error.to_string())),
        };
    };
    let mut merged = None;
    for path in std::env::split_paths(paths).filter(|path| !path.as_os_str().is_empty()) {
        let next = Kubeconfig::read_from(&path).map_err(|error| {
            mistake(format!("kubeconfig {}: {}", path.display(), reason(&error)))
        })?;
        merged = Some(match merged {
            None => next,
            Some(before) => {
                Kubeconfig::merge(before, next).map_err(|error| mistake(error.to_string()))?
            }
        });
    }
    Ok(merged)
}

fn reason(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(source, _) => source.to_string(),
        other => other.to_string(),
    }
}

fn current_context(kubeconfig: &Kubeconfig) -> Option<String> {
    let current = kubeconfig.current_context.clone();
    current.filter(|context| !context.is_empty())
}

async fn from_kubeconfig(
    kubeconfig: &Kubeconfig,
    wanted: &[String],
) -> Result<Clusters, ConnectError> {
    let contexts = if wanted.is_empty() {
        vec![current_context(kubeconfig).ok_or_else(|| ConnectError {
            mistakes: vec![
                "the kubeconfig has no current context; name the contexts to watch".to_owned(),
            ],
        })?]
    } else {
        wanted.to_vec()
    };
    let mut clusters = Vec::new();
    let mut mistakes = Vec::new();
    for context in contexts {
        if !kubeconfig
            .contexts
            .iter()
            .any(|known| known.name == context)
        {
            let known: Vec<&str> = kubeconfig
                .contexts
                .iter()
                .map(|known| known.name.as_str())
                .collect();
            mistakes.push(format!(
                "no context `{context}`; the kubeconfig has: {}",
                known.join(", ")
            ));
            continue;
        }
        let options = KubeConfigOptions {
            context: Some(context.clone()),
            ..KubeConfigOptions::default()
        };
        match Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await {
            Ok(config) => match ClusterClient::from_config(&context, config) {
                Ok(cluster) => clusters.push(cluster),
                Err(error) => mistakes.push(format!("context `{context}`: {error}")),
            },
            Err(error) => mistakes.push(format!("context `{context}`: {error}")),
        }
    }
    if mistakes.is_empty() {
        Ok(Clusters::new(clusters))
    } else {
        Err(ConnectError { mistakes })
    }
}

/// Outside of a cluster there simply is none.
fn in_cluster(settings: &Settings) -> Result<Clusters, ConnectError> {
    if !settings.in_cluster {
        return Ok(Clusters::default());
    }
    match Config::incluster() {
        Ok(config) => match ClusterClient::from_config(IN_CLUSTER, config) {
            Ok(cluster) => Ok(Clusters::new(vec![cluster])),
            Err(error) => Err(ConnectError {
                mistakes: vec![format!("service account: {error}")],
            }),
        },
        Err(_) => Ok(Clusters::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "
apiVersion: v1
kind: Config
current-context: lab
clusters:
- {name: c, cluster: {server: 'http://127.0.0.1:1'}}
contexts:
- {name: lab, context: {cluster: c, user: u}}
- {name: prod, context: {cluster: c, user: u}}
users:
- {name: u, user: {token: t}}
";

    fn settings(file: &tempfile::NamedTempFile, contexts: &[&str]) -> Settings {
        Settings {
            kubeconfig: Some(file.path().to_owned()),
            contexts: contexts
                .iter()
                .map(|context| (*context).to_owned())
                .collect(),
            ..Settings::default()
        }
    }

    fn kubeconfig_file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[tokio::test]
    async fn several_contexts_become_several_clusters() {
        let file = kubeconfig_file(TWO);
        let both = Clusters::connect(&settings(&file, &["lab", "prod"]))
            .await
            .unwrap();
        assert_eq!(both.names(), ["lab", "prod"]);
        assert!(both.cluster("prod").is_some());
        let current = Clusters::connect(&settings(&file, &[])).await.unwrap();
        assert_eq!(current.names(), ["lab"]);
    }

    #[tokio::test]
    async fn every_unknown_context_is_named_with_the_known_ones() {
        let file = kubeconfig_file(TWO);
        let error = Clusters::connect(&settings(&file, &["lab", "dev", "qa"]))
            .await
            .unwrap_err();
        assert_eq!(error.mistakes.len(), 2);
        assert_eq!(
            error.mistakes[0],
            "no context `dev`; the kubeconfig has: lab, prod"
        );
    }

    #[tokio::test]
    async fn an_unreadable_kubeconfig_is_a_mistake_unless_kubernetes_is_off() {
        let mut settings = Settings {
            kubeconfig: Some("/nonexistent/kubeconfig".into()),
            ..Settings::default()
        };
        let error = Clusters::connect(&settings).await.unwrap_err();
        assert!(
            error.mistakes[0].contains("/nonexistent/kubeconfig"),
            "{error}"
        );
        settings.enabled = false;
        assert!(
            Clusters::connect(&settings)
                .await
                .unwrap()
                .names()
                .is_empty()
        );

        let broken = kubeconfig_file("clusters: [");
        let settings = self::settings(&broken, &[]);
        assert!(Clusters::connect(&settings).await.is_err());
    }
}
