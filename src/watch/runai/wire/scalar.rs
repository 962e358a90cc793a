//! Single values, whatever JSON type they come in: quantities are text in one release and numbers in the next.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::LONGEST_TEXT;
use crate::estate::Name;

/// Any JSON value, of which only a scalar is kept.
enum Scalar<'de> {
    Text(Cow<'de, str>),
    Number(f64),
    Flag(bool),
    /// Null, an object or an array.
    Absent,
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text)))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number as f64))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number as f64))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Flag(flag))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Absent)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Absent)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Absent)
            }
        }
        from.deserialize_any(Any)
    }
}

impl<'de> Scalar<'de> {
    fn into_text(self) -> Option<Cow<'de, str>> {
        match self {
            Self::Text(text) if text.is_empty() => None,
            Self::Text(text) if text.len() > LONGEST_TEXT => {
                let end = text.floor_char_boundary(LONGEST_TEXT);
                Some(text[..end].to_owned().into())
            }
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Flag(flag) => Some(flag.to_string().into()),
            Self::Absent => None,
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Number(number) => Some(*number),
            Self::Flag(_) | Self::Absent => None,
        }
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
    }
}

/// Text that is not empty, at most [`LONGEST_TEXT`] bytes.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Scalar::deserialize(from)?.into_text().map(Cow::into_owned))
}

/// As [`text`], of the kind that many objects say: held once.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Name>, D::Error> {
    let text = Scalar::deserialize(from)?.into_text();
    Ok(text.map(|text| Name::shared(&text)))
}

/// A list of words that many objects say; what is not a list is an empty one.
pub(super) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Name>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<Name>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some(element) = seq.next_element::<Scalar<'de>>()? {
                names.extend(element.into_text().map(|text| Name::shared(&text)));
            }
            Ok(names)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
    }
    from.deserialize_any(Names)
}

/// A finite number that is not negative, also when written as text.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Ok(Scalar::deserialize(from)?.as_number())
}

/// A whole number; fractions are cut off.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is finite and not negative, and `as` saturates"
)]
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Scalar::deserialize(from)?
        .as_number()
        .map(|number| number as u64))
}

pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Ok(match Scalar::deserialize(from)? {
        Scalar::Flag(flag) => Some(flag),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Number(_) | Scalar::Absent => None,
    })
}

/// An RFC 3339 time. The zero times that some servers write for "never" are absent.
pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(match Scalar::deserialize(from)? {
        Scalar::Text(text) => text
            .parse::<Timestamp>()
            .ok()
            .filter(|at| at.as_second() > 0),
        Scalar::Number(_) | Scalar::Flag(_) | Scalar::Absent => None,
    })
}
