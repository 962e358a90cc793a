//! Whose message tells a new alert: its own, a group's with a common cause, or the summary of a storm.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;

use super::settings::GroupingSettings;
use super::{Alert, AlertState, Group, GroupKey};
use crate::detect::FailureClass;

/// How the alerts of one batch are told. What is named nowhere gets a message of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// Alerts (ids) that join a group which is open.
    pub joins: Vec<(String, Vec<String>)>,
    /// Groups to found, with their members; some of them may have messages of their own already.
    pub founds: Vec<(GroupKey, Vec<String>)>,
}

/// What an alert may have in common with others, the likeliest cause first.
#[must_use]
pub fn keys(alert: &Alert) -> Vec<GroupKey> {
    let mut keys = Vec::new();
    let cluster = &alert.subject.cluster;
    if alert.class == FailureClass::Node {
        return vec![GroupKey::Node(format!("{cluster}/{}", alert.subject.name))];
    }
    if alert.class == FailureClass::Source {
        return keys;
    }
    if matches!(
        alert.failure.as_str(),
        "FailedMount" | "FailedAttachVolume" | "ProvisioningFailed" | "UnboundClaim"
    ) {
        let namespace = &alert.subject.namespace;
        keys.extend(
            alert
                .track
                .claims
                .iter()
                .map(|claim| GroupKey::Claim(format!("{cluster}/{namespace}/{claim}"))),
        );
    }
    match alert.class {
        FailureClass::CannotStart => {
            keys.extend(alert.images.iter().cloned().map(GroupKey::Image));
            if alert.failure.contains("Image") {
                keys.extend(
                    alert
                        .images
                        .iter()
                        .map(|image| GroupKey::Registry(registry(image).to_owned())),
                );
            }
        }
        FailureClass::Blocked => {
            keys.extend(
                alert
                    .subject
                    .project
                    .iter()
                    .map(|project| GroupKey::Quota(format!("{cluster}/{project}"))),
            );
        }
        FailureClass::Crashed => keys.extend(alert.images.iter().cloned().map(GroupKey::Image)),
        FailureClass::Disrupted
        | FailureClass::Degraded
        | FailureClass::Stalled
        | FailureClass::Stuck
        | FailureClass::Node
        | FailureClass::Source => {}
    }
    // A job that waits is on no node yet.
    if alert.class != FailureClass::Blocked {
        keys.extend(
            alert
                .nodes
                .iter()
                .map(|node| GroupKey::Node(format!("{cluster}/{node}"))),
        );
    }
    keys
}

/// A lost node takes everything on it along: its group begins with the first alert.
fn immediate(alert: &Alert) -> Option<GroupKey> {
    let lost = alert.class == FailureClass::Node
        || matches!(alert.failure.as_str(), "NodeLost" | "NodeNotReady");
    if !lost {
        return None;
    }
    keys(alert)
        .into_iter()
        .find(|key| matches!(key, GroupKey::Node(_)))
}

/// Places the `new` alerts of one batch. `recent` are the alerts opened within the window before, `groups` those open.
#[must_use]
pub fn group(
    new: &[Alert],
    recent: &[Alert],
    groups: &[Group],
    settings: &GroupingSettings,
    now: Timestamp,
) -> Grouping {
    let mut grouping = Grouping::default();
    let mut waiting: Vec<&Alert> = new.iter().collect();
    let within = |since: Timestamp, window| now.duration_since(since) <= window;
    let mut messages = recent
        .iter()
        .filter(|alert| alert.track.own_message && within(alert.opened, settings.storm_window))
        .count();
    let mut founded = groups
        .iter()
        .filter(|group| within(group.opened, settings.storm_window))
        .count();

    // Recent alerts that stand alone.
    let alone: Vec<&Alert> = recent
        .iter()
        .filter(|a| {
            a.group_id.is_none()
                && a.track.own_message
                && a.state != AlertState::Resolved
                && within(a.opened, settings.window)
        })
        .collect();

    // A lost node makes its group at once, so that what runs on it can join in the same batch. What was told of it just
    // before joins too.
    for alert in new {
        if let Some(key) = immediate(alert)
            && founded < settings.own_messages
            && !groups
                .iter()
                .any(|group| joinable(group, &key, settings, now))
            && !grouping.founds.iter().any(|(known, _)| *known == key)
        {
            let before = alone.iter().filter(|alert| keys(alert).contains(&key));
            let before = before.map(|alert| alert.id.clone()).collect();
            grouping.founds.push((key, before));
            founded += 1;
        }
    }
    waiting.retain(|alert| {
        for key in keys(alert) {
            if let Some((_, members)) = grouping.founds.iter_mut().find(|(known, _)| *known == key)
            {
                members.push(alert.id.clone());
                return false;
            }
            if let Some(open) = groups
                .iter()
                .find(|group| joinable(group, &key, settings, now))
            {
                join(&mut grouping.joins, &open.id, &alert.id);
                return false;
            }
        }
        true
    });

    // Then whatever most of the rest have in common, together with recent alerts that stand alone.
    let alone: Vec<&Alert> = alone
        .into_iter()
        .filter(|alert| !grouping.founds.iter().any(|(_, m)| m.contains(&alert.id)))
        .collect();
    while founded < settings.own_messages {
        let Some((key, members)) = largest_in_common(&alone, &waiting, settings.least) else {
            break;
        };
        waiting.retain(|alert| !members.contains(&alert.id));
        grouping.founds.push((key, members));
        founded += 1;
    }

    // The rest get messages of their own, as many as a channel can bear.
    let mut storm = Vec::new();
    for alert in waiting {
        if messages + founded < settings.own_messages {
            messages += 1;
        } else {
            storm.push(alert.id.clone());
        }
    }
    if !storm.is_empty() {
        let key = GroupKey::Storm("alerts".to_owned());
        match groups
            .iter()
            .find(|group| joinable(group, &key, settings, now))
        {
            Some(open) => storm
                .iter()
                .for_each(|id| join(&mut grouping.joins, &open.id, id)),
            None => grouping.founds.push((key, storm)),
        }
    }
    grouping
}

