//! Which global rank failed, and which one the others waited for.

use std::collections::BTreeMap;

use super::Case;
use crate::diagnose::Role;
use crate::diagnose::hit::Tier;
use crate::diagnose::logs::FirstObserved;
use crate::estate::Pod;

impl Case<'_> {
    /// The global rank that failed in this pod.
    pub(super) fn rank_of(
        &self,
        name: &str,
        pod: Option<&Pod>,
        block: Option<&FirstObserved>,
        late: Option<u32>,
    ) -> Option<u32> {
        let logged = self
            .hits
            .iter()
            .filter(|hit| {
                hit.pod.as_deref() == Some(name)
                    && !hit.weak
                    && hit.tier == Tier::Log
                    && hit.rank.is_some()
            })
            .min_by_key(|hit| (self.row(hit).role != Role::Root, hit.at, hit.order))
            .filter(|hit| self.row(hit).role == Role::Root);
        if let Some(hit) = logged {
            return hit.rank;
        }
        let per_pod = self.ranks_per_pod(pod);
        let pod_rank = pod.and_then(|pod| pod.rank);
        let within = |rank: u32| pod_rank.is_none_or(|pod| rank / per_pod.max(1) == pod);
        if let Some(rank) = block.and_then(|block| block.rank)
            && block
                .and_then(|block| block.host.as_deref())
                .is_none_or(|host| {
                    host == name || host.starts_with(&format!("{name}.")) || within(rank)
                })
        {
            return Some(rank);
        }
        if let Some(late) =
            late.filter(|late| self.pod_of_rank(*late).is_some_and(|pod| pod.name == name))
        {
            return Some(late);
        }
        // With several ranks in a pod, its own number says only which ranks it may have been.
        if per_pod <= 1 { pod_rank } else { None }
    }

    /// How many ranks a pod holds: one per GPU, unless its log shows otherwise.
    fn ranks_per_pod(&self, pod: Option<&Pod>) -> u32 {
        let highest = self.ranks.iter().max().map_or(0, |rank| rank + 1);
        let pods = u32::try_from(self.evidence.pods.len())
            .unwrap_or(u32::MAX)
            .max(1);
        if highest > pods && highest.is_multiple_of(pods) {
            return highest / pods;
        }
        let gpus = pod.map_or(0.0, |pod| pod.gpus);
        // GPUs per pod are a small whole number where they are more than one.
        (2u32..=64)
            .rev()
            .find(|count| f64::from(*count) <= gpus)
            .unwrap_or(1)
    }

    pub(super) fn pod_of_rank(&self, rank: u32) -> Option<&Pod> {
        let per_pod = self.ranks_per_pod(self.evidence.pods.first());
        self.evidence
            .pods
            .iter()
            .find(|pod| pod.rank == Some(rank / per_pod.max(1)))
    }

    /// The rank that the others waited for: absent from their reports, or furthest behind.
    pub(super) fn late_rank(&self) -> Option<u32> {
        if self.timeouts.is_empty() {
            return None;
        }
        let mut behind: BTreeMap<u32, u64> = BTreeMap::new();
        for report in &self.timeouts {
            let sequence = report.sequence.unwrap_or(u64::MAX);
            let known = behind.entry(report.rank).or_insert(sequence);
            *known = (*known).min(sequence);
        }
        let pods = u32::try_from(self.evidence.pods.len()).ok()?;
        let world = (pods * self.ranks_per_pod(self.evidence.pods.first()))
            .max(behind.keys().max().map_or(0, |rank| rank + 1));
        let absent: Vec<u32> = (0..world)
            .filter(|rank| !behind.contains_key(rank))
            .collect();
        // One that does not report is late; many that do not are logs that were not read.
        if absent.len() == 1 && behind.len() > 1 {
            return absent.first().copied();
        }
        let (rank, least) = behind.iter().min_by_key(|(_, sequence)| **sequence)?;
        let alone = behind
            .values()
            .filter(|sequence| *sequence == least)
            .count()
            == 1;
        (alone && behind.len() > 1).then_some(*rank)
    }
}
