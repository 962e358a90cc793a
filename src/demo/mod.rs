//! A simulated estate behind servers that speak the real Kubernetes and Run:AI protocols.
//!
//! `nightbell demo` runs the real clients and the real pipeline against it; tests and benchmarks use it as a stateful
//! fake with faults to inject. Only the estate is simulated, and what it names says so: cluster `demo`, projects
//! `demo-…`, user `demo-user@example.com`.

mod cluster;
mod controller_status;
mod controllers;
pub mod estate;
mod events;
pub mod faults;
mod kind;
mod kubelet;
mod kubernetes_api;
mod kubernetes_discovery;
mod kubernetes_log;
mod kubernetes_watch;
mod kubernetes_write;
mod logs;
mod nodes;
mod objects;
mod patch;
mod pod_status;
mod populate;
mod runai_actions;
mod runai_api;
mod runai_filter;
mod runai_model;
mod runai_token;
pub mod scenario;
pub mod script;
mod selector;
pub mod server;
mod world;

pub use estate::SimEstate;
pub use faults::Faults;
pub use runai_model::{CLUSTER_ID, CLUSTER_NAME, TENANT_ID};
pub use server::{DemoServers, Settings, start};
