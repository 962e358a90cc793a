//! What a full cycle of watching costs, from 100 to 100,000 objects: CPU, time and memory of the watching side.
//!
//! `cargo bench --bench estate_cycle [-- SIZE…]`. Two tables:
//! - Run:AI workloads: the first sweep over all pages, a sweep that asks only for changes, and a sweep over all pages
//!   in which nothing changed;
//! - Kubernetes pods: the list, ten seconds in which nothing happens, and what one changed pod costs.
//!
//! The poller or watcher, its client and the pipeline are the real ones: pages come over HTTP, are decoded, joined in
//! the estate, and judged, with SQLite on disk. The server is a process of its own (this program again), so that
//! neither its CPU nor its memory is counted, and each size is measured in a fresh process. Nothing fails in this
//! estate: what an alert costs is measured elsewhere.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod meter;
mod server;
mod watch;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let size = |text: &str| text.parse().expect("a number of objects");
    match words.as_slice() {
        ["serve", objects] => server::serve(size(objects)),
        ["watch-workloads", server, objects] => watch::workloads(server, size(objects)),
        ["watch-pods", server, objects] => watch::pods(server, size(objects)),
        _ => {
            let mut sizes: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
            if sizes.is_empty() {
                sizes = SIZES.to_vec();
            }
            tables(&sizes);
        }
    }
}

fn tables(sizes: &[usize]) {
    println!(
        "Run:AI workloads (a sweep of changes finds {}):",
        server::CHANGED
    );
    println!(
        "{:>8} | {:>16} | {:>16} | {:>16} | {:>12}",
        "objects", "first sweep", "changes", "nothing changed", "memory MB"
    );
    println!(
        "{:>8} | {:>8}{:>8} | {:>8}{:>8} | {:>8}{:>8} | {:>6}{:>6}",
        "", "CPU s", "wall s", "CPU s", "wall s", "CPU s", "wall s", "peak", "start"
    );
    for size in sizes {
        measure("watch-workloads", *size);
    }
    println!("\nKubernetes pods ({} changes):", server::PODS_CHANGED);
    println!(
        "{:>8} | {:>16} | {:>16} | {:>16} | {:>12}",
        "objects", "list", "10 s of nothing", "one change", "memory MB"
    );
    println!(
        "{:>8} | {:>8}{:>8} | {:>16} | {:>16} | {:>6}{:>6}",
        "", "CPU s", "wall s", "CPU s", "CPU µs", "peak", "start"
    );
    for size in sizes {
        measure("watch-pods", *size);
    }
}

/// One line of a table: a server, and a watching process that prints what it measured of itself.
fn measure(what: &str, size: usize) {
    let mut server = child(&["serve", &size.to_string()]);
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let address = lines.next().expect("an address").expect("text");
    let watched = child(&[what, &address, &size.to_string()]).wait_with_output();
    let _ = server.kill();
    let _ = server.wait();
    let watched = watched.expect("the watching process ran");
    assert!(watched.status.success(), "the watching process failed");
    print!("{size:>8} | {}", String::from_utf8_lossy(&watched.stdout));
}

fn child(arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts again")
}
