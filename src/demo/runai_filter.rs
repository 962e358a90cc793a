//! The `filterBy` grammar and sorting of the simulated Run:AI list.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::world::{SimJob, World};

/// Fields that the real API sorts and filters by, as far as the simulation knows their values.
const FIELDS: [&str; 13] = [
    "type",
    "name",
    "clusterId",
    "projectId",
    "projectName",
    "departmentName",
    "createdAt",
    "deletedAt",
    "submittedBy",
    "phase",
    "completedAt",
    "phaseUpdatedAt",
    "category",
];

const DATES: [&str; 4] = ["createdAt", "deletedAt", "completedAt", "phaseUpdatedAt"];

/// Operators, longest first where one begins another.
const OPERATORS: [(&str, Operator); 8] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("=@", Operator::Contains),
    ("!@", Operator::NotContains),
    ("=^", Operator::StartsWith),
    ("=$", Operator::EndsWith),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Contains,
    NotContains,
    StartsWith,
    EndsWith,
}

/// Conditions of which all must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters(Vec<(String, Operator, String)>);

impl Filters {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        text.split(',')
            .filter(|part| !part.is_empty())
            .map(condition)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn match_job(&self, world: &World, job: &SimJob) -> bool {
        self.0.iter().all(|(field, operator, wanted)| {
            let value = field_of(world, job, field);
            match operator {
                Operator::Equal => compare(field, &value, wanted) == Ordering::Equal,
                Operator::NotEqual => compare(field, &value, wanted) != Ordering::Equal,
                Operator::AtMost => {
                    !value.is_empty() && compare(field, &value, wanted) != Ordering::Greater
                }
                Operator::AtLeast => {
                    !value.is_empty() && compare(field, &value, wanted) != Ordering::Less
                }
                Operator::Contains => value.contains(wanted),
                Operator::NotContains => !value.contains(wanted),
                Operator::StartsWith => value.starts_with(wanted),
                Operator::EndsWith => value.ends_with(wanted),
            }
        })
    }
}

fn condition(text: &str) -> Result<(String, Operator, String), String> {
    let at = text
        .find(['=', '!', '<', '>'])
        .ok_or_else(|| format!("invalid filter: {text}"))?;
    let (field, rest) = text.split_at(at);
    let (sign, operator) = OPERATORS
        .into_iter()
        .find(|(sign, _)| rest.starts_with(sign))
        .ok_or_else(|| format!("invalid operator in filter: {text}"))?;
    if !FIELDS.contains(&field) {
        return Err(format!("invalid filter field: {field}"));
    }
    let date_operator = matches!(
        operator,
        Operator::Equal | Operator::NotEqual | Operator::AtMost | Operator::AtLeast
    );
    if DATES.contains(&field) && !date_operator {
        return Err(format!("operator {sign} is not supported for {field}"));
    }
    Ok((field.to_owned(), operator, rest[sign.len()..].to_owned()))
}

fn field_of(world: &World, job: &SimJob, field: &str) -> String {
    let date = |at: Option<Timestamp>| at.map(super::runai_model::stamp).unwrap_or_default();
    match field {
        "name" => job.spec.name.clone(),
        "projectName" => job.spec.project.clone(),
        "phase" => job.phase.as_str().to_owned(),
        "submittedBy" => job.spec.submitted_by.clone(),
        "createdAt" => date(Some(job.created)),
        "phaseUpdatedAt" => date(Some(job.phase_since)),
        "deletedAt" => date(job.deleted),
        // The rest is asked for seldom enough to take it from the rendered form.
        _ => world.workload(job)[field]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    }
}

fn compare(field: &str, value: &str, wanted: &str) -> Ordering {
    if DATES.contains(&field)
        && let (Ok(value), Ok(wanted)) = (value.parse::<Timestamp>(), wanted.parse::<Timestamp>())
    {
        return value.cmp(&wanted);
    }
    value.cmp(wanted)
}

/// Sorts by a field; without one the order of creation stays.
pub(super) fn sort(
    world: &World,
    jobs: &mut [&SimJob],
    by: &str,
    order: &str,
) -> Result<(), String> {
    match by {
        "" => {}
        // Jobs come in the order of their creation.
        "createdAt" if order != "desc" => {}
        "createdAt" => jobs.reverse(),
        "phaseUpdatedAt" => jobs.sort_by_key(|job| job.phase_since),
        _ if FIELDS.contains(&by) => jobs.sort_by_cached_key(|job| field_of(world, job, by)),
        _ => return Err(format!("invalid sort field: {by}")),
    }
    if order == "desc" && !by.is_empty() && by != "createdAt" {
        jobs.reverse();
    }
    Ok(())
}
