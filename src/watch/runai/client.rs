//! The client of the control plane. Reads are tried again where that is polite; actions are sent once.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use tokio::time::sleep;

use super::token::Tokens;
use super::transport::{self, Answer};
use super::wire;
pub use super::wire::{Page, RunaiCluster, RunaiPod, WorkloadDetail};
pub use super::{RunaiError, Settings, SignIn};
use crate::diagnose::HistoryEntry;
use crate::estate::{Event, Phase, Workload};

/// The most elements that a list gives at once.
pub const PAGE_LIMIT: u32 = 500;

/// Which workloads a list asks for; all conditions hold at once (the API knows no "or").
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub project: Option<String>,
    pub name: Option<String>,
    pub phase: Option<Phase>,
    /// Only workloads whose phase changed at or after this time, in the order of those changes.
    pub phase_updated_since: Option<Timestamp>,
}

/// A signed-in client; clones share the connection pool and the token.
#[derive(Clone, Debug)]
pub struct RunaiClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    settings: Settings,
    base: String,
    tokens: Tokens,
}

impl RunaiClient {
    /// A client that signs in at its first call.
    ///
    /// # Panics
    /// When the system's root certificates cannot be read.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // A provider that the program installed before stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            // The API never redirects; a log-in page does, and would be sent the token.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("nightbell/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("the TLS provider is installed and all options are constants");
        let base = settings.base_url.as_str().trim_end_matches('/').to_owned();
        Self {
            shared: Arc::new(Shared {
                http,
                settings,
                base,
                tokens: Tokens::default(),
            }),
        }
    }

    /// One page of workloads from `offset`, at most `limit` (1 to [`PAGE_LIMIT`]).
    pub async fn workloads(
        &self,
        filter: &Filter,
        offset: u64,
        limit: u32,
    ) -> Result<Page<Workload>, RunaiError> {
        let mut query = vec![
            ("offset", offset.to_string()),
            ("limit", limit.clamp(1, PAGE_LIMIT).to_string()),
            ("sortBy", filter.sort_by().to_owned()),
            ("sortOrder", "asc".to_owned()),
        ];
        query.extend(
            filter
                .filter_by()?
                .map(|conditions| ("filterBy", conditions)),
        );
        wire::workloads(&self.read("/api/v1/workloads", &query).await?)
    }

    /// One workload, with the scheduler's reasons while it is pending.
    pub async fn workload(&self, id: &str) -> Result<WorkloadDetail, RunaiError> {
        wire::workload(&self.read(&workload_path(id, "")?, &[]).await?)
    }

    /// The newest [`PAGE_LIMIT`] events of a workload, oldest first. Their cluster is Run:AI's cluster id.
    pub async fn events(&self, id: &str) -> Result<Vec<Event>, RunaiError> {
        let query = [
            ("limit", PAGE_LIMIT.to_string()),
            ("sortOrder", "desc".to_owned()),
        ];
        let mut events =
            wire::events(&self.read(&workload_path(id, "/events")?, &query).await?)?.items;
        events.sort_by_key(|event| event.last);
        Ok(events)
    }

    /// Phase changes and events of a workload, oldest first, from its first [`PAGE_LIMIT`] records.
    pub async fn history(&self, id: &str) -> Result<Vec<HistoryEntry>, RunaiError> {
        let query = [("limit", PAGE_LIMIT.to_string())];
        let mut entries =
            wire::history(&self.read(&workload_path(id, "/history")?, &query).await?)?.items;
        entries.sort_by_key(|entry| entry.at);
        Ok(entries)
    }

    /// The pods of a workload, at most [`PAGE_LIMIT`].
    pub async fn pods(&self, id: &str) -> Result<Vec<RunaiPod>, RunaiError> {
        let query = [("limit", PAGE_LIMIT.to_string())];
        Ok(wire::pods(&self.read(&workload_path(id, "/pods")?, &query).await?)?.items)
    }

    /// All clusters of the tenant.
    pub async fn clusters(&self) -> Result<Vec<RunaiCluster>, RunaiError> {
        wire::clusters(&self.read("/api/v1/clusters", &[]).await?)
    }

    /// Asks to suspend a workload of `kind`. Success means accepted, not done: watch its phase for `Stopped`.
    pub async fn suspend(&self, kind: &str, id: &str) -> Result<(), RunaiError> {
        self.act("suspend", kind, id).await
    }

    /// Asks to resume a suspended workload. Success means accepted, not done.
    pub async fn resume(&self, kind: &str, id: &str) -> Result<(), RunaiError> {
        self.act("resume", kind, id).await
    }

    /// Asks to delete a workload. Success means accepted, not done.
    pub async fn delete(&self, kind: &str, id: &str) -> Result<(), RunaiError> {
        self.act("delete", kind, id).await
    }

    async fn act(&self, action: &'static str, kind: &str, id: &str) -> Result<(), RunaiError> {
        if !wire::is_id(id) {
            return Err(RunaiError::InvalidArgument(format!(
                "{id:?} is not a workload id"
            )));
        }
        let Some(collection) = collection(kind) else {
            return self.act_in_batch(action, id).await;
        };
        let path = format!("/api/v1/workloads/{collection}/{id}");
        let request = match action {
            "delete" => self.request(Method::DELETE, &path),
            _ if collection.ends_with("inferences") => {
                return Err(RunaiError::Unsupported {
                    action,
                    kind: kind.to_owned(),
                });
            }
            _ => self.request(Method::POST, &format!("{path}/{action}")),
        };
        self.signed(request).await?.into_body().map(drop)
    }

    /// The way for kinds without an endpoint of their own; a success can hold a failure.
    async fn act_in_batch(&self, action: &str, id: &str) -> Result<(), RunaiError> {
        let body = serde_json::json!({ "ids": [id], "action": action });
        let request = self
            .request(Method::POST, "/api/v1/workloads/batch")
            .json(&body);
        let body = self.signed(request).await?.into_body()?;
        match wire::batch_failure(&body)? {
            None => Ok(()),
            Some((403, message)) => Err(RunaiError::Forbidden { message }),
            Some((404, _)) => Err(RunaiError::NotFound),
            Some((status, message)) => Err(RunaiError::Rejected { status, message }),
        }
    }

    /// A read, tried again on overload and broken connections.
    async fn read(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, RunaiError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let outcome = self
                .signed(self.request(Method::GET, path).query(query))
                .await;
            match transport::next_try(&outcome, tried, &self.shared.settings) {
                Some(wait) => sleep(wait).await,
                None => return outcome?.into_body(),
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.shared
            .http
            .request(method, format!("{}{path}", self.shared.base))
    }

    /// Sends with a token; a refused token is renewed once. A refused call was not carried out, so that repeating it
    /// is safe for actions too.
    async fn signed(&self, request: RequestBuilder) -> Result<Answer, RunaiError> {
        let Shared {
            http,
            settings,
            tokens,
            ..
        } = &*self.shared;
        let token = tokens.current(http, settings).await?;
        let again = request
            .try_clone()
            .expect("the body is in memory, never a stream");
        let answer = transport::send(request.bearer_auth(token.expose_secret())).await?;
        if answer.status != reqwest::StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = tokens.other_than(&token, http, settings).await?;
        transport::send(again.bearer_auth(token.expose_secret())).await
    }
}

