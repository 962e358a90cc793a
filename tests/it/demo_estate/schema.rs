//! The shapes of the simulated control plane's answers against the schemas of the published API description.
//!
//! `tests/fixtures/runai-schemas.json` holds the schemas of these answers, references resolved and texts left out.

use nightbell::demo::script::{Exit, JobSpec};
use serde_json::Value;

use super::Demo;
use super::runai::get;

/// Every way in which `value` breaks `schema`, each with where.
fn breaches(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if value.is_null() {
        if schema["nullable"] != true && !schema["type"].is_null() {
            found.push(format!("{at}: null"));
        }
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some(other) => panic!("{at}: the schema has type {other}"),
        None => true,
    };
    if !fits {
        found.push(format!("{at}: {value} is not of type {}", schema["type"]));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    if schema["format"] == "date-time"
        && value
            .as_str()
            .is_none_or(|time| time.parse::<jiff::Timestamp>().is_err())
    {
        found.push(format!("{at}: {value} is no time"));
    }
    for required in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.get(required).is_none() {
            found.push(format!("{at}.{required}: missing"));
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            breaches(schema, value, &format!("{at}.{name}"), found);
        }
    }
    for (n, value) in value.as_array().into_iter().flatten().enumerate() {
        breaches(&schema["items"], value, &format!("{at}[{n}]"), found);
    }
}

#[track_caller]
fn assert_fits(name: &str, value: &Value) {
    let schemas: Value = serde_json::from_str(include_str!("../../fixtures/runai-schemas.json"))
        .expect("the schemas are JSON");
    assert!(schemas[name].is_object(), "there is a schema {name}");
    let mut found = Vec::new();
    breaches(&schemas[name], value, name, &mut found);
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn answers_have_the_shapes_of_the_published_description() {
    let demo = Demo::start().await;
    demo.run(JobSpec::distributed("demo-nlp", "gang", 2));
    demo.run(JobSpec::inference("demo-nlp", "api", 2));
    demo.run(JobSpec::workspace("demo-nlp", "notebook"));
    demo.run(JobSpec {
        gpus: 9,
        ..JobSpec::training("demo-nlp", "never-fits")
    });
    demo.estate
        .fail_job("runai-demo-nlp", "gang", &Exit::error(1), &["broken"]);

    let (_, list) = get(&demo, "/api/v1/workloads").await;
    for workload in list["workloads"].as_array().expect("workloads") {
        assert_fits("Workload", workload);
        let id = workload["id"].as_str().expect("an id");
        let at = |part: &str| format!("/api/v1/workloads/{id}{part}");
        let (_, detail) = get(&demo, &at("")).await;
        assert_fits("Workload", &detail);
        assert_fits("WorkloadDetailed", &detail);
        for (path, key, schema) in [
            ("/pods", "pods", "Pod"),
            ("/events", "events", "Event"),
            ("/history", "records", "HistoryRecord"),
        ] {
            let (_, answer) = get(&demo, &at(path)).await;
            let items = answer[key].as_array().expect("a list");
            assert!(!items.is_empty(), "{path}");
            for item in items {
                assert_fits(schema, item);
            }
        }
    }
    let (_, clusters) = get(&demo, "/api/v1/clusters").await;
    assert_fits("Cluster", &clusters[0]);
    let (_, projects) = get(&demo, "/api/v1/org-unit/projects").await;
    assert_fits("Project", &projects["projects"][0]);
}

#[test]
fn a_wrong_shape_is_noticed() {
    let schema = serde_json::json!({"type": "object", "required": ["id"], "properties": {"phase": {"type": "string", "enum": ["Running"]}}});
    let mut found = Vec::new();
    breaches(
        &schema,
        &serde_json::json!({"phase": "Jogging"}),
        "x",
        &mut found,
    );
    assert_eq!(found.len(), 2, "{found:?}");
}
