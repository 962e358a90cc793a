//! The simulated estate is a faithful counterpart: the clients that production uses cannot tell it from a real one.

mod faults;
mod kubernetes;
mod runai;
mod scenario;
mod schema;

use std::time::Duration;

use jiff::Timestamp;
use nightbell::demo::script::JobSpec;
use nightbell::demo::{DemoServers, SimEstate, server};
use nightbell::watch::kubernetes::client::ClusterClient;
use nightbell::watch::runai::Settings;
use nightbell::watch::runai::client::RunaiClient;

const NAMESPACE: &str = "runai-demo-nlp";

/// A small estate with its servers and a client for each; its time stands still until it is told to pass.
struct Demo {
    servers: DemoServers,
    estate: SimEstate,
    kube: kube::Client,
    runai: RunaiClient,
}

impl Demo {
    async fn start() -> Self {
        Self::with_speed(1.0).await
    }

    async fn with_speed(speed: f64) -> Self {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        let estate = SimEstate::new(now, speed, 1);
        estate.add_project("demo-nlp", 32);
        for n in 1..=3 {
            estate.add_node(&format!("demo-a100-{n:02}"), "a100", 8);
            estate.add_node(&format!("demo-h100-{n:02}"), "h100", 8);
        }
        Self::serve(estate).await
    }

    async fn serve(estate: SimEstate) -> Self {
        let servers = server::serve(estate.clone(), Duration::from_hours(1))
            .await
            .expect("the loopback has room");
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&servers.kubeconfig()).expect("valid");
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .expect("usable");
        let cluster = ClusterClient::from_config("demo", config).expect("a client");
        let mut settings = Settings::new(
            servers.runai_base_url.parse().expect("a URL"),
            servers.runai_client_id.clone(),
            servers.runai_client_secret.clone().into(),
        );
        settings.backoff = Duration::from_millis(1);
        Self {
            kube: cluster.client(),
            runai: RunaiClient::new(settings),
            estate,
            servers,
        }
    }

    /// Submits a job and lets it start.
    fn run(&self, spec: JobSpec) -> String {
        let name = spec.name.clone();
        self.estate.add_job(spec);
        self.pass(2.0);
        name
    }

    fn pass(&self, seconds: f64) {
        self.estate.pass(Duration::from_secs_f64(seconds));
    }

    fn job(&self, name: &str) -> nightbell::demo::estate::JobView {
        self.estate.job(NAMESPACE, name).expect("the job exists")
    }

    fn api<K>(&self) -> kube::Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        kube::Api::namespaced(self.kube.clone(), NAMESPACE)
    }

    fn cluster(&self) -> ClusterClient {
        ClusterClient::new("demo", self.kube.clone())
    }
}