/// The key that most alerts share, at least `least` of them and one of them `waiting`, with their ids. Among equals
/// that which is the likelier cause for its members.
fn largest_in_common(
    alone: &[&Alert],
    waiting: &[&Alert],
    least: usize,
) -> Option<(GroupKey, Vec<String>)> {
    let mut shared: HashMap<GroupKey, Shared> = HashMap::new();
    for (alert, new) in alone
        .iter()
        .map(|a| (a, false))
        .chain(waiting.iter().map(|a| (a, true)))
    {
        for (rank, key) in keys(alert).into_iter().enumerate() {
            let common = shared.entry(key).or_default();
            if common.members.last() != Some(&alert.id) {
                common.members.push(alert.id.clone());
                common.ranks += rank;
                common.new |= new;
            }
        }
    }
    shared
        .into_iter()
        .filter(|(_, common)| common.new && common.members.len() >= least)
        .max_by_key(|(key, common)| {
            (
                common.members.len(),
                Reverse(common.ranks),
                Reverse(format!("{key:?}")),
            )
        })
        .map(|(key, common)| (key, common.members))
}

/// Alerts that share a key.
#[derive(Default)]
struct Shared {
    members: Vec<String>,
    /// Sum of the places that the key has among its members' likely causes.
    ranks: usize,
    new: bool,
}

/// Whether an alert with `key` still belongs to `group`: a node's for as long as it is open, others while they grow.
fn joinable(group: &Group, key: &GroupKey, settings: &GroupingSettings, now: Timestamp) -> bool {
    group.key == *key
        && group.resolved.is_none()
        && (matches!(key, GroupKey::Node(_))
            || now.duration_since(group.updated) <= settings.window)
}

fn join(joins: &mut Vec<(String, Vec<String>)>, group: &str, alert: &str) {
    match joins.iter_mut().find(|(id, _)| id == group) {
        Some((_, members)) => members.push(alert.to_owned()),
        None => joins.push((group.to_owned(), vec![alert.to_owned()])),
    }
}

