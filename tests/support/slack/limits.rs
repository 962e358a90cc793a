//! What Slack refuses about the form of a message.

use serde_json::Value;

/// Block text of one message that surely passes; Slack refuses somewhere above.
const TOTAL: usize = 11_000;

/// The code and the words with which Slack refuses a message, if it does.
pub(crate) fn refusal(message: &Value, is_update: bool) -> Option<(&'static str, String)> {
    let text = message["text"].as_str().unwrap_or_default();
    let no_blocks = Vec::new();
    let blocks = message["blocks"].as_array().unwrap_or(&no_blocks);
    if text.is_empty() && blocks.is_empty() {
        return Some(("no_text", String::new()));
    }
    if is_update && units(text) > 4_000 {
        return Some(("msg_too_long", String::new()));
    }
    if blocks.len() > 50 {
        return Some((
            "invalid_blocks",
            "[ERROR] no more than 50 items allowed [json-pointer:/blocks]".to_owned(),
        ));
    }
    let mut total = 0;
    let mut ids = std::collections::HashSet::new();
    for (index, block) in blocks.iter().enumerate() {
        let bad = |what: &str| {
            Some((
                "invalid_blocks",
                format!("[ERROR] {what} [json-pointer:/blocks/{index}]"),
            ))
        };
        if let Some(id) = block["block_id"].as_str()
            && !ids.insert(id.to_owned())
        {
            return bad("duplicate block_id");
        }
        let mut texts: Vec<(&Value, usize)> = Vec::new();
        match block["type"].as_str() {
            Some("section") => {
                if block["text"].is_null() && block["fields"].is_null() {
                    return bad("text or fields required");
                }
                texts.extend(Some((&block["text"], 3_000)).filter(|(text, _)| !text.is_null()));
                let fields = block["fields"].as_array().into_iter().flatten();
                texts.extend(fields.map(|field| (field, 2_000)));
                if texts.len() > 11 {
                    return bad("too many fields");
                }
            }
            Some("header") => texts.push((&block["text"], 150)),
            Some("context") => {
                let elements = block["elements"].as_array().map_or(&[][..], Vec::as_slice);
                if !(1..=10).contains(&elements.len()) {
                    return bad("1 to 10 elements");
                }
                texts.extend(elements.iter().map(|element| (element, 3_000)));
            }
            Some("actions") => {
                let elements = block["elements"].as_array().map_or(&[][..], Vec::as_slice);
                let actions: std::collections::HashSet<&str> = elements
                    .iter()
                    .filter_map(|element| element["action_id"].as_str())
                    .collect();
                if !(1..=25).contains(&elements.len()) || actions.len() < elements.len() {
                    return bad("1 to 25 elements with action ids of their own");
                }
                for element in elements {
                    texts.push((&element["text"], 75));
                    if units(element["value"].as_str().unwrap_or_default()) > 2_000 {
                        return bad("value too long");
                    }
                    if element["confirm"].is_object() {
                        texts.push((&element["confirm"]["text"], 300));
                    }
                }
            }
            Some("divider") => {}
            _ => return bad("unsupported type"),
        }
        for (text, most) in texts {
            let length = units(text["text"].as_str().unwrap_or_default());
            if !(1..=most).contains(&length) {
                return bad(&format!("must be 1 to {most} characters"));
            }
            total += length;
        }
    }
    (total > TOTAL).then(|| ("msg_blocks_too_long", String::new()))
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}
