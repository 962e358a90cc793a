//! Scenes from on-call. One binary, so that the whole tree is linked once.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "everything here is a test or its support, shared by every scene of this one binary"
)]

#[path = "../support/mod.rs"]
mod support;

mod actions;
mod actions_kubernetes;
mod alerts;
mod approvers;
mod audit;
mod cli;
mod demo_browser;
mod demo_estate;
mod desk;
mod desk_decisions;
mod desk_switches;
mod diagnosis;
mod gate_model;
mod gate_place;
mod gate_processes;
mod gate_stops;
mod http;
mod http_lists;
mod knowledge;
mod kube_client;
mod kube_watch;
mod metrics;
mod monitoring;
mod notify;
mod oidc;
mod pictures;
mod pipeline;
mod retention;
mod roster;
mod runai_client;
mod runai_poller;
mod safety;
mod silences;
mod slack;
mod slack_client;
mod store_effect;
mod store_pending_command;
mod story_crashes;
mod story_decisions;
mod story_groups;
mod story_hostile;
mod story_http;
mod story_kubernetes;
mod story_outages;
mod story_paging;
mod story_pending;
mod story_silent;
mod story_sources;
mod story_storms;
