//! What this process used so far, as Linux counts it.

use std::time::Duration;

use tokio::time::sleep;

/// CPU time of all threads, user and system.
pub(crate) fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..=12]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    // Linux tells user space 100 ticks a second, whatever its own clock.
    Duration::from_millis(ticks * 10)
}

/// Memory in MB: `VmRSS`, what is held now, or `VmHWM`, the most that ever was.
pub(crate) fn megabytes(of: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let kilobytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(of)?.strip_prefix(':'))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .expect("a number of kilobytes");
    kilobytes / 1024
}

/// CPU time from `before` until nothing is being done any more.
pub(crate) async fn cpu_until_quiet(before: Duration) -> Duration {
    const QUIET: Duration = Duration::from_millis(700);
    // One tick of the clock: the pipeline looks at its own timers each second.
    const NOTHING: Duration = Duration::from_millis(10);
    let mut last = cpu();
    loop {
        sleep(QUIET).await;
        let now = cpu();
        if now.saturating_sub(last) <= NOTHING {
            return now.saturating_sub(before);
        }
        last = now;
    }
}
