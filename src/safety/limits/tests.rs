//! The limits one by one, each at the moment when it begins to hold and when it ends.

use super::*;
use crate::action::{ActionKind, Parameters, Target};

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
        place: Place::default(),
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
            place: &Place::default(),
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
        Err(LimitReached::Taken {
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
        place: &Place::default(),
    };
    assert_eq!(Limits::default().check(asked, &[], at(0)), Ok(()));
}

fn check_at(
    kind: ActionKind,
    name: &str,
    place: &Place,
    counted: &[Counted],
    second: i64,
) -> Result<(), LimitReached> {
    let object = if kind == ActionKind::DeletePod {
        "Pod"
    } else {
        "Node"
    };
    let spec = spec(kind, object, name);
    let asked = Asked {
        spec: &spec,
        service: &format!("prod/ml/{name}"),
        instances: 1,
        place,
    };
    Limits::default().check(asked, counted, at(second))
}

#[test]
fn what_is_out_of_service_for_whatever_reason_counts_against_the_fifth() {
    let pool = |total, out, target_out| Place {
        of: "prod/pool/h100".into(),
        total,
        out,
        target_out,
        ..Place::default()
    };
    for (total, out, target_out, allowed) in [
        (10, 0, false, true),
        (10, 1, false, true),
        (10, 2, false, false),
        // It is down itself: nothing more is taken.
        (10, 2, true, true),
        (10, 9, true, true),
        // One may always be out, but no second of few.
        (2, 0, false, true),
        (2, 1, false, false),
        (9, 1, false, false),
        (0, 0, false, true),
    ] {
        for kind in [ActionKind::CordonNode, ActionKind::DeletePod] {
            let told = check_at(kind, "n9", &pool(total, out, target_out), &[], 0);
            assert_eq!(
                told.is_ok(),
                allowed,
                "{kind} {total} {out} {target_out}: {told:?}"
            );
        }
    }
    let refused = check_at(ActionKind::CordonNode, "n9", &pool(10, 2, false), &[], 0);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "2 of 10 of prod/pool/h100 are out of service already, and with this one more than 20 % would be; wait until some are back"
    );
}

#[test]
fn nodes_that_were_just_taken_count_before_they_are_seen_to_be_out() {
    let place = Place {
        of: "prod/pool/h100".into(),
        total: 10,
        ..Place::default()
    };
    let mut two: Vec<Counted> = (0..2)
        .map(|i| {
            done(
                spec(ActionKind::CordonNode, "Node", &format!("n{i}")),
                "n",
                i,
            )
        })
        .collect();
    for one in &mut two {
        one.place = place.clone();
    }
    let told = check_at(ActionKind::CordonNode, "n9", &place, &two, 301);
    assert!(matches!(told, Err(LimitReached::Taken { taken: 1, .. })) || told.is_ok());
    let told = check_at(ActionKind::CordonNode, "n9", &place, &two, 300);
    assert!(told.is_err(), "{told:?}");
}

#[test]
fn while_one_region_is_worked_on_no_other_is_touched() {
    let of = |region: &str| Place {
        region: region.into(),
        ..Place::default()
    };
    let mut one = [done(
        spec(ActionKind::DeletePod, "Pod", "a-0"),
        "prod/ml/a-1",
        0,
    )];
    one[0].place = of("eu-west-1");
    one[0].state = ExecutionState::Started;
    assert_eq!(
        check_at(ActionKind::DeletePod, "a-1", &of("us-east-1"), &one, 4000),
        Err(LimitReached::OtherRegion {
            region: "eu-west-1".into()
        })
    );
    assert_eq!(
        check_at(ActionKind::DeletePod, "a-1", &of("eu-west-1"), &one, 4000),
        Ok(())
    );
    one[0].state = ExecutionState::Verified;
    assert_eq!(
        check_at(ActionKind::DeletePod, "a-1", &of("us-east-1"), &one, 4000),
        Ok(())
    );
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
