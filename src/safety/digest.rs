//! One text for one value: canonical JSON (keys sorted, no spaces) and its SHA-256, for approvals and the audit chain.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::action::ActionSpec;

/// Hex SHA-256 over the canonical JSON of an action: what an approval is bound to.
#[must_use]
pub fn of_action(spec: &ActionSpec) -> String {
    of(&to_value(spec))
}

/// Hex SHA-256 over the canonical JSON of `value`.
#[must_use]
pub fn of(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("an action has only text and options, which JSON can hold")
}

/// Sorts the keys itself, so that the text does not depend on how the JSON library keeps its maps.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write(&fields[key], out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::action::{ActionKind, Parameters, Target};

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let a: Value = serde_json::from_str(r#"{"b":[1,{"y":null,"x":"é"}],"a":true}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"a":true,"b":[1,{"x":"é","y":null}]}"#).unwrap();
        assert_eq!(of(&a), of(&b));
        assert_ne!(of(&a), of(&json!({"a": true})));
    }

    #[test]
    fn another_uid_is_another_action() {
        let with_uid = |uid: &str| ActionSpec {
            kind: ActionKind::DeletePod,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: "ml".into(),
                kind: "Pod".into(),
                name: "train-0".into(),
                uid: Some(uid.into()),
            },
            parameters: Parameters::default(),
            avoid_node: None,
        };
        assert_ne!(of_action(&with_uid("u1")), of_action(&with_uid("u2")));
        assert_eq!(of_action(&with_uid("u1")), of_action(&with_uid("u1")));
        assert_eq!(of_action(&with_uid("u1")).len(), 64);
    }
}
