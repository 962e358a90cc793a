//! Kubernetes as a source: watches what the estate needs, and answers questions about single objects.
//!
//! [`slim`] decodes only the fields that are kept, [`client`] reaches the clusters, [`watcher`] turns lists and watches
//! into observations. Only this room and the Kubernetes actions know the kube crate.

pub mod client;
pub mod connect;
pub mod error;
mod feed;
mod health;
pub mod kinds;
pub mod logs;
pub mod slim;
mod surroundings;
mod transport;
pub mod watcher;
