//! How much may be done: rates, cool-downs, concurrency and blast radius. Pure; the store loads what counts, and the
//! gate asks inside the transaction that issues the permit.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{ExecutionState, Place};
use crate::action::{ActionSpec, Takes};

/// The limits, with the defaults of requirement S1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub per_hour: usize,
    pub per_day: usize,
    /// Restarts of one service within a day.
    pub service_restarts: usize,
    /// Rest of one target after an action on it.
    pub cooldown: SignedDuration,
    pub concurrent: usize,
    /// Rest of everything after an action that takes a whole workload or a node.
    pub between_major: SignedDuration,
    /// While one service is being repaired, no other is touched.
    pub one_service_at_a_time: bool,
    /// While something is being repaired in one region, nothing in another is touched.
    pub one_region_at_a_time: bool,
    /// Share of a service's instances, or of a node pool's nodes, that may be out of service together, in percent; one
    /// may always be.
    pub instances_percent: u64,
    /// Nodes of one cluster that may be cordoned within a day.
    pub cordons_per_cluster: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_hour: 10,
            per_day: 50,
            service_restarts: 3,
            cooldown: SignedDuration::from_secs(300),
            concurrent: 5,
            between_major: SignedDuration::from_mins(5),
            one_service_at_a_time: true,
            one_region_at_a_time: true,
            instances_percent: 20,
            // More bad nodes than this in one cluster in a day are a fault of the cluster, which is for people.
            cordons_per_cluster: 3,
        }
    }
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// How far back the gate has to look.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// An execution as the limits count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub spec: ActionSpec,
    pub service: String,
    pub place: Place,
    pub state: ExecutionState,
    pub created: Timestamp,
    /// When it last did something: its end, else its start, else when it was permitted.
    pub touched: Timestamp,
}

/// What is to be let through.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub spec: &'a ActionSpec,
    /// The job, Deployment or node that the target is (part of).
    pub service: &'a str,
    /// Instances the service has, as whoever asked knew it: for what the live estate does not show.
    pub instances: u64,
    pub place: &'a Place,
}

/// A limit that says no for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    #[error("{used} of {limit} actions of this hour are used; the next is free at {}", clock(.frees))]
    Hourly {
        limit: usize,
        used: usize,
        frees: Timestamp,
    },
    #[error("{used} of {limit} actions of this day are used; the next is free at {}", clock(.frees))]
    Daily {
        limit: usize,
        used: usize,
        frees: Timestamp,
    },
    #[error("{service} was restarted {used} times within a day (limit {limit}); the next is free at {}", clock(.frees))]
    ServiceRestarts {
        service: String,
        limit: usize,
        used: usize,
        frees: Timestamp,
    },
    #[error("{target} was acted on and rests until {}", clock(.frees))]
    Cooldown { target: String, frees: Timestamp },
    #[error("{running} actions are running (limit {limit}); wait until one ends")]
    Concurrent { limit: usize, running: usize },
    #[error("another action on {target} has not ended")]
    TargetBusy { target: String },
    #[error(
        "{service} is being repaired, and only one service may be at a time; wait until that ends"
    )]
    OtherService { service: String },
    #[error(
        "region {region} is being worked on, and only one region may be at a time; wait until that ends"
    )]
    OtherRegion { region: String },
    #[error("a major action ran; the next may follow at {}", clock(.frees))]
    BetweenMajor { frees: Timestamp },
    #[error("{taken} of {total} of {of} were just taken, and at most {percent} % may be; more at {}", clock(.frees))]
    Taken {
        of: String,
        taken: usize,
        total: u64,
        percent: u64,
        frees: Timestamp,
    },
    #[error(
        "{out} of {total} of {of} are out of service already, and with this one more than {percent} % would be; wait until some are back"
    )]
    Out {
        of: String,
        out: u64,
        total: u64,
        percent: u64,
    },
    #[error(
        "{used} nodes of {cluster} were cordoned within a day (limit {limit}); more are for people to judge"
    )]
    Cordons {
        cluster: String,
        limit: usize,
        used: usize,
    },
}

