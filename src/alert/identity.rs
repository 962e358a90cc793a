//! Which job a report is about, beyond the memory of one process.
//!
//! A strong alias decides. Without one, a job of the same name that another source reported, made at nearly the same
//! time, is the same job seen from the other side. Everything else is a new job: a re-run is not its predecessor.

use jiff::{SignedDuration, Timestamp};

use crate::estate::JobAlias;

/// Clocks of a control plane and a cluster differ, and Run:AI records a workload before its pods exist.
pub const CREATION_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// A name under which one source knows exactly one job (or node, or source of observations).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Alias {
    Runai(String),
    Kubernetes(String),
    /// A source of observations, by its stable name.
    Source(String),
}

impl Alias {
    /// As it is stored: unique over all sources.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Runai(id) | Self::Kubernetes(id) | Self::Source(id) => {
                format!("{}:{id}", self.source())
            }
        }
    }

    /// Reads what [`Self::key`] wrote.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let (source, id) = key.split_once(':')?;
        match source {
            "runai" => Some(Self::Runai(id.to_owned())),
            "kubernetes" => Some(Self::Kubernetes(id.to_owned())),
            "source" => Some(Self::Source(id.to_owned())),
            _ => None,
        }
    }

    /// Which kind of source gives such names.
    #[must_use]
    pub fn source(&self) -> &'static str {
        match self {
            Self::Runai(_) => "runai",
            Self::Kubernetes(_) => "kubernetes",
            Self::Source(_) => "source",
        }
    }
}

impl From<JobAlias> for Alias {
    fn from(alias: JobAlias) -> Self {
        match alias {
            JobAlias::Runai(id) => Self::Runai(id),
            JobAlias::Kubernetes(uid) => Self::Kubernetes(uid),
        }
    }
}

/// What identifies a job in one report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub aliases: Vec<Alias>,
    pub cluster: String,
    pub namespace: String,
    pub name: String,
    pub created: Timestamp,
}

/// A job that the store knows under the same namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub job_id: String,
    pub cluster: String,
    pub created: Timestamp,
    /// The kinds of source that already named it.
    pub sources: Vec<String>,
    /// An action for its alert is under way. A run that appears now under its name is what the action made of it, not
    /// a re-run by its owner.
    pub being_repaired: bool,
}

/// The candidate that is the same job seen by another source, if there is one.
///
/// A candidate that a source of this report already named is another run. Without a name on one side (the pods of a
/// Deployment that was not seen yet) the service of that name in that cluster is meant: it is as old as its pods, or
/// older. The same cluster is preferred to an unknown one, then the nearest creation.
#[must_use]
pub fn other_view<'a>(identity: &Identity, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    candidates
        .iter()
        .filter(|candidate| {
            let named_before = identity
                .aliases
                .iter()
                .any(|alias| candidate.sources.iter().any(|s| s == alias.source()));
            let same_cluster = candidate.cluster == identity.cluster;
            let older = |a: Timestamp, b: Timestamp| a.duration_since(b) <= CREATION_SKEW;
            let service = same_cluster
                && ((identity.aliases.is_empty() && older(candidate.created, identity.created))
                    || (candidate.sources.is_empty()
                        && older(identity.created, candidate.created)));
            let remade = candidate.being_repaired && same_cluster;
            remade || (!named_before && (service || skew(identity, candidate) <= CREATION_SKEW))
        })
        .min_by_key(|candidate| {
            (
                !candidate.being_repaired,
                candidate.cluster != identity.cluster,
                skew(identity, candidate),
            )
        })
}

fn skew(identity: &Identity, candidate: &Candidate) -> SignedDuration {
    identity.created.duration_since(candidate.created).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
    }

    fn report(alias: Alias, created: i64) -> Identity {
        Identity {
            aliases: vec![alias],
            cluster: "prod".to_owned(),
            namespace: "ml".to_owned(),
            name: "train".to_owned(),
            created: at(created),
        }
    }

    fn known(job_id: &str, cluster: &str, source: &str, created: i64) -> Candidate {
        Candidate {
            job_id: job_id.to_owned(),
            cluster: cluster.to_owned(),
            created: at(created),
            sources: vec![source.to_owned()],
            being_repaired: false,
        }
    }

    #[test]
    fn a_run_that_our_own_repair_made_is_the_same_job_and_any_other_is_not() {
        let anew = report(Alias::Kubernetes("uid-2".to_owned()), 4_000);
        let mut old = known("job-1", "prod", "kubernetes", 0);
        assert_eq!(
            other_view(&anew, std::slice::from_ref(&old)),
            None,
            "its owner ran it again"
        );
        old.being_repaired = true;
        assert_eq!(other_view(&anew, std::slice::from_ref(&old)), Some(&old));
        old.cluster = "elsewhere".to_owned();
        assert_eq!(other_view(&anew, std::slice::from_ref(&old)), None);
    }

    #[test]
    fn the_other_sources_view_of_a_job_made_at_the_same_time_is_joined() {
        let candidates = [known("j1", "prod", "runai", 0)];
        let pods = report(Alias::Kubernetes("u1".to_owned()), 40);
        assert_eq!(
            other_view(&pods, &candidates).map(|c| c.job_id.as_str()),
            Some("j1")
        );
    }

    #[test]
    fn a_rerun_under_the_same_name_is_not_joined() {
        let same_source = [known("j1", "prod", "kubernetes", 0)];
        assert_eq!(
            other_view(
                &report(Alias::Kubernetes("u2".to_owned()), 30),
                &same_source
            ),
            None
        );
        let long_ago = [known("j1", "prod", "runai", -700)];
        assert_eq!(
            other_view(&report(Alias::Kubernetes("u2".to_owned()), 0), &long_ago),
            None
        );
    }

    #[test]
    fn pods_seen_before_their_deployment_are_of_the_service_of_that_name() {
        let mut pods = report(Alias::Kubernetes("u1".to_owned()), 90_000);
        pods.aliases.clear();
        let deployment = [known("j1", "prod", "kubernetes", 0)];
        assert_eq!(
            other_view(&pods, &deployment).map(|c| c.job_id.as_str()),
            Some("j1")
        );
        let mut nameless = known("j2", "prod", "", 90_000);
        nameless.sources.clear();
        let later = [nameless];
        let deployment = report(Alias::Kubernetes("u1".to_owned()), 0);
        assert_eq!(
            other_view(&deployment, &later).map(|c| c.job_id.as_str()),
            Some("j2")
        );
    }

    #[test]
    fn the_same_cluster_is_preferred_then_the_nearest_creation() {
        let candidates = [
            known("far", "prod", "runai", 300),
            known("near", "prod", "runai", 20),
            known("else", "lab", "runai", 0),
        ];
        let pods = report(Alias::Kubernetes("u1".to_owned()), 0);
        assert_eq!(
            other_view(&pods, &candidates).map(|c| c.job_id.as_str()),
            Some("near")
        );
    }
}
