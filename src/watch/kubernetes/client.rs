//! Questions to one cluster, as domain values. How they get there and back is `transport`'s.

use std::fmt;
use std::sync::Arc;

use http::{Request, header};
use jiff::Timestamp;
use kube::client::Body;
use kube::core::Resource;
use serde::Deserialize;

pub use super::connect::{ConnectError, IN_CLUSTER, Settings};
pub use super::error::KubeError;
use super::kinds::ControllerKind;
use super::logs;
use super::slim::{SlimController, SlimEvent, SlimNode, SlimPod};
use super::transport::{
    DEADLINE, LOG_BYTES, LOG_DEADLINE, Tries, decode, found, get, malformed, read_log, segment,
    with_query, within,
};
use crate::diagnose::LogLine;
use crate::estate::{Controller, Event, Node, Pod};

/// Above so many names, the namespace's events are read once instead of name by name.
const NAMES_ASKED_SINGLY: usize = 5;

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
    pub(super) client: kube::Client,
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
                    refused = Some(error);
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
        let query = if previous {
            vec![("previous", "true".to_owned())]
        } else {
            Vec::new()
        };
        self.lines(namespace, pod, container, tail_lines, query)
            .await
    }

    /// The lines that a running container wrote since `since` (the second in which it lies included), the last
    /// `tail_lines` of them.
    ///
    /// # Errors
    /// As for [`Self::logs`].
    pub async fn logs_since(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        since: Option<Timestamp>,
        tail_lines: u32,
    ) -> Result<Vec<LogLine>, KubeError> {
        // Asked for by age, as the kubelet's clock counts it: its time of the line stays out of it.
        let query = since.map(|since| {
            let age = Timestamp::now().duration_since(since).as_secs().max(0) + 2;
            ("sinceSeconds", age.to_string())
        });
        let query = query.into_iter().collect();
        self.lines(namespace, pod, container, tail_lines, query)
            .await
    }

    async fn lines(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        tail_lines: u32,
        more: Vec<(&str, String)>,
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
        query.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
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
}