impl Filter {
    /// A name in the filter language, which has no quoting: a comma would begin another condition.
    fn filter_by(&self) -> Result<Option<String>, RunaiError> {
        let mut conditions = Vec::new();
        let phase = self.phase.as_ref().map(Phase::as_str);
        let named = [
            ("projectName", self.project.as_deref()),
            ("name", self.name.as_deref()),
            ("phase", phase),
        ];
        for (field, value) in named {
            let Some(value) = value else { continue };
            if value.is_empty() || value.contains(',') || value.chars().any(char::is_control) {
                return Err(RunaiError::InvalidArgument(format!(
                    "{field} {value:?} cannot be filtered by"
                )));
            }
            conditions.push(format!("{field}=={value}"));
        }
        if let Some(since) = self.phase_updated_since {
            // Milliseconds, rounded down: the API writes its own times so.
            let since = since
                - SignedDuration::from_nanos(i64::from(since.subsec_nanosecond() % 1_000_000));
            conditions.push(format!("phaseUpdatedAt>={since:.3}"));
        }
        Ok((!conditions.is_empty()).then(|| conditions.join(",")))
    }

    fn sort_by(&self) -> &'static str {
        if self.phase_updated_since.is_some() {
            "phaseUpdatedAt"
        } else {
            "createdAt"
        }
    }
}

fn workload_path(id: &str, rest: &str) -> Result<String, RunaiError> {
    if wire::is_id(id) {
        Ok(format!("/api/v1/workloads/{id}{rest}"))
    } else {
        Err(RunaiError::InvalidArgument(format!(
            "{id:?} is not a workload id"
        )))
    }
}

/// The collection that acts on workloads of a kind, whichever way a release spells the kind.
fn collection(kind: &str) -> Option<&'static str> {
    let kind = kind.to_ascii_lowercase();
    Some(match kind.as_str() {
        "training" | "train" | "trainingworkload" => "trainings",
        "workspace" | "interactive" | "interactiveworkload" => "workspaces",
        "distributed" | "distributedworkload" => "distributed",
        "inference" | "inferenceworkload" => "inferences",
        "distributedinference" | "distributedinferenceworkload" => "distributed-inferences",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_one_parameter_of_conditions() {
        let since = "2026-03-02T10:41:07.123456Z".parse().expect("a time");
        let filter = Filter {
            project: Some("ml team+1".to_owned()),
            name: None,
            phase: Some(Phase::Failed),
            phase_updated_since: Some(since),
        };
        assert_eq!(
            filter.filter_by().expect("a filter").as_deref(),
            Some("projectName==ml team+1,phase==Failed,phaseUpdatedAt>=2026-03-02T10:41:07.123Z")
        );
        assert_eq!(Filter::default().filter_by().expect("no filter"), None);
    }

    #[test]
    fn a_name_that_would_split_the_filter_is_refused() {
        for name in ["a,phase!=Failed", "", "a\nb"] {
            let filter = Filter {
                project: Some(name.to_owned()),
                ..Filter::default()
            };
            assert!(
                matches!(filter.filter_by(), Err(RunaiError::InvalidArgument(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn an_id_that_is_more_than_an_id_never_reaches_a_url() {
        for id in [
            "",
            "../clusters",
            "a/b",
            "a?x=1",
            "a%2fb",
            "a b",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(workload_path(id, "").is_err(), "{id}");
        }
        assert_eq!(
            workload_path("0b6a-1", "/pods").expect("an id"),
            "/api/v1/workloads/0b6a-1/pods"
        );
    }
}
