//! Links from an alert to elsewhere (Run:AI, Grafana, a log search), from templates of the configuration.

use std::collections::BTreeMap;

use url::Url;

use crate::alert::Alert;
use crate::chat::alert::Link;

/// What a template may name.
const PLACES: [&str; 8] = [
    "cluster",
    "project",
    "namespace",
    "job",
    "uuid",
    "owner",
    "pod",
    "node",
];

/// `https://grafana.example.com/d/gpu?var-namespace={namespace}&var-pod={pod}`, and what people read instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTemplate {
    pub label: String,
    template: String,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    #[error("is no http or https address")]
    NoAddress,
    #[error(
        "has no place `{{{0}}}`: use cluster, project, namespace, job, uuid, owner, pod or node in braces"
    )]
    NoPlace(String),
}

impl LinkTemplate {
    /// # Errors
    /// When it names what no alert has, or makes no address.
    pub fn new(label: &str, template: &str) -> Result<Self, InvalidTemplate> {
        let link = Self {
            label: label.to_owned(),
            template: template.to_owned(),
        };
        let sample = PLACES.map(|place| (place, "x")).into_iter().collect();
        let url = link
            .filled(&sample)
            .map_err(InvalidTemplate::NoPlace)?
            .and_then(|text| Url::parse(&text).ok());
        match url {
            Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(link),
            Some(_) | None => Err(InvalidTemplate::NoAddress),
        }
    }

    /// The link of an alert; `None` if it names what this alert does not have.
    #[must_use]
    pub fn of(&self, alert: &Alert) -> Option<Link> {
        let subject = &alert.subject;
        let known = [
            ("cluster", Some(subject.cluster.as_str())),
            ("project", subject.project.as_deref()),
            ("namespace", Some(subject.namespace.as_str())),
            ("job", Some(subject.name.as_str())),
            ("uuid", subject.runai_id.as_deref()),
            ("owner", subject.owner.as_deref()),
            ("pod", alert.pods.first().map(String::as_str)),
            ("node", alert.nodes.first().map(String::as_str)),
        ];
        let known: BTreeMap<&str, &str> = known
            .into_iter()
            .filter_map(|(place, value)| Some((place, value.filter(|value| !value.is_empty())?)))
            .collect();
        let url = self.filled(&known).ok()??;
        Some(Link {
            label: self.label.clone(),
            url: Url::parse(&url).ok()?.to_string(),
        })
    }

    /// The template with its places filled in; `None` where one is not known, an error where it is none.
    fn filled(&self, known: &BTreeMap<&str, &str>) -> Result<Option<String>, String> {
        let mut parts = self.template.split('{');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let Some((place, rest)) = part.split_once('}') else {
                return Err(part.to_owned());
            };
            if !PLACES.contains(&place) {
                return Err(place.to_owned());
            }
            let Some(value) = known.get(place) else {
                return Ok(None);
            };
            // Whatever a job is called, it does not change where the link leads.
            filled.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
            filled.push_str(rest);
        }
        Ok(Some(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::alert::lifecycle::{Birth, open};
    use crate::alert::report::tests::{at, report, symptom};
    use crate::detect::FailureClass;

    #[test]
    fn a_link_is_made_of_what_the_alert_knows() {
        let birth = Birth {
            id: "a1".to_owned(),
            number: 1,
            job_id: "j".to_owned(),
            severity: Severity::High,
            demo: false,
        };
        let crash = symptom(FailureClass::Crashed, "OOMKilled", 0);
        let (mut alert, _) = open(birth, &report("train", vec![crash]), at(0)).expect("a failure");
        alert.subject.name = "a&b=c/../d".to_owned();
        alert.subject.runai_id = None;
        let template = |text| LinkTemplate::new("Grafana", text).expect(text);
        let link = template("https://grafana.corp/d/1?var-job={job}").of(&alert);
        assert_eq!(
            link.expect("a link").url,
            "https://grafana.corp/d/1?var-job=a%26b%3Dc%2F..%2Fd"
        );
        assert_eq!(template("https://runai.corp/w/{uuid}").of(&alert), None);
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (text, told) in [
            ("https://x/{team}", "no place `{team}`"),
            ("https://x/{job", "no place"),
            ("ftp://x/{job}", "no http"),
            ("javascript:alert(1)", "no http"),
            ("/relative", "no http"),
        ] {
            let error = LinkTemplate::new("x", text).expect_err(text).to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
