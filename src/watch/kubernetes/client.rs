//! Questions to one cluster, each with a deadline. Reads that fail for the moment are tried again; writes never are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{Request, Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use kube::client::Body;
use kube::core::{Resource, WatchEvent};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

pub use super::connect::{ConnectError, IN_CLUSTER, Settings};
pub use super::error::KubeError;
use super::kinds::{ControllerKind, OPTIONAL};
use super::logs;
use super::slim::{Lenient, Page, SlimController, SlimEvent, SlimNode, SlimPod};
use crate::diagnose::LogLine;
use crate::estate::{Controller, Event, Node, Pod};

/// A person waits for these answers.
const DEADLINE: Duration = Duration::from_secs(10);
/// A page of 500 pods, for which nobody waits, from a server that may be busy.
const PAGE_DEADLINE: Duration = Duration::from_secs(60);
/// Logs come from the node, by way of the API server.
const LOG_DEADLINE: Duration = Duration::from_secs(15);
/// 100 lines of the longest kind kept fit nearly always; ten times the usual tail.
const LOG_BYTES: usize = 1024 * 1024;
/// Far above a page of 500 pods (about 4 MB).
const ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// What client-go takes per page.
const PAGE: &str = "500";
/// Pages read to answer one question: 10,000 objects of one namespace.
const PAGES: usize = 20;
/// Above so many names, the namespace's events are read once instead of name by name.
const NAMES_ASKED_SINGLY: usize = 5;
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The clusters that are watched, by the names of their kube contexts.
#[derive(Clone, Debug, Default)]
pub struct Clusters(Arc<[ClusterClient]>);

impl Clusters {
    #[must_use]
    pub fn new(clusters: Vec<ClusterClient>) -> Self {
        Self(clusters.into())
    }

    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.iter().map(ClusterClient::name).collect()
    }

    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&ClusterClient> {
        self.iter().find(|cluster| cluster.name() == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ClusterClient> {
        self.0.iter()
    }
}

/// One cluster.
#[derive(Clone)]
pub struct ClusterClient {
    name: Arc<str>,
    client: kube::Client,
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    #[serde(default)]
    versions: Vec<GroupVersion>,
    preferred_version: Option<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<ResourceEntry>,
}

#[derive(Deserialize)]
struct ResourceEntry {
    /// Plural; sub-resources as `plural/status`.
    name: String,
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct AccessReview {
    #[serde(default)]
    status: AccessStatus,
}

#[derive(Default, Deserialize)]
struct AccessStatus {
    #[serde(default)]
    allowed: bool,
}

impl fmt::Debug for ClusterClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ClusterClient")
            .field(&self.name)
            .finish()
    }
}

