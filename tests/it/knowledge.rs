//! What the bot knows of failures, as people look it up, and a file of their own checked before it is used.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::bot::run;

fn knowledge(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let arguments: Vec<&str> = ["knowledge"].iter().chain(arguments).copied().collect();
    run(&arguments, folder, &BTreeMap::new())
}

fn parsed(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn failures_are_listed_searched_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let (code, output, _) = knowledge(folder.path(), &["list"]);
    assert_eq!(code, 0);
    for wanted in ["1. Exit codes", "cuda_oom", "NVIDIA Xids", "xid_79"] {
        assert!(output.contains(wanted), "{wanted}: {output}");
    }
    let (code, output, _) = knowledge(folder.path(), &["search", "shared", "memory", "--json"]);
    assert_eq!(code, 0);
    let items = parsed(&output)["items"].as_array().unwrap().clone();
    assert!(
        items.iter().any(|item| item["id"] == "shm_exhausted"),
        "{output}"
    );
    let (code, output, _) = knowledge(folder.path(), &["search", "no-such-word-anywhere"]);
    assert_eq!(code, 1);
    assert!(output.contains("No failure fits"), "{output}");

    let (code, output, _) = knowledge(folder.path(), &["show", "host_oom"]);
    assert_eq!(code, 0);
    for wanted in ["Out of memory (container limit)", "What to do", "OOMKilled"] {
        assert!(output.contains(wanted), "{wanted}: {output}");
    }
    let (code, _, errors) = knowledge(folder.path(), &["show", "host_ooom"]);
    assert_eq!(code, 1);
    assert!(errors.contains("did you mean host_oom"), "{errors}");

    let (code, output, _) = knowledge(folder.path(), &["xid", "79"]);
    assert_eq!(code, 0);
    assert!(output.contains("GPU fell off the bus"), "{output}");
    assert!(output.contains("take it out"), "{output}");
    let (code, _, errors) = knowledge(folder.path(), &["xid", "7"]);
    assert_eq!(code, 1);
    assert!(errors.contains("Xid 7 is not in the table"), "{errors}");
}

#[test]
fn a_file_is_checked_and_its_mistake_told_with_line_column_and_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ours.yaml");
    let good = "version: 1\nfailures:\n  - id: licence_seats\n    title: All seats are taken\n    safety: human\n    \
                cause: No seat is left.\n    advice: Wait.\n    source: us\n    signs: [{log: 'no seat left'}]\n";
    std::fs::write(&file, good).unwrap();
    let path = file.display().to_string();
    let (code, output, _) = knowledge(folder.path(), &["check", &path]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("New failures: licence_seats"), "{output}");

    for (wrong, place, hint) in [
        (
            good.replace("advice:", "advise:"),
            ":7:",
            "did you mean `advice`?",
        ),
        (good.replace("{log:", "{lgo:"), ":9:", "did you mean `log`?"),
        (
            good.replace("safety: human", "safety: humn"),
            ":5:13:",
            "did you mean `human`?",
        ),
        (
            good.replace("'no seat left'", "'(no seat'"),
            ":9:19:",
            "not a regular expression",
        ),
        (
            good.replace("source: us", "source: us\n    over: [cuda_ooom]"),
            ":9:12:",
            "did you mean `cuda_oom`?",
        ),
    ] {
        std::fs::write(&file, &wrong).unwrap();
        let (code, output, errors) = knowledge(folder.path(), &["check", &path]);
        assert_eq!(code, 2, "{wrong}: {output}{errors}");
        assert!(errors.contains(&format!("ours.yaml{place}")), "{errors}");
        assert!(errors.contains(hint), "{errors}");
        let (code, output, _) = knowledge(folder.path(), &["check", &path, "--json"]);
        assert_eq!(code, 2);
        let told = parsed(&output);
        assert_eq!(told["ok"], false);
        assert!(told["line"].is_u64() && told["column"].is_u64(), "{told}");
    }
    let (code, _, errors) = knowledge(folder.path(), &["check", "/no/such/file.yaml"]);
    assert_eq!(code, 2);
    assert!(errors.contains("cannot read"), "{errors}");
}
