//! nightbell: an on-call engineer for GPU and Kubernetes platforms.
//!
//! Reading order is the life of a failure: [`estate`] (the vocabulary), [`watch`] (sources become observations),
//! [`detect`] (observations become symptoms), [`alert`] (one alert per job and failure), [`diagnose`] (why),
//! [`safety`] and [`action`] (what may be done about it, and doing it), [`notify`] and [`chat`] (telling people),
//! [`desk`] (answering them). [`redact`] is what all text passes on its way out; [`store`] is the only room that knows SQL; [`app`] wires
//! the rooms together, and [`program`] starts them.

pub mod action;
pub mod alert;
pub mod app;
pub mod chat;
pub mod cli;
pub mod config;
pub mod decide;
pub mod demo;
pub mod desk;
pub mod detect;
pub mod diagnose;
pub mod estate;
pub mod http;
pub mod notify;
pub mod program;
pub mod redact;
pub mod runbook;
pub mod safety;
pub mod store;
pub mod supervisor;
pub mod telemetry;
pub mod watch;
