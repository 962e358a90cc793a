//! What the scenes share: databases, fakes of the outside world, and a bot to run against them.

pub mod alerting;
pub mod bench;
pub mod bot;
pub mod browser;
pub mod cluster;
pub mod database;
pub mod gate;
pub mod gate_model;
pub mod kube_api;
pub mod pagerduty;
pub mod prometheus;
pub mod runai;
pub mod slack;
pub mod world;
