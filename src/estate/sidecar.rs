//! Which containers only serve the main one. Pure.

use super::Container;

/// Containers that serve the main one; their noise and their end are not the job's.
const SIDECARS: &[&str] = &[
    "istio-proxy",
    "istio-init",
    "linkerd-proxy",
    "vault-agent",
    "fluent-bit",
    "fluentbit",
    "fluentd",
    "filebeat",
    "promtail",
    "vector",
    "dcgm-exporter",
    "cloud-sql-proxy",
    "cloudsql-proxy",
    "otel-collector",
    "opentelemetry",
    "datadog-agent",
    "envoy",
    "tailscale",
    "oauth2-proxy",
    "kube-rbac-proxy",
    "queue-proxy",
    "sidecar",
    "log-agent",
    "log-shipper",
    "metrics-exporter",
    "git-sync",
    "tensorboard",
    "node-exporter",
    "config-reloader",
    "jaeger-agent",
    "statsd",
];

impl Container {
    /// True for a container that serves the main one: a proxy, a log shipper, an exporter.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        let name = self.name.as_str();
        SIDECARS.contains(&name)
            || name.ends_with("-sidecar")
            || name.ends_with("-proxy")
            || name.ends_with("-exporter")
    }
}
