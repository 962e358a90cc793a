use super::*;

#[test]
fn runs_of_one_job_are_one_family() {
    for (name, of) in [
        ("llm-7b", "llm-7b"),
        ("llm-7b-2", "llm-7b"),
        ("llm-7b-20260301", "llm-7b"),
        ("llm-7b-20260301-3", "llm-7b"),
        ("llm-7b-x7k2p9", "llm-7b"),
        ("llm-7b-rerun2", "llm-7b"),
        ("llm_7b_v3", "llm-7b"),
        ("resnet50", "resnet50"),
        ("bert-large", "bert-large"),
        ("2026", "2026"),
    ] {
        assert_eq!(family(name), of, "{name}");
    }
}
