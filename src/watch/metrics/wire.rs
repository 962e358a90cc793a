//! The answers of the query API as types. Sample values are strings there, and may be `NaN` or infinite.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::MetricsError;
use super::transport::excerpt;

/// What a query found. No series is not zero: it is not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered<T> {
    pub found: Vec<T>,
    /// Told with a success: the answer may be partial.
    pub warnings: Vec<String>,
}

/// The labels of a series, its name as `__name__`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first of these labels that is there and not empty.
    #[must_use]
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names
            .iter()
            .find_map(|name| self.get(name).filter(|value| !value.is_empty()))
    }

    /// The metric's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.get("__name__").unwrap_or_default()
    }
}

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: Timestamp,
    pub value: f64,
}

/// One series with its value at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Labels,
    pub point: Point,
}

/// One series with its values over time, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: Labels,
    pub points: Vec<Point>,
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (seconds, value): (f64, Number) = Deserialize::deserialize(deserializer)?;
        // The API counts in milliseconds.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float beyond the range saturates, and then is no timestamp"
        )]
        let milliseconds = (seconds * 1000.0).round() as i64;
        Ok(Self {
            at: Timestamp::from_millisecond(milliseconds).map_err(D::Error::custom)?,
            value: value.0,
        })
    }
}

/// A number written as a string; some servers that imitate the API write it plainly.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Plain(f64),
        }
        match Written::deserialize(deserializer)? {
            Written::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
            Written::Plain(number) => Ok(Self(number)),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: Status,
    data: Option<Data>,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<WireSample>),
    Matrix(Vec<WireSeries>),
    Scalar(Point),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct WireSample {
    #[serde(default)]
    metric: Labels,
    /// Absent where the sample is a native histogram, which no fact of ours is.
    value: Option<Point>,
}

#[derive(Deserialize)]
struct WireSeries {
    #[serde(default)]
    metric: Labels,
    #[serde(default)]
    values: Vec<Point>,
}

fn open(body: &[u8]) -> Result<(Data, Vec<String>), MetricsError> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| MetricsError::Malformed {
            reason: format!("{error}; it begins with `{}`", excerpt(body)),
        })?;
    match (envelope.status, envelope.data) {
        (Status::Success, Some(data)) => Ok((data, envelope.warnings)),
        (Status::Success, None) => Err(malformed("a success without data")),
        // Some proxies turn every status into 200.
        (Status::Error, _) => Err(MetricsError::Refused {
            kind: envelope.error_type,
            message: envelope.error,
        }),
    }
}

fn malformed(reason: &str) -> MetricsError {
    MetricsError::Malformed {
        reason: reason.to_owned(),
    }
}

pub(super) fn samples(body: &[u8]) -> Result<Answered<Sample>, MetricsError> {
    let (data, warnings) = open(body)?;
    let found = match data {
        Data::Vector(samples) => samples
            .into_iter()
            .filter_map(|sample| {
                Some(Sample {
                    labels: sample.metric,
                    point: sample.value?,
                })
            })
            .collect(),
        Data::Scalar(point) => vec![Sample {
            labels: Labels::default(),
            point,
        }],
        Data::Matrix(_) => return Err(malformed("a range of values where one was asked for")),
        Data::String(_) => return Err(malformed("a text where numbers were asked for")),
    };
    Ok(Answered { found, warnings })
}

pub(super) fn series(body: &[u8]) -> Result<Answered<Series>, MetricsError> {
    let (data, warnings) = open(body)?;
    let found = match data {
        Data::Matrix(series) => series
            .into_iter()
            .map(|series| Series {
                labels: series.metric,
                points: series.values,
            })
            .filter(|series| !series.points.is_empty())
            .collect(),
        Data::Vector(_) | Data::Scalar(_) => {
            return Err(malformed("one value where a range was asked for"));
        }
        Data::String(_) => return Err(malformed("a text where numbers were asked for")),
    };
    Ok(Answered { found, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_strings_and_may_be_no_numbers() {
        let body = br#"{"status":"success","warnings":["partial response"],"data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"x"},"value":[1435781451.781,"1"]},
            {"metric":{},"value":[1435781451,"NaN"]},
            {"metric":{},"value":[1435781451,"+Inf"]},
            {"metric":{"__name__":"h"},"histogram":[1435781451,{"count":"1"}]}]}}"#;
        let answered = samples(body).unwrap();
        assert_eq!(answered.warnings, ["partial response"]);
        assert_eq!(answered.found.len(), 3, "a native histogram is no number");
        assert_eq!(answered.found[0].labels.name(), "up");
        assert_eq!(
            answered.found[0].point.at.as_millisecond(),
            1_435_781_451_781
        );
        assert!(answered.found[1].point.value.is_nan());
        assert!(answered.found[2].point.value.is_infinite());
    }

    #[test]
    fn scalars_and_ranges_are_read_where_they_were_asked_for() {
        let scalar = br#"{"data":{"result":[1,"2.5"],"resultType":"scalar"},"status":"success"}"#;
        assert!((samples(scalar).unwrap().found[0].point.value - 2.5).abs() < 1e-9);
        assert!(series(scalar).is_err());
        let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"gpu":"0"},"values":[[1,"2"],[2,"3"]]},{"metric":{"gpu":"1"},"values":[]}]}}"#;
        let found = series(matrix).unwrap().found;
        assert_eq!((found.len(), found[0].points.len()), (1, 2));
    }

    #[test]
    fn what_is_not_an_answer_is_an_error_with_its_beginning() {
        let error = samples(b"<html>log in</html>").unwrap_err();
        assert!(error.to_string().contains("<html>log in"), "{error}");
        for broken in [
            br#"{"status":"success"}"#.as_slice(),
            br#"{"status":"success","data":{"resultType":"vector","result":[{"value":[1e300,"1"]}]}}"#,
            br#"{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"many"]}]}}"#,
        ] {
            assert!(matches!(samples(broken), Err(MetricsError::Malformed { .. })));
        }
        let refused = br#"{"status":"error","errorType":"execution","error":"too many samples"}"#;
        assert!(matches!(
            samples(refused),
            Err(MetricsError::Refused { .. })
        ));
    }
}
