//! `troubleshoot` without a running bot: the sources are looked at once, by the same clients and rules.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use super::connect::Connected;
use super::knowledge;
use crate::config::Config;
use crate::desk::{Answer, JobQuery, diagnosis_answer, not_one};
use crate::diagnose::analyze;
use crate::diagnose::collect::{Collector, Settings};
use crate::estate::SharedEstate;
use crate::estate::index::{Estate, Found};

/// Finds the job that `query` names and diagnoses it.
///
/// # Errors
/// When nothing is configured to look at, no source answers, or the configuration's files cannot be read.
pub async fn troubleshoot(config: &Config, query: JobQuery) -> anyhow::Result<Answer> {
    let connected = Connected::from_config(config).await?;
    let contexts = connected
        .clusters
        .names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let estate: SharedEstate = Arc::new(RwLock::new(Estate::new(
        contexts,
        config.kubernetes.runai_clusters.clone(),
    )));
    let knowledge = knowledge(config)?;
    let collector = Collector::new(
        connected.runai,
        connected.clusters,
        Arc::clone(&estate),
        Settings {
            patience: config.thresholds.clone(),
            ..Settings::default()
        },
    )
    .with_metrics(connected.metrics);
    let seen = collector.find_remote(&query, Timestamp::now()).await?;
    let Found::One(key) = &seen.found else {
        let estate = estate.read().unwrap_or_else(PoisonError::into_inner);
        return not_one(&query, &seen.found, &estate)
            .ok_or_else(|| anyhow::anyhow!("the job was found and lost"));
    };
    let mut evidence = collector.collect(key, Timestamp::now()).await;
    evidence.missing.extend(seen.missing);
    Ok(diagnosis_answer(&analyze(&evidence, &knowledge), false))
}