fn clock(at: &Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

impl ExecutionState {
    /// Permitted and not ended: it holds its target and a place among the running.
    #[must_use]
    pub fn is_active(self) -> bool {
        match self {
            Self::Permitted | Self::Started | Self::Verifying => true,
            Self::Verified
            | Self::NotVerified
            | Self::Failed
            | Self::Unknown
            | Self::Cancelled
            | Self::DryRun => false,
        }
    }
}

impl Limits {
    /// Whether one more action may be permitted, given those of the last day and all that are active. Times ahead of
    /// `now`, left by a clock that was wrong, count as just now.
    ///
    /// # Errors
    /// The first limit that is reached.
    pub fn check(
        &self,
        asked: Asked<'_>,
        counted: &[Counted],
        now: Timestamp,
    ) -> Result<(), LimitReached> {
        let target = asked.spec.target.key();
        let active = || counted.iter().filter(|c| c.state.is_active());

        if active().any(|c| c.spec.target.key() == target) {
            return Err(LimitReached::TargetBusy {
                target: asked.spec.target.to_string(),
            });
        }
        let running = active().count();
        if running >= self.concurrent {
            return Err(LimitReached::Concurrent {
                limit: self.concurrent,
                running,
            });
        }
        if self.one_service_at_a_time
            && let Some(other) = active().find(|c| c.service != asked.service)
        {
            return Err(LimitReached::OtherService {
                service: other.service.clone(),
            });
        }
        if self.one_region_at_a_time
            && let Some(other) = active().find(|c| c.place.region != asked.place.region)
        {
            return Err(LimitReached::OtherRegion {
                region: other.place.region.clone(),
            });
        }
        self.check_rates(asked, counted, now)?;
        self.check_rests(asked, &target, counted, now)?;
        self.check_radius(asked, counted, now)
    }

    fn check_rates(
        &self,
        asked: Asked<'_>,
        counted: &[Counted],
        now: Timestamp,
    ) -> Result<(), LimitReached> {
        let window = |length: SignedDuration| -> Vec<Timestamp> {
            counted
                .iter()
                .map(|c| c.created)
                .filter(|&at| at + length > now)
                .collect()
        };
        if let Err((used, frees)) = room(window(DAY), self.per_day, DAY, now) {
            return Err(LimitReached::Daily {
                limit: self.per_day,
                used,
                frees,
            });
        }
        if let Err((used, frees)) = room(window(HOUR), self.per_hour, HOUR, now) {
            return Err(LimitReached::Hourly {
                limit: self.per_hour,
                used,
                frees,
            });
        }
        if asked.spec.kind.is_restart() {
            let restarts = counted
                .iter()
                .filter(|c| {
                    c.spec.kind.is_restart() && c.service == asked.service && c.created + DAY > now
                })
                .map(|c| c.created)
                .collect();
            if let Err((used, frees)) = room(restarts, self.service_restarts, DAY, now) {
                return Err(LimitReached::ServiceRestarts {
                    service: asked.service.to_owned(),
                    limit: self.service_restarts,
                    used,
                    frees,
                });
            }
        }
        Ok(())
    }

    fn check_rests(
        &self,
        asked: Asked<'_>,
        target: &str,
        counted: &[Counted],
        now: Timestamp,
    ) -> Result<(), LimitReached> {
        let last = |of: &dyn Fn(&&Counted) -> bool| {
            counted.iter().filter(of).map(|c| c.touched.min(now)).max()
        };
        if let Some(touched) = last(&|c| c.spec.target.key() == target)
            && touched + self.cooldown > now
        {
            return Err(LimitReached::Cooldown {
                target: asked.spec.target.to_string(),
                frees: touched + self.cooldown,
            });
        }
        if asked.spec.kind.is_major()
            && let Some(touched) = last(&|c| c.spec.kind.is_major())
            && touched + self.between_major > now
        {
            return Err(LimitReached::BetweenMajor {
                frees: touched + self.between_major,
            });
        }
        Ok(())
    }

    fn check_radius(
        &self,
        asked: Asked<'_>,
        counted: &[Counted],
        now: Timestamp,
    ) -> Result<(), LimitReached> {
        match asked.spec.kind.entry().takes {
            // Whether a whole workload may be taken, or several instances be ended for good, is judged by the policy, and
            // by people.
            Takes::Nothing | Takes::Whole | Takes::Counted => Ok(()),
            Takes::Instance => self.check_share(asked, counted, now),
            Takes::Node => {
                self.check_share(asked, counted, now)?;
                self.check_cordons(asked, counted)
            }
        }
    }

    /// At most this share of a service or node pool: of what we took within one cool-down, and of what is out of service
    /// for whatever reason.
    fn check_share(
        &self,
        asked: Asked<'_>,
        counted: &[Counted],
        now: Timestamp,
    ) -> Result<(), LimitReached> {
        let takes = asked.spec.kind.entry().takes;
        let of = asked.of();
        let total = if asked.place.total > 0 {
            asked.place.total
        } else {
            asked.instances
        };
        let allowed = (total.saturating_mul(self.instances_percent) / 100).max(1);
        let mut acted: Vec<Timestamp> = counted
            .iter()
            .filter(|c| c.spec.kind.entry().takes == takes && c.of() == of)
            .map(|c| c.touched.min(now))
            .filter(|&at| at + self.cooldown > now)
            .collect();
        acted.sort_unstable();
        if acted.len() as u64 >= allowed {
            return Err(LimitReached::Taken {
                of: of.to_owned(),
                taken: acted.len(),
                total,
                percent: self.instances_percent,
                frees: acted.first().copied().unwrap_or(now) + self.cooldown,
            });
        }
        // What we took a moment ago may be among what is seen to be out, or not be seen yet.
        let out = asked.place.out.max(acted.len() as u64);
        if !asked.place.target_out && out >= allowed {
            return Err(LimitReached::Out {
                of: of.to_owned(),
                out,
                total,
                percent: self.instances_percent,
            });
        }
        Ok(())
    }

    fn check_cordons(&self, asked: Asked<'_>, counted: &[Counted]) -> Result<(), LimitReached> {
        let cluster = asked.spec.target.cluster();
        let target = asked.spec.target.key();
        // A node that is cordoned and then drained is one.
        let others: BTreeSet<String> = counted
            .iter()
            .filter(|c| {
                c.spec.kind.entry().takes == Takes::Node && c.spec.target.cluster() == cluster
            })
            .map(|c| c.spec.target.key())
            .filter(|key| *key != target)
            .collect();
        let used = others.len();
        if used >= self.cordons_per_cluster {
            return Err(LimitReached::Cordons {
                cluster: cluster.unwrap_or_default().to_owned(),
                limit: self.cordons_per_cluster,
                used,
            });
        }
        Ok(())
    }
}

impl Asked<'_> {
    /// What the target is one of.
    fn of(&self) -> &str {
        if self.place.of.is_empty() {
            self.service
        } else {
            &self.place.of
        }
    }
}

impl Counted {
    fn of(&self) -> &str {
        if self.place.of.is_empty() {
            &self.service
        } else {
            &self.place.of
        }
    }
}

/// Whether fewer than `limit` of these times fall in the window; else how many do, and when the next place is free.
fn room(
    mut times: Vec<Timestamp>,
    limit: usize,
    window: SignedDuration,
    now: Timestamp,
) -> Result<(), (usize, Timestamp)> {
    if times.len() < limit {
        return Ok(());
    }
    times.sort_unstable();
    // With `limit` 0 nothing ever is free; a window from now is as true an answer as any.
    let frees = times
        .get(times.len() - limit.min(times.len()))
        .map_or(now + window, |&at| at + window);
    Err((times.len(), frees))
}

#[cfg(test)]
mod tests;