impl ClusterClient {
    /// `client` must not repeat requests by itself: actions use it too.
    #[must_use]
    pub fn new(name: &str, client: kube::Client) -> Self {
        Self {
            name: name.into(),
            client,
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For actions; repeats nothing by itself.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// The pod, or `None` if there is none of that name.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, KubeError> {
        let (Ok(namespace), Ok(name)) = (segment(namespace), segment(name)) else {
            return Ok(None);
        };
        let path = format!("{}/{name}", SlimPod::url_path(&(), Some(namespace)));
        let pod: Option<SlimPod> = found(self.read(&path).await)?;
        Ok(pod.and_then(|pod| pod.into_pod(self.name(), Timestamp::now())))
    }

    /// Pods of a namespace, all or those that match a label selector.
    pub async fn pods(
        &self,
        namespace: &str,
        label_selector: Option<&str>,
    ) -> Result<Vec<Pod>, KubeError> {
        let path = SlimPod::url_path(&(), Some(segment(namespace)?));
        let selector: Vec<_> = label_selector
            .map(|labels| ("labelSelector", labels))
            .into_iter()
            .collect();
        let pods: Vec<SlimPod> = self.list(&path, &selector).await?;
        let now = Timestamp::now();
        Ok(pods
            .into_iter()
            .filter_map(|pod| pod.into_pod(self.name(), now))
            .collect())
    }

    /// All controllers of a namespace that belong to a workload, whatever their kind.
    /// Kinds that may not be listed are left out, unless none may.
    pub async fn controllers(
        &self,
        namespace: &str,
        workload: &str,
    ) -> Result<Vec<Controller>, KubeError> {
        let mut kinds = Vec::from(ControllerKind::built_in());
        kinds.extend(self.optional_kinds().await.unwrap_or_default());
        let namespace = segment(namespace)?;
        let lists: Vec<_> = kinds
            .iter()
            .map(|kind| self.controllers_of(kind, namespace))
            .collect();
        let now = Timestamp::now();
        let (mut controllers, mut refused, mut answered) = (Vec::new(), None, false);
        for (kind, list) in kinds
            .iter()
            .zip(futures_util::future::join_all(lists).await)
        {
            match list {
                Ok(list) => {
                    answered = true;
                    let named = list
                        .into_iter()
                        .filter_map(|slim| slim.into_controller(self.name(), kind, now));
                    controllers.extend(named.filter(|controller| controller.workload == workload));
                }
                Err(error @ (KubeError::Forbidden { .. } | KubeError::NotFound { .. })) => {
                    refused = Some(error)
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) if !answered => Err(error),
            _ => Ok(controllers),
        }
    }

    async fn controllers_of(
        &self,
        kind: &ControllerKind,
        namespace: &str,
    ) -> Result<Vec<SlimController>, KubeError> {
        self.list(&SlimController::url_path(kind, Some(namespace)), &[])
            .await
    }

    async fn events_of(&self, path: &str, name: &str) -> Result<Vec<SlimEvent>, KubeError> {
        let selector = format!("involvedObject.name={}", segment(name)?);
        self.list(path, &[("fieldSelector", &selector)]).await
    }

    /// Events about objects of these names, oldest first. Events about nodes are in namespace `default`.
    pub async fn events(&self, namespace: &str, names: &[String]) -> Result<Vec<Event>, KubeError> {
        let path = SlimEvent::url_path(&(), Some(segment(namespace)?));
        let slim: Vec<SlimEvent> = if names.len() <= NAMES_ASKED_SINGLY {
            let lists: Vec<_> = names
                .iter()
                .map(|name| self.events_of(&path, name))
                .collect();
            let lists = futures_util::future::try_join_all(lists).await?;
            lists.into_iter().flatten().collect()
        } else {
            self.list(&path, &[]).await?
        };
        let now = Timestamp::now();
        let mut events: Vec<Event> = slim
            .into_iter()
            .filter_map(|event| event.into_event(self.name(), now))
            .filter(|event| names.contains(&event.object.name))
            .collect();
        events.sort_by_key(|event| event.last);
        Ok(events)
    }

    /// The node, or `None` if there is none of that name.
    pub async fn node(&self, name: &str) -> Result<Option<Node>, KubeError> {
        let Ok(name) = segment(name) else {
            return Ok(None);
        };
        let path = format!("{}/{name}", SlimNode::url_path(&(), None));
        let node: Option<SlimNode> = found(self.read(&path).await)?;
        Ok(node.and_then(|node| node.into_node(self.name(), Timestamp::now())))
    }

    /// The last lines of a container's log, at most 1 MiB of them, each cut at 16 KiB.
    ///
    /// # Errors
    /// [`KubeError::NoLog`] while the container waits to start, or where no previous one ended.
    pub async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
        tail_lines: u32,
    ) -> Result<Vec<LogLine>, KubeError> {
        let pod = format!(
            "{}/{}",
            SlimPod::url_path(&(), Some(segment(namespace)?)),
            segment(pod)?
        );
        let (tail, limit) = (tail_lines.to_string(), LOG_BYTES.to_string());
        let mut query = vec![
            ("container", container),
            ("tailLines", &tail),
            ("limitBytes", &limit),
            ("timestamps", "true"),
        ];
        if previous {
            query.push(("previous", "true"));
        }
        let path = with_query(&format!("{pod}/log"), &query);
        let mut tries = Tries::new(LOG_DEADLINE);
        let response = loop {
            match within(tries.until, LOG_DEADLINE, self.send(get(&path)?)).await {
                Ok(response) => break response,
                Err(KubeError::Rejected {
                    status: 400,
                    message,
                }) => return Err(KubeError::NoLog { message }),
                Err(error) => tries.wait(error).await?,
            }
        };
        Ok(logs::parse(&read_log(response, tries.until).await?))
    }

    /// Whether the cluster would let nightbell do this. `namespace` empty: in the whole cluster.
    pub async fn can_i(
        &self,
        verb: &str,
        group: &str,
        resource: &str,
        namespace: &str,
    ) -> Result<bool, KubeError> {
        const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = serde_json::json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource,
                "subresource": subresource, "namespace": namespace,
            } },
        });
        let body = review.to_string();
        let mut tries = Tries::new(DEADLINE);
        // A review changes nothing, so that it may be repeated like a read.
        let answer = loop {
            let request = Request::post(PATH)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.clone().into_bytes()))
                .map_err(malformed)?;
            match within(tries.until, DEADLINE, self.answer(request)).await {
                Ok(answer) => break answer,
                Err(error) => tries.wait(error).await?,
            }
        };
        let review: AccessReview = decode(&answer)?;
        Ok(review.status.allowed)
    }

    /// The kinds of [`OPTIONAL`] operators that this cluster serves, each in its preferred version.
    pub(super) async fn optional_kinds(&self) -> Result<Vec<ControllerKind>, KubeError> {
        let served: Groups = self.read("/apis").await?;
        let mut found = Vec::new();
        for (group, kinds) in OPTIONAL {
            let Some(served) = served.groups.iter().find(|served| served.name == group) else {
                continue;
            };
            let preferred = served.preferred_version.iter();
            for version in preferred
                .chain(&served.versions)
                .map(|entry| entry.version.as_str())
            {
                let missing = |kind: &&&str| {
                    !found
                        .iter()
                        .any(|have: &ControllerKind| have.kind == **kind)
                };
                if kinds.iter().filter(missing).count() == 0 {
                    break;
                }
                let resources: Resources = self
                    .read(&format!("/apis/{group}/{}", segment(version)?))
                    .await?;
                let entries = kinds.iter().filter(missing).filter_map(|kind| {
                    let entry = resources.resources.iter().find(|entry| {
                        entry.kind == *kind
                            && !entry.name.contains('/')
                            && entry.verbs.iter().any(|verb| verb == "watch")
                    })?;
                    Some(ControllerKind {
                        group,
                        kind,
                        version: version.to_owned(),
                        plural: entry.name.clone(),
                    })
                });
                let entries: Vec<ControllerKind> = entries.collect();
                found.extend(entries);
            }
        }
        Ok(found)
    }

    /// One object, tried again while the cluster has a moment's trouble.
    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, KubeError> {
        let mut tries = Tries::new(DEADLINE);
        loop {
            match within(tries.until, DEADLINE, self.answer(get(path)?)).await {
                Ok(answer) => return decode(&answer),
                Err(error) => tries.wait(error).await?,
            }
        }
    }

    /// All pages of a list, up to [`PAGES`].
    async fn list<T>(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<T>, KubeError>
    where
        T: for<'de> Lenient<'de>,
    {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let path = page_path(path, query, next.as_deref());
            let page: Page<T> = self.read(&path).await?;
            items.extend(page.items);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(items)
    }

    /// One page of a list, asked for once. For lists that are followed by a watch.
    pub(super) async fn page<T>(&self, path: &str, next: Option<&str>) -> Result<Page<T>, KubeError>
    where
        T: for<'de> Lenient<'de>,
    {
        let until = Instant::now() + PAGE_DEADLINE;
        let request = get(&page_path(path, &[], next))?;
        decode(&within(until, PAGE_DEADLINE, self.answer(request)).await?)
    }

    /// Opens a watch from a resource version on. The server ends it after `lifetime`, or when it likes.
    pub(super) async fn watch<T>(
        &self,
        path: &str,
        version: &str,
        lifetime: Duration,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<T>>> + Send + use<T>, KubeError>
    where
        T: Clone + DeserializeOwned + Send + 'static,
    {
        let seconds = lifetime.as_secs().max(1).to_string();
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds),
            ("resourceVersion", version),
        ];
        let request = Request::get(with_query(path, &query))
            .body(Vec::new())
            .map_err(malformed)?;
        let until = Instant::now() + DEADLINE;
        let opened = async { Ok(self.client.request_events(request).await?) };
        within(until, DEADLINE, opened).await
    }

    async fn answer(&self, request: Request<Body>) -> Result<Bytes, KubeError> {
        let response = self.send(request).await?;
        body(response, ANSWER_BYTES).await
    }

    /// Sends a request; an answer that is not a success is an error.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, KubeError> {
        let response = self.client.send(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = body(response, ANSWER_BYTES).await.unwrap_or_default();
        Err(KubeError::from_answer(status.as_u16(), retry_after, &body))
    }
}

