//! Events of the simulated cluster: repeats grow a count in place, the scheduler's carry `eventTime` alone.

use serde_json::{Value, json};

use super::kind::Kind;
use super::objects::{controller_kind, micro_stamp, pod_group, stamp};
use super::world::{History, World};

/// What an event is about.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// `spec.containers{name}` for what happens to a container.
    pub(super) field_path: Option<String>,
    /// The job whose history in Run:AI shows it.
    pub(super) job: Option<u64>,
}

/// Who reports an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reporter {
    Kubelet,
    /// The scheduler uses the newer form of events: `eventTime`, no count, no first and last time.
    Scheduler,
    /// Kubernetes' own scheduler, for pods that Run:AI does not know.
    DefaultScheduler,
    JobController,
    TrainingOperator,
    NodeMonitor,
    NodeController,
}

impl Reporter {
    /// The scheduler of a job's pods.
    pub(super) fn scheduler(runai: bool) -> Self {
        if runai {
            Self::Scheduler
        } else {
            Self::DefaultScheduler
        }
    }

    /// Schedulers write events in the newer form.
    fn schedules(self) -> bool {
        matches!(self, Self::Scheduler | Self::DefaultScheduler)
    }

    fn component(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Scheduler => "runai-scheduler",
            Self::DefaultScheduler => "default-scheduler",
            Self::JobController => "job-controller",
            Self::TrainingOperator => "pytorchjob-controller",
            Self::NodeMonitor => "node-monitoring-agent",
            Self::NodeController => "node-controller",
        }
    }
}

impl World {
    pub(super) fn about_pod(&self, uid: &str) -> Option<About> {
        let pod = self.pods.get(uid)?;
        Some(About {
            api_version: "v1",
            kind: "Pod",
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: uid.to_owned(),
            field_path: None,
            job: Some(pod.job),
        })
    }

    pub(super) fn about_controller(&self, job: u64) -> Option<About> {
        let job = self.jobs.get(&job)?;
        let kind = controller_kind(job.spec.kind);
        Some(About {
            api_version: kind.api_version(),
            kind: kind.name(),
            namespace: job.spec.namespace(),
            name: job.spec.name.clone(),
            uid: job.uid.clone(),
            field_path: None,
            job: Some(job.id),
        })
    }

    pub(super) fn about_pod_group(&self, job: u64) -> Option<About> {
        let job = self.jobs.get(&job)?;
        Some(About {
            api_version: "scheduling.run.ai/v2alpha2",
            kind: "PodGroup",
            namespace: job.spec.namespace(),
            name: pod_group(job),
            uid: job.workload.clone(),
            field_path: None,
            job: Some(job.id),
        })
    }

    pub(super) fn about_node(name: &str) -> About {
        About {
            api_version: "v1",
            kind: "Node",
            // Events of nodes lie in the default namespace, and the kubelet writes the name as the uid.
            namespace: "default".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            field_path: None,
            job: None,
        }
    }

    /// Records an event now; a repeat of the same words about the same object grows the first one's count.
    pub(super) fn emit(
        &mut self,
        about: &About,
        reporter: Reporter,
        kind: &str,
        reason: &str,
        message: &str,
        annotations: &[(&str, &str)],
    ) {
        let key = (about.uid.clone(), reason.to_owned(), message.to_owned());
        let earlier = self
            .repeats
            .get(&key)
            .and_then(|name| self.cluster.get(Kind::Event, &about.namespace, name))
            .filter(|_| !reporter.schedules());
        if let Some(earlier) = earlier {
            let mut event = earlier.value();
            let count = event["count"].as_u64().unwrap_or(1);
            event["count"] = (count + 1).into();
            event["lastTimestamp"] = stamp(self.now).into();
            self.cluster.put(Kind::Event, event);
        } else {
            let event = self.new_event(about, reporter, kind, reason, message, annotations);
            let name = event["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            self.cluster.put(Kind::Event, event);
            self.repeats.insert(key, name);
        }
        self.tell_runai(about, reporter, kind, reason, message);
    }

    fn new_event(
        &mut self,
        about: &About,
        reporter: Reporter,
        kind: &str,
        reason: &str,
        message: &str,
        annotations: &[(&str, &str)],
    ) -> Value {
        let (component, at) = (reporter.component(), stamp(self.now));
        let host = self
            .pods
            .get(&about.uid)
            .and_then(|pod| pod.node.clone())
            .filter(|_| reporter == Reporter::Kubelet);
        let mut object = json!({
            "kind": about.kind, "namespace": about.namespace, "name": about.name, "uid": about.uid,
            "apiVersion": about.api_version, "resourceVersion": self.cluster.version().to_string()
        });
        if let Some(path) = &about.field_path {
            object["fieldPath"] = path.as_str().into();
        }
        let mut event = json!({
            "metadata": {
                "name": format!("{}.{:016x}", about.name, self.rng.u64(..)), "namespace": about.namespace,
                "uid": self.new_uid(), "creationTimestamp": at,
                "managedFields": [{"manager": component, "operation": "Update", "apiVersion": "v1", "time": at,
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:involvedObject": {}, "f:message": {}, "f:reason": {},
                        "f:reportingComponent": {}, "f:type": {}}}]
            },
            "involvedObject": object, "reason": reason, "message": message, "type": kind,
            "reportingComponent": component, "reportingInstance": host.clone().unwrap_or_default()
        });
        if !annotations.is_empty() {
            for (key, value) in annotations {
                event["metadata"]["annotations"][*key] = (*value).into();
            }
        }
        if reporter.schedules() {
            event["source"] = json!({});
            event["firstTimestamp"] = Value::Null;
            event["lastTimestamp"] = Value::Null;
            event["eventTime"] = micro_stamp(self.now).into();
            event["action"] = if reason == "Scheduled" {
                "Binding"
            } else {
                "Scheduling"
            }
            .into();
        } else {
            event["source"] = json!({"component": component});
            if let Some(host) = host {
                event["source"]["host"] = host.into();
            }
            event["firstTimestamp"] = at.as_str().into();
            event["lastTimestamp"] = at.into();
            event["count"] = 1.into();
            event["eventTime"] = Value::Null;
        }
        event
    }

    /// Run:AI shows the events of a workload's objects, each occurrence on its own.
    fn tell_runai(
        &mut self,
        about: &About,
        reporter: Reporter,
        kind: &str,
        reason: &str,
        message: &str,
    ) {
        let (now, id) = (self.now, self.new_uid());
        let Some(job) = about
            .job
            .and_then(|job| self.jobs.get_mut(&job))
            .filter(|job| job.spec.runai)
        else {
            return;
        };
        job.record(History::Event {
            at: now,
            event: json!({
                "createdAt": super::runai_model::stamp(now), "id": id, "type": kind,
                "clusterId": super::runai_model::CLUSTER_ID, "message": message, "reason": reason,
                "source": reporter.component(),
                "involvedObject": {"uid": about.uid, "kind": about.kind, "name": about.name, "namespace": about.namespace}
            }),
        });
    }
}