/// The registry of an image reference; images without one come from Docker Hub.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        Some(_) | None => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::alert::lifecycle::{Birth, open};
    use crate::alert::report::tests::{at, report, symptom};

    fn alert(
        n: usize,
        class: FailureClass,
        state: &str,
        node: Option<&str>,
        image: Option<&str>,
    ) -> Alert {
        let mut seen = symptom(class, state, 0);
        seen.node = node.map(str::to_owned);
        seen.image = image.map(str::to_owned);
        let birth = Birth {
            id: format!("a{n:02}"),
            number: i64::try_from(n).expect("small"),
            job_id: format!("j{n}"),
            severity: Severity::Medium,
            demo: false,
        };
        open(birth, &report(&format!("job-{n}"), vec![seen]), at(0))
            .expect("a failure")
            .0
    }

    fn grouped(new: &[Alert], recent: &[Alert], groups: &[Group]) -> Grouping {
        group(new, recent, groups, &GroupingSettings::default(), at(10))
    }

    fn told_alone(mut alert: Alert) -> Alert {
        alert.track.own_message = true;
        alert
    }

    #[test]
    fn two_failures_on_one_node_stand_alone_and_the_third_makes_a_group_of_all() {
        let on_node = |n| alert(n, FailureClass::Crashed, "Error", Some("gpu-1"), None);
        assert_eq!(
            grouped(&[on_node(1), on_node(2)], &[], &[]),
            Grouping::default()
        );
        let recent = [told_alone(on_node(1)), told_alone(on_node(2))];
        let grouping = grouped(&[on_node(3)], &recent, &[]);
        let members = vec!["a01".to_owned(), "a02".to_owned(), "a03".to_owned()];
        assert_eq!(
            grouping.founds,
            [(GroupKey::Node("prod/gpu-1".to_owned()), members)]
        );
    }

    #[test]
    fn a_lost_node_makes_a_group_from_the_first_and_takes_its_jobs() {
        let mut node = alert(1, FailureClass::Node, "NodeNotReady", None, None);
        node.subject.name = "gpu-1".to_owned();
        let crashed = alert(2, FailureClass::Crashed, "Error", Some("gpu-1"), None);
        let elsewhere = alert(3, FailureClass::Crashed, "Error", Some("gpu-2"), None);
        let grouping = grouped(&[crashed, node, elsewhere], &[], &[]);
        let members = vec!["a02".to_owned(), "a01".to_owned()];
        assert_eq!(
            grouping.founds,
            [(GroupKey::Node("prod/gpu-1".to_owned()), members)]
        );
    }

    #[test]
    fn what_failed_on_a_node_just_before_it_was_lost_joins_it() {
        let mut node = alert(5, FailureClass::Node, "NodeNotReady", None, None);
        node.subject.name = "gpu-1".to_owned();
        let on = |n, node| alert(n, FailureClass::Crashed, "Error", Some(node), None);
        let recent = [
            told_alone(on(1, "gpu-1")),
            told_alone(on(2, "gpu-2")),
            // Silenced: nobody is told of it yet.
            on(3, "gpu-1"),
        ];
        let grouping = grouped(&[node], &recent, &[]);
        let members = vec!["a01".to_owned(), "a05".to_owned()];
        assert_eq!(
            grouping.founds,
            [(GroupKey::Node("prod/gpu-1".to_owned()), members)]
        );
    }

    #[test]
    fn a_registry_that_is_down_groups_jobs_of_different_images() {
        let pull = |n: usize| {
            let image = format!("registry.corp:5000/team/app-{n}:1");
            alert(
                n,
                FailureClass::CannotStart,
                "ImagePullBackOff",
                None,
                Some(&image),
            )
        };
        let grouping = grouped(&[pull(1), pull(2), pull(3)], &[], &[]);
        assert_eq!(grouping.founds.len(), 1);
        assert_eq!(
            grouping.founds[0].0,
            GroupKey::Registry("registry.corp:5000".to_owned())
        );
    }

    #[test]
    fn forty_unrelated_failures_give_three_messages_and_one_summary_with_all_others() {
        let all: Vec<Alert> = (0..40)
            .map(|n| alert(n, FailureClass::Crashed, "Error", None, None))
            .collect();
        let grouping = grouped(&all, &[], &[]);
        assert_eq!(grouping.founds.len(), 1);
        assert!(matches!(grouping.founds[0].0, GroupKey::Storm(_)));
        assert_eq!(grouping.founds[0].1.len(), 37);
    }

    #[test]
    fn a_storm_that_goes_on_keeps_to_its_summary() {
        let storm = Group {
            id: "g".to_owned(),
            key: GroupKey::Storm("alerts".to_owned()),
            opened: at(0),
            updated: at(0),
            resolved: None,
            members: vec![],
        };
        let recent: Vec<Alert> = (0..3)
            .map(|n| told_alone(alert(n, FailureClass::Crashed, "Error", None, None)))
            .collect();
        let more = [alert(50, FailureClass::Crashed, "Error", None, None)];
        let grouping = grouped(&more, &recent, std::slice::from_ref(&storm));
        assert_eq!(grouping.joins, [("g".to_owned(), vec!["a50".to_owned()])]);
        assert!(grouping.founds.is_empty());
    }

    #[test]
    fn a_dozen_lost_nodes_do_not_make_a_dozen_messages() {
        let nodes: Vec<Alert> = (0..12)
            .map(|n| {
                let mut node = alert(n, FailureClass::Node, "NodeNotReady", None, None);
                node.subject.name = format!("gpu-{n}");
                node
            })
            .collect();
        let grouping = grouped(&nodes, &[], &[]);
        let storms = grouping
            .founds
            .iter()
            .filter(|(key, _)| matches!(key, GroupKey::Storm(_)))
            .count();
        assert_eq!((grouping.founds.len(), storms), (4, 1));
        assert_eq!(
            grouping
                .founds
                .iter()
                .map(|(_, members)| members.len())
                .sum::<usize>(),
            12,
            "none is lost"
        );
    }

    #[test]
    fn the_registry_of_an_image_is_its_host() {
        assert_eq!(registry("nvcr.io/nvidia/pytorch:24.01"), "nvcr.io");
        assert_eq!(registry("library/busybox"), "docker.io");
        assert_eq!(registry("busybox"), "docker.io");
        assert_eq!(registry("localhost/app"), "localhost");
    }
}
