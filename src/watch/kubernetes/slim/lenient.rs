//! Decoding that takes what fits and lets the rest be absent. Only broken JSON is an error.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::estate::Name;

/// A type that can be made from some shapes of JSON, and is its default for all others.
pub(in crate::watch::kubernetes) trait Lenient<'de>: Default {
    fn from_text(_text: &str) -> Self {
        Self::default()
    }

    fn from_integer(_number: i128) -> Self {
        Self::default()
    }

    fn from_bool(_value: bool) -> Self {
        Self::default()
    }

    /// # Errors
    /// When the JSON itself is broken.
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    /// # Errors
    /// When the JSON itself is broken.
    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

/// For `#[serde(deserialize_with = "lenient")]`.
pub(super) fn lenient<'de, T: Lenient<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Any<T>(PhantomData<T>);

    impl<'de, T: Lenient<'de>> Visitor<'de> for Any<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("any JSON value")
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
            Ok(T::from_bool(value))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            Ok(T::from_integer(number.into()))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            Ok(T::from_integer(number.into()))
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
            Ok(T::default())
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            Ok(T::from_text(text))
        }

        fn visit_unit<E: Error>(self) -> Result<T, E> {
            Ok(T::default())
        }

        fn visit_none<E: Error>(self) -> Result<T, E> {
            Ok(T::default())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::from_map(map)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
            T::from_list(list)
        }
    }

    deserializer.deserialize_any(Any(PhantomData))
}

/// Lets an element of a list or map be decoded leniently.
pub(super) struct Take<T>(pub(super) T);

impl<'de, T: Lenient<'de>> serde::Deserialize<'de> for Take<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lenient(deserializer).map(Self)
    }
}

impl Lenient<'_> for Option<String> {
    fn from_text(text: &str) -> Self {
        Some(text.to_owned())
    }
}

/// A word of the kind that many objects say: held once.
impl Lenient<'_> for Option<Name> {
    fn from_text(text: &str) -> Self {
        Some(Name::shared(text))
    }
}

impl Lenient<'_> for Option<u32> {
    fn from_integer(number: i128) -> Self {
        u32::try_from(number).ok()
    }
}

impl Lenient<'_> for Option<i32> {
    fn from_integer(number: i128) -> Self {
        i32::try_from(number).ok()
    }
}

impl Lenient<'_> for bool {
    fn from_bool(value: bool) -> Self {
        value
    }
}

/// An RFC 3339 time. The zero times that Kubernetes writes where it knows none (year 1, 1970-01-01) are absent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Time(pub(super) Option<Timestamp>);

impl Lenient<'_> for Time {
    fn from_text(text: &str) -> Self {
        Self(
            text.parse()
                .ok()
                .filter(|time: &Timestamp| *time > Timestamp::UNIX_EPOCH),
        )
    }
}

impl<'de, T: Lenient<'de>> Lenient<'de> for Vec<T> {
    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut elements = Self::new();
        while let Some(Take(element)) = list.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}

/// The values of a map whose keys do not matter.
#[derive(Clone, Debug)]
pub(super) struct Values<T>(pub(super) Vec<T>);

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Lenient<'de>> Lenient<'de> for Values<T> {
    fn from_map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut values = Vec::new();
        while let Some((IgnoredAny, Take(value))) = map.next_entry()? {
            values.push(value);
        }
        Ok(Self(values))
    }
}

/// Makes a struct with `#[derive(Default, Deserialize)]` lenient about being something else than an object; its fields
/// each say `#[serde(deserialize_with = "lenient")]`. `Option` of it tells absent from empty.
macro_rules! lenient_object {
    ($($name:ty),+ $(,)?) => {$(
        impl<'de> $crate::watch::kubernetes::slim::lenient::Lenient<'de> for $name {
            fn from_map<A: serde::de::MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
                serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(map))
            }
        }

        impl<'de> $crate::watch::kubernetes::slim::lenient::Lenient<'de> for Option<$name> {
            fn from_map<A: serde::de::MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
                serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Some)
            }
        }
    )+};
}
pub(super) use lenient_object;