/// Names go into paths: what is no name (`../secrets`, `a?b`) is not found, and never sent.
fn segment(name: &str) -> Result<&str, KubeError> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(allowed)
        && !name.starts_with('.');
    if is_name {
        Ok(name)
    } else {
        Err(KubeError::NotFound {
            message: "that is not a Kubernetes name".to_owned(),
        })
    }
}

fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    format!("{path}?{query}")
}

fn page_path(path: &str, query: &[(&str, &str)], next: Option<&str>) -> String {
    let mut query = query.to_vec();
    query.push(("limit", PAGE));
    query.extend(next.map(|token| ("continue", token)));
    with_query(path, &query)
}

fn get(path: &str) -> Result<Request<Body>, KubeError> {
    Request::get(path).body(Body::empty()).map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> KubeError {
    KubeError::Malformed {
        what: error.to_string(),
    }
}

fn decode<T: DeserializeOwned>(answer: &[u8]) -> Result<T, KubeError> {
    serde_json::from_slice(answer).map_err(malformed)
}

fn found<T>(result: Result<T, KubeError>) -> Result<Option<T>, KubeError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(KubeError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Up to three tries of one read, all before one deadline.
struct Tries {
    until: Instant,
    left: u32,
    pause: Duration,
}

impl Tries {
    fn new(deadline: Duration) -> Self {
        Self {
            until: Instant::now() + deadline,
            left: TRIES - 1,
            pause: FIRST_PAUSE,
        }
    }

    /// Waits for the next try, or gives the error back where another one would not help or come too late.
    async fn wait(&mut self, error: KubeError) -> Result<(), KubeError> {
        let wait = match &error {
            KubeError::RateLimited { retry_after } => *retry_after,
            // Half to one and a half of the pause, so that many callers do not come back at once.
            _ => self.pause.mul_f64(0.5 + fastrand::f64()),
        };
        if self.left == 0 || !error.is_transient() || Instant::now() + wait >= self.until {
            return Err(error);
        }
        sleep(wait).await;
        self.left -= 1;
        self.pause *= 2;
        Ok(())
    }
}

async fn within<T>(
    until: Instant,
    limit: Duration,
    call: impl Future<Output = Result<T, KubeError>>,
) -> Result<T, KubeError> {
    timeout_at(until, call).await.unwrap_or_else(|_| {
        let silence = format!("no answer within {} s", limit.as_secs());
        Err(KubeError::Unreachable(silence.into()))
    })
}

async fn body(response: Response<Body>, limit: usize) -> Result<Bytes, KubeError> {
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(malformed(format!("longer than {limit} bytes")))
        }
        Err(error) => Err(KubeError::Unreachable(error)),
    }
}

/// Reads up to [`LOG_BYTES`]. What came before a stall or a break is worth more than an error.
async fn read_log(response: Response<Body>, until: Instant) -> Result<Vec<u8>, KubeError> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < LOG_BYTES {
        match timeout_at(until, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => {
                if let Ok(chunk) = frame.into_data() {
                    bytes.extend_from_slice(&chunk);
                }
            }
            Ok(Some(Err(_))) | Err(_) if !bytes.is_empty() => break,
            Ok(Some(Err(error))) => return Err(KubeError::Unreachable(error.into())),
            Err(elapsed) => return Err(KubeError::Unreachable(elapsed.into())),
        }
    }
    bytes.truncate(LOG_BYTES);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_never_reaches_a_path() {
        for name in [
            "",
            "..",
            "../secrets",
            "a/b",
            "a?b",
            "a%2fb",
            "a b",
            ".hidden",
        ] {
            assert!(
                matches!(segment(name), Err(KubeError::NotFound { .. })),
                "{name}"
            );
        }
        assert!(segment("bert-eval-6l7zh").is_ok());
        assert!(segment("node-1.example.com").is_ok());
    }
}
