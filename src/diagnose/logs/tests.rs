use proptest::prelude::*;

use super::*;

fn log(lines: &[&str]) -> ContainerLog {
    ContainerLog {
        pod: "p".to_owned(),
        container: "main".to_owned(),
        previous: false,
        lines: lines
            .iter()
            .map(|text| LogLine {
                at: None,
                text: (*text).to_owned(),
            })
            .collect(),
    }
}

fn found(lines: &[&str]) -> Vec<(String, bool)> {
    let knowledge = Knowledge::embedded();
    let mut found: Vec<_> = read(&log(lines), None, &knowledge)
        .hits
        .into_iter()
        .map(|hit| {
            (
                hit.order,
                knowledge.failures()[hit.failure].id.clone(),
                hit.weak,
            )
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, id, weak)| (id, weak)).collect()
}

#[test]
fn code_that_a_traceback_quotes_is_not_what_happened() {
    assert_eq!(
        found(&[
            "[rank3]: Traceback (most recent call last):",
            "[rank3]:   File \"/app/train.py\", line 9, in <module>",
            "[rank3]:     raise RuntimeError(\"CUDA out of memory\")",
            "[rank3]: mylib.errors.WeirdFailure: nothing to see",
        ]),
        [("app_exception".to_owned(), false)]
    );
}

#[test]
fn advice_is_never_a_cause() {
    for line in [
        "If you are out of memory, try reducing the batch size",
        "Hint: CUDA out of memory can be avoided with gradient checkpointing",
        "CUDA kernel errors might be asynchronously reported at some other API call",
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1",
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
        "Killed",
    ] {
        assert_eq!(found(&[line]), [], "{line}");
    }
}

#[test]
fn what_the_job_survived_is_weak() {
    let lines = [
        "CUDA out of memory, halving the batch",
        "step 10 loss 3.1",
        "step 11 loss 3.0",
        "bye",
    ];
    assert_eq!(found(&lines), [("cuda_oom".to_owned(), true)]);
    assert_eq!(found(&lines[..2]), [("cuda_oom".to_owned(), false)]);
}

#[test]
fn xids_are_told_from_pci_addresses_and_from_sxids() {
    for (line, codes) in [
        (
            "NVRM: Xid (PCI:0000:06:00): 79, pid=1234, GPU has fallen off the bus.",
            vec![79],
        ),
        ("NVRM: Xid (PCI:0000:3b:00.0): 48, DBE", vec![48]),
        ("XID 94 on GPU 3", vec![94]),
        ("Xid error 13", vec![13]),
        (
            "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal",
            vec![],
        ),
        ("txid 79", vec![]),
    ] {
        assert_eq!(xids(line), codes, "{line}");
    }
}

#[test]
fn the_block_of_torchrun_names_rank_host_and_exit_code() {
    let reading = read(
        &log(&[
            "Root Cause (first observed failure):",
            "[0]:",
            "  time      : 2026-03-02_10:41:05",
            "  host      : gang-worker-2",
            "  rank      : 17 (local_rank: 1)",
            "  exitcode  : -9 (pid: 123)",
        ]),
        None,
        &Knowledge::embedded(),
    );
    let block = reading.first_observed.unwrap();
    assert_eq!(block.rank, Some(17));
    assert_eq!(block.host.as_deref(), Some("gang-worker-2"));
    assert_eq!(block.exit_code, Some(-9));
    assert!(block.at.is_some());
}

#[test]
fn the_messages_of_json_lines_are_read_and_their_lines_shown() {
    let knowledge = Knowledge::embedded();
    let line =
        r#"{"level":"error","rank":7,"msg":"CUDA out of memory. Tried to allocate 2 GiB","ts":1}"#;
    let hits = read(&log(&["{not json", line]), None, &knowledge).hits;
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].rank, hits[0].line.as_str()), (Some(7), line));
    assert_eq!(
        found(&[r#"{"levelname":"WARNING","message":"CUDA out of memory, halving the batch"}"#]),
        [("cuda_oom".to_owned(), true)]
    );
    let logged = r#"{"severity":"ERROR","message":"boom","exc_info":"Traceback (most recent call last):\n  File \"x.py\", line 1\nmylib.Odd: nothing"}"#;
    assert_eq!(found(&[logged]), [("app_exception".to_owned(), false)]);
}

#[test]
fn an_error_between_the_states_of_a_bar_is_found() {
    let bar = "  1%| | 1/9 [00:01<00:08, 1.0it/s]\r  2%| | 2/9 [00:02<00:07, 1.0it/s]\rOSError: [Errno 28] No space left on device\r  3%| | 3/9";
    let knowledge = Knowledge::embedded();
    let hits = read(&log(&[bar]), None, &knowledge).hits;
    assert_eq!(hits[0].line, "OSError: [Errno 28] No space left on device");
}

#[test]
fn exceptions_are_found_in_chains_and_groups() {
    let chain = [
        "Traceback (most recent call last):",
        "  File \"a.py\", line 1, in f",
        "acme.Cause: first",
        "",
        "The above exception was the direct cause of the following exception:",
        "",
        "Traceback (most recent call last):",
        "  File \"b.py\", line 2, in g",
        "acme.Consequence: second",
    ];
    let knowledge = Knowledge::embedded();
    let hits = read(&log(&chain), None, &knowledge).hits;
    assert_eq!(hits[0].line, "acme.Cause: first", "{hits:?}");
    let group = [
        "  + Exception Group Traceback (most recent call last):",
        "  |   File \"a.py\", line 1, in <module>",
        "  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)",
        "  +-+---------------- 1 ----------------",
        "    | Traceback (most recent call last):",
        "    |   File \"b.py\", line 2, in g",
        "    |     raise RuntimeError(\"CUDA out of memory\")",
        "    | acme.Inner: the reason",
        "    +------------------------------------",
    ];
    let hits = read(&log(&group), None, &knowledge).hits;
    assert!(
        hits.iter()
            .all(|hit| knowledge.failures()[hit.failure].id == "app_exception"),
        "{hits:?}"
    );
    assert!(!hits.is_empty());
}

#[test]
fn the_task_of_a_labelled_log_is_the_rank() {
    let knowledge = Knowledge::embedded();
    let hits = read(
        &log(&[
            "3: step 1",
            "2: step 1",
            "3: OSError: [Errno 28] No space left on device",
        ]),
        None,
        &knowledge,
    )
    .hits;
    assert_eq!(hits[0].rank, Some(3));
    let hits = read(
        &log(&["hello", "404: No space left on device"]),
        None,
        &knowledge,
    )
    .hits;
    assert_eq!(hits[0].rank, None);
}

proptest! {
    #[test]
    fn no_log_breaks_the_reader(texts in proptest::collection::vec(
        prop_oneof![
            "\\PC{0,120}",
            any::<String>(),
            "[ |+]{0,6}Traceback \\(most recent call last\\):",
            "\\{\"msg\": ?\"\\PC{0,20}\"\\}",
            "(\\[rank[0-9]{1,3}\\]: )?CUDA out of memory\\PC{0,20}",
        ], 0..12))
    {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let knowledge = KNOWLEDGE.get_or_init(Knowledge::embedded);
        for hit in read(&log(&texts), None, knowledge).hits {
            // What is shown stood in the log.
            prop_assert!(texts.iter().any(|text| text.contains(&hit.line)), "{}", hit.line);
        }
        let _ = telling_line(&log(&texts), knowledge);
    }
}

static KNOWLEDGE: std::sync::OnceLock<Knowledge> = std::sync::OnceLock::new();
