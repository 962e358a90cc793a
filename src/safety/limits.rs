//! How much may be done: rates, cool-downs, concurrency and blast radius. Pure; the store loads what counts, and the
//! gate asks inside the transaction that issues the permit.

use jiff::{SignedDuration, Timestamp};

use super::ExecutionState;
use crate::action::{ActionKind, ActionSpec};

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
    /// Share of a service's instances that may be taken within one cool-down, in percent; one instance always may.
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
    /// Instances the service has, where they are acted on one by one.
    pub instances: u64,
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
    #[error("a major action ran; the next may follow at {}", clock(.frees))]
    BetweenMajor { frees: Timestamp },
    #[error("{taken} of {total} instances of {service} were just taken, and at most {percent} % may be; more at {}", clock(.frees))]
    Instances {
        service: String,
        taken: usize,
        total: u64,
        percent: u64,
        frees: Timestamp,
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
        match asked.spec.kind {
            ActionKind::DeletePod => {
                let mut taken: Vec<Timestamp> = counted
                    .iter()
                    .filter(|c| c.spec.kind == ActionKind::DeletePod && c.service == asked.service)
                    .map(|c| c.touched.min(now))
                    .filter(|&at| at + self.cooldown > now)
                    .collect();
                taken.sort_unstable();
                let allowed = (asked.instances * self.instances_percent / 100).max(1);
                if taken.len() as u64 >= allowed {
                    return Err(LimitReached::Instances {
                        service: asked.service.to_owned(),
                        taken: taken.len(),
                        total: asked.instances,
                        percent: self.instances_percent,
                        frees: taken[0] + self.cooldown,
                    });
                }
                Ok(())
            }
            ActionKind::CordonNode => {
                let cluster = asked.spec.target.cluster();
                let used = counted
                    .iter()
                    .filter(|c| {
                        c.spec.kind == ActionKind::CordonNode && c.spec.target.cluster() == cluster
                    })
                    .count();
                if used >= self.cordons_per_cluster {
                    return Err(LimitReached::Cordons {
                        cluster: cluster.unwrap_or_default().to_owned(),
                        limit: self.cordons_per_cluster,
                        used,
                    });
                }
                Ok(())
            }
            _ => Ok(()),
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
mod tests {
    use super::*;
    use crate::action::{Parameters, Target};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn spec(kind: ActionKind, object: &str, name: &str) -> ActionSpec {
        ActionSpec {
            kind,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: if object == "Node" {
                    String::new()
                } else {
                    "ml".into()
                },
                kind: object.into(),
                name: name.into(),
                uid: Some("u".into()),
            },
            parameters: Parameters::default(),
            avoid_node: None,
        }
    }
    fn done(spec: ActionSpec, service: &str, second: i64) -> Counted {
        Counted {
            spec,
            service: service.into(),
            state: ExecutionState::Verified,
            created: at(second),
            touched: at(second),
        }
    }
    fn pods(n: i64, every: i64) -> Vec<Counted> {
        (0..n)
            .map(|i| {
                done(
                    spec(ActionKind::ResumeJob, "Job", &format!("j{i}")),
                    &format!("s{i}"),
                    i * every,
                )
            })
            .collect()
    }
    fn check(
        kind: ActionKind,
        object: &str,
        name: &str,
        service: &str,
        counted: &[Counted],
        second: i64,
    ) -> Result<(), LimitReached> {
        let spec = spec(kind, object, name);
        Limits::default().check(
            Asked {
                spec: &spec,
                service,
                instances: 10,
            },
            counted,
            at(second),
        )
    }

    #[test]
    fn the_eleventh_action_of_an_hour_waits_until_the_first_is_an_hour_old() {
        let ten = pods(10, 60);
        let refused = check(ActionKind::ResumeJob, "Job", "x", "x", &ten, 1800).unwrap_err();
        assert_eq!(
            refused,
            LimitReached::Hourly {
                limit: 10,
                used: 10,
                frees: at(3600)
            }
        );
        assert_eq!(
            refused.to_string(),
            "10 of 10 actions of this hour are used; the next is free at 2026-09-21 15:13:20 UTC"
        );
        assert!(check(ActionKind::ResumeJob, "Job", "x", "x", &ten, 3599).is_err());
        assert_eq!(
            check(ActionKind::ResumeJob, "Job", "x", "x", &ten, 3600),
            Ok(())
        );
    }

    #[test]
    fn the_fifty_first_action_of_a_day_waits() {
        let fifty = pods(50, 1000);
        assert!(matches!(
            check(ActionKind::ResumeJob, "Job", "x", "x", &fifty, 60_000),
            Err(LimitReached::Daily {
                limit: 50,
                used: 50,
                ..
            })
        ));
    }

    #[test]
    fn a_service_is_restarted_three_times_a_day() {
        let three: Vec<Counted> = (0..3)
            .map(|i| {
                done(
                    spec(ActionKind::RecreateJob, "Job", "train"),
                    "train",
                    i * 4000,
                )
            })
            .collect();
        assert!(matches!(
            check(
                ActionKind::DeletePod,
                "Pod",
                "train-0",
                "train",
                &three,
                20_000
            ),
            Err(LimitReached::ServiceRestarts { used: 3, .. })
        ));
        assert_eq!(
            check(
                ActionKind::DeletePod,
                "Pod",
                "other-0",
                "other",
                &three,
                20_000
            ),
            Ok(())
        );
        assert_eq!(
            check(
                ActionKind::ResumeJob,
                "Job",
                "train",
                "train",
                &three,
                20_000
            ),
            Ok(())
        );
    }

    #[test]
    fn a_target_rests_after_an_action_even_if_it_was_reborn() {
        let one = [done(
            spec(ActionKind::ResumeJob, "Job", "train"),
            "train",
            0,
        )];
        assert_eq!(
            check(ActionKind::ResumeJob, "Job", "train", "train", &one, 299).unwrap_err(),
            LimitReached::Cooldown {
                target: "Job ml/train in prod".into(),
                frees: at(300)
            }
        );
        assert_eq!(
            check(ActionKind::ResumeJob, "Job", "train", "train", &one, 300),
            Ok(())
        );
    }

    #[test]
    fn major_actions_are_five_minutes_apart_and_minor_ones_need_not_wait() {
        let one = [done(spec(ActionKind::RecreateJob, "Job", "a"), "a", 0)];
        assert_eq!(
            check(ActionKind::RecreateJob, "Job", "b", "b", &one, 200).unwrap_err(),
            LimitReached::BetweenMajor { frees: at(300) }
        );
        assert_eq!(
            check(ActionKind::DeletePod, "Pod", "b-0", "b", &one, 200),
            Ok(())
        );
    }

    #[test]
    fn while_one_service_is_repaired_no_other_is_touched() {
        let mut one = [done(spec(ActionKind::DeletePod, "Pod", "a-0"), "a", 0)];
        one[0].state = ExecutionState::Verifying;
        assert!(matches!(
            check(ActionKind::DeletePod, "Pod", "b-0", "b", &one, 4000),
            Err(LimitReached::OtherService { .. })
        ));
        assert!(matches!(
            check(ActionKind::DeletePod, "Pod", "a-0", "a", &one, 4000),
            Err(LimitReached::TargetBusy { .. })
        ));
        assert_eq!(
            check(ActionKind::DeletePod, "Pod", "a-1", "a", &one, 4000),
            Ok(())
        );
    }

    #[test]
    fn at_most_five_run_at_once() {
        let mut five: Vec<Counted> = (0..5)
            .map(|i| done(spec(ActionKind::ResumeJob, "Job", &format!("j{i}")), "s", i))
            .collect();
        for c in &mut five {
            c.state = ExecutionState::Started;
        }
        assert!(matches!(
            check(ActionKind::ResumeJob, "Job", "x", "s", &five, 9000),
            Err(LimitReached::Concurrent {
                limit: 5,
                running: 5
            })
        ));
    }

    #[test]
    fn at_most_a_fifth_of_the_instances_but_always_one() {
        let two: Vec<Counted> = (0..2)
            .map(|i| {
                done(
                    spec(ActionKind::DeletePod, "Pod", &format!("a-{i}")),
                    "a",
                    i * 10,
                )
            })
            .collect();
        assert_eq!(
            check(ActionKind::DeletePod, "Pod", "a-5", "a", &two[..1], 60),
            Ok(())
        );
        assert!(matches!(
            check(ActionKind::DeletePod, "Pod", "a-5", "a", &two, 60),
            Err(LimitReached::Instances {
                taken: 2,
                total: 10,
                ..
            })
        ));
        let spec = spec(ActionKind::DeletePod, "Pod", "b-0");
        let asked = Asked {
            spec: &spec,
            service: "b",
            instances: 2,
        };
        assert_eq!(Limits::default().check(asked, &[], at(0)), Ok(()));
    }

    #[test]
    fn cordons_are_capped_per_cluster() {
        let three: Vec<Counted> = (0..3)
            .map(|i| {
                done(
                    spec(ActionKind::CordonNode, "Node", &format!("n{i}")),
                    "n",
                    i * 600,
                )
            })
            .collect();
        assert!(matches!(
            check(ActionKind::CordonNode, "Node", "n9", "n9", &three, 9000),
            Err(LimitReached::Cordons { used: 3, .. })
        ));
    }

    #[test]
    fn a_clock_that_jumps_back_frees_nothing() {
        let ten = pods(10, 60);
        assert!(matches!(
            check(ActionKind::ResumeJob, "Job", "x", "x", &ten, -5000),
            Err(LimitReached::Hourly { used: 10, .. })
        ));
    }
}
