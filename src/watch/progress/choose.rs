//! Which running jobs are read in a round, and how fast, where not all can be. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::estate::progress::Progress;

/// A job that was never read counts as if it had been this long ago.
const NEVER: SignedDuration = SignedDuration::from_mins(10);
/// From this part of the time to a hang on, a silence is worth a closer look.
const PART_OF_A_HANG: i32 = 4;
/// A silent job is read so many times as often as one that speaks.
const SILENT: f64 = 4.0;
/// One whose GPUs are seen to work can wait.
const WORKING: f64 = 0.5;

/// How long a job had been silent when it was last read.
pub(super) fn quiet_for(progress: &Progress) -> SignedDuration {
    match (progress.read, progress.last_line()) {
        (Some(read), Some(line)) => read.duration_since(line),
        (Some(_) | None, Some(_) | None) => SignedDuration::ZERO,
    }
}

/// How much a job wants to be read: the longer ago it was, the more, and faster where it seems silent or holds many
/// GPUs. It grows with time alone, so that nobody waits for ever.
pub(super) fn urgency(progress: &Progress, gpus: f64, hang: SignedDuration, now: Timestamp) -> f64 {
    let age = progress
        .read
        .map_or(NEVER, |read| now.duration_since(read))
        .max(SignedDuration::from_secs(1));
    let held = (1.0 + gpus.max(0.0)).log2().max(1.0);
    let silent = quiet_for(progress) >= hang / PART_OF_A_HANG;
    let works = progress.gpus.as_ref().is_some_and(|used| {
        !used.pods.is_empty() && used.pods.values().all(|pod| !pod.idle() && !pod.pinned())
    });
    let worth = match (silent, works) {
        (true, _) => SILENT,
        (false, true) => WORKING,
        (false, false) => 1.0,
    };
    age.as_secs_f64() * held * worth
}

/// How many questions one cluster is asked in a round at most.
pub(super) fn most_questions(every: Duration, fastest: Duration) -> usize {
    let most = every.as_millis() / fastest.as_millis().max(1);
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}

/// The time between two questions by which so many fill a round, within bounds.
pub(super) fn pace(
    questions: usize,
    every: Duration,
    fastest: Duration,
    slowest: Duration,
) -> Duration {
    let even = every / u32::try_from(questions).unwrap_or(u32::MAX).max(1);
    let fastest = fastest.max(Duration::from_millis(1));
    even.clamp(fastest, slowest.max(fastest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANG: SignedDuration = SignedDuration::from_mins(15);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
    }

    /// Read at `read`, with its last line at `line`.
    fn progress(read: i64, line: i64) -> Progress {
        let mut progress = Progress {
            read: Some(at(read)),
            ..Progress::default()
        };
        let pod = progress.pod("train-0", "uid-0", None);
        pod.take(Some(at(line)), "loading the data");
        progress
    }

    #[test]
    fn silence_many_gpus_and_a_long_wait_come_first_and_nobody_waits_for_ever() {
        let urgency = |progress: &Progress, gpus| urgency(progress, gpus, HANG, at(60));
        let speaks = progress(0, 0);
        assert!(urgency(&progress(0, -300), 1.0) > urgency(&speaks, 1.0));
        assert!(urgency(&speaks, 512.0) > urgency(&speaks, 1.0));
        assert!(urgency(&Progress::default(), 1.0) > urgency(&speaks, 1.0));
        let silent_giant = progress(0, -300);
        assert!(
            urgency(&progress(-3_000, -3_000), 1.0) > urgency(&silent_giant, 512.0),
            "fifty rounds late"
        );
    }

    #[test]
    fn the_pace_follows_the_number_of_jobs_between_calm_and_polite() {
        let pace = |questions| {
            let (fastest, slowest) = (Duration::from_millis(50), Duration::from_millis(200));
            pace(questions, Duration::from_mins(1), fastest, slowest).as_millis()
        };
        for (questions, expected) in [(0, 200), (10, 200), (300, 200), (600, 100), (9_000, 50)] {
            assert_eq!(pace(questions), expected, "{questions} questions");
        }
        let most = most_questions(Duration::from_mins(1), Duration::from_millis(50));
        assert_eq!(most, 1_200);
    }
}
