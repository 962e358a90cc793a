use proptest::prelude::*;

use super::*;

fn alert() -> Card {
    let button = |verb, label: &str, style| Button {
        press: Press {
            verb,
            id: "0198".to_owned(),
        },
        label: label.to_owned(),
        style,
        confirm: None,
    };
    Card {
        fallback: "llm-7b (ml-team) failed: CUDA out of memory on rank 3".to_owned(),
        tone: Tone::Bad,
        blocks: vec![
            Block::Header {
                text: "llm-7b failed: CUDA out of memory".to_owned(),
            },
            Block::Text {
                spans: vec![
                    Span::Plain("Rank 3 on ".to_owned()),
                    Span::Code("gpu-node-7".to_owned()),
                    Span::Plain(" ran out of memory; owner ".to_owned()),
                    Span::User("U0MIRA".to_owned()),
                ],
            },
            Block::Fields {
                fields: vec![
                    (
                        "Project".to_owned(),
                        vec![Span::Plain("ml-team".to_owned())],
                    ),
                    ("GPUs held".to_owned(), vec![Span::Plain("64".to_owned())]),
                ],
            },
            Block::Code {
                text: "RuntimeError: <CUDA> out of memory & `more`".to_owned(),
            },
            Block::Table {
                header: vec!["pod".to_owned(), "exit".to_owned()],
                rows: vec![vec!["llm-7b-worker-3".to_owned(), "1".to_owned()]],
            },
            Block::Divider,
            Block::Context {
                spans: vec![Span::Link {
                    label: "Run:AI".to_owned(),
                    url: "https://runai.example/w/1".to_owned(),
                }],
            },
            Block::Buttons {
                buttons: vec![
                    button(Verb::Approve, "Approve restart", ButtonStyle::Primary),
                    button(Verb::Deny, "Deny", ButtonStyle::Danger),
                ],
            },
        ],
    }
}

#[test]
fn an_alert_as_slack_gets_it() {
    let rendered = render(&alert());
    assert!(!rendered.cut);
    insta::assert_json_snapshot!("alert_blocks", rendered.blocks);
    insta::assert_snapshot!(rendered.text, @"🔴 llm-7b (ml-team) failed: CUDA out of memory on rank 3");
}

#[test]
fn an_alert_without_blocks_still_says_everything() {
    insta::assert_snapshot!(short_form(&alert()), @r"
    🔴 llm-7b (ml-team) failed: CUDA out of memory on rank 3
    llm-7b failed: CUDA out of memory
    Rank 3 on gpu-node-7 ran out of memory; owner <@U0MIRA>
    Project: ml-team
    GPUs held: 64
    RuntimeError: &lt;CUDA&gt; out of memory &amp; ˋmoreˋ
    pod | exit
    llm-7b-worker-3 | 1
    Run:AI (https://runai.example/w/1)
    ");
}

#[test]
fn what_does_not_fit_is_cut_and_said_but_buttons_stay() {
    let mut card = alert();
    card.blocks.insert(
        2,
        Block::Code {
            text: "a long line of a log\n".repeat(2_000),
        },
    );
    let rendered = render(&card);
    assert!(rendered.cut);
    let json = serde_json::to_string(&rendered.blocks).expect("blocks are JSON");
    assert!(json.contains("Shortened: Slack takes no more"));
    assert!(json.contains("Approve restart") && json.contains("\"danger\""));
    assert_legal(&rendered);
}

#[test]
fn a_press_survives_the_way_through_a_button() {
    for verb in [
        Verb::Approve,
        Verb::Deny,
        Verb::Acknowledge,
        Verb::Resolve,
        Verb::Silence1h,
        Verb::Silence4h,
        Verb::Silence1d,
        Verb::Troubleshoot,
        Verb::ShowLogs,
        Verb::ThumbsUp,
        Verb::ThumbsDown,
        Verb::Confirm,
        Verb::Cancel,
    ] {
        let press = Press {
            verb,
            id: "a:b".to_owned(),
        };
        assert_eq!(press_of(&press_value(&press)), Some(press));
    }
    assert_eq!(press_of("format_disk:1"), None);
    assert_eq!(press_of("approve:"), None);
    assert_eq!(press_of("approve"), None);
}

/// All limits of Slack's reference, counted in UTF-16 units.
fn assert_legal(rendered: &Rendered) {
    assert!((1..=TEXT).contains(&units(&rendered.text)));
    assert!(rendered.blocks.len() <= MAX_BLOCKS);
    let mut ids = std::collections::HashSet::new();
    let mut total = 0;
    for block in &rendered.blocks {
        if let Some(id) = block["block_id"].as_str() {
            assert!(ids.insert(id.to_owned()), "block id {id} twice");
        }
        match block["type"].as_str().expect("a type") {
            "header" => total += text_within(&block["text"], HEADER),
            "section" if block["text"].is_object() => total += text_within(&block["text"], SECTION),
            "section" => {
                let fields = block["fields"].as_array().expect("fields");
                assert!((1..=FIELDS).contains(&fields.len()));
                total += fields
                    .iter()
                    .map(|field| text_within(field, FIELD))
                    .sum::<usize>();
            }
            "context" => {
                let elements = block["elements"].as_array().expect("elements");
                assert!((1..=10).contains(&elements.len()));
                total += elements
                    .iter()
                    .map(|text| text_within(text, SECTION))
                    .sum::<usize>();
            }
            "actions" => {
                let elements = block["elements"].as_array().expect("elements");
                assert!((1..=BUTTONS).contains(&elements.len()));
                let primary = elements.iter().filter(|e| e["style"] == "primary").count();
                assert!(primary <= 1, "one primary button in a set");
                for button in elements {
                    let action = button["action_id"].as_str().expect("an action id");
                    assert!(
                        ids.insert(action.to_owned()) && action.len() <= 255,
                        "action id {action} twice"
                    );
                    total += text_within(&button["text"], BUTTON_LABEL);
                    assert!(units(button["value"].as_str().expect("a value")) <= BUTTON_VALUE);
                    if button["confirm"].is_object() {
                        text_within(&button["confirm"]["title"], 100);
                        total += text_within(&button["confirm"]["text"], CONFIRM_TEXT);
                        text_within(&button["confirm"]["confirm"], 30);
                        text_within(&button["confirm"]["deny"], 30);
                    }
                }
            }
            "divider" => {}
            other => panic!("a block of type {other}"),
        }
    }
    assert!(total <= TEXT_BUDGET, "{total} units of text");
}

fn text_within(object: &Value, max: usize) -> usize {
    let text = object["text"].as_str().expect("a text");
    let length = units(text);
    assert!(
        (1..=max).contains(&length),
        "{length} units of at most {max}"
    );
    assert!(!text.trim().is_empty(), "Slack refuses blank text");
    if object["type"] == "mrkdwn" {
        assert_eq!(text.matches("```").count() % 2, 0, "an open fence");
    }
    length
}

/// Live syntax in mrkdwn that did not come from one of our own user or link spans.
fn live_syntax(text: &str) -> Option<String> {
    let own =
        regex::Regex::new(r"<(@[UW][A-Z0-9]+|https?://[^|<>\s]+\|[^<>]*)>").expect("a pattern");
    let rest = own.replace_all(text, "");
    let entities = regex::Regex::new("&(amp|lt|gt);").expect("a pattern");
    let rest = entities.replace_all(&rest, "");
    rest.contains(['<', '>', '&']).then(|| rest.into_owned())
}

fn hostile() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("<!channel>".to_owned()),
        Just("<@U123ABC>".to_owned()),
        Just("<https://evil.example|nice>".to_owned()),
        Just("```".to_owned()),
        Just("`".to_owned()),
        Just("&lt;".to_owned()),
        Just("\u{202e}".to_owned()),
        Just("\u{1b}[31m".to_owned()),
        Just("😀".to_owned()),
        Just("\n> ".to_owned()),
        Just("*x* _y_ ~z~".to_owned()),
        Just("&<>".repeat(700)),
        Just("long ".repeat(900)),
        ".{0,40}",
    ];
    prop::collection::vec(token, 0..6).prop_map(|tokens| tokens.concat())
}

fn any_span() -> impl Strategy<Value = Span> {
    prop_oneof![
        hostile().prop_map(Span::Plain),
        hostile().prop_map(Span::Bold),
        hostile().prop_map(Span::Italic),
        hostile().prop_map(Span::Code),
        hostile().prop_map(Span::User),
        (hostile(), hostile()).prop_map(|(label, url)| Span::Link { label, url }),
        (hostile(), hostile()).prop_map(|(label, path)| Span::Link {
            label,
            url: format!("https://a.example/{path}"),
        }),
    ]
}

fn any_button() -> impl Strategy<Value = Button> {
    (
        hostile(),
        hostile(),
        prop::option::of(hostile()),
        prop_oneof![
            Just(ButtonStyle::Plain),
            Just(ButtonStyle::Primary),
            Just(ButtonStyle::Danger)
        ],
    )
        .prop_map(|(id, label, confirm, style)| Button {
            press: Press {
                verb: Verb::Approve,
                id,
            },
            label,
            style,
            confirm,
        })
}

fn any_block() -> impl Strategy<Value = Block> {
    prop_oneof![
        hostile().prop_map(|text| Block::Header { text }),
        prop::collection::vec(any_span(), 0..6).prop_map(|spans| Block::Text { spans }),
        prop::collection::vec((hostile(), prop::collection::vec(any_span(), 0..3)), 0..13)
            .prop_map(|fields| Block::Fields { fields }),
        hostile().prop_map(|text| Block::Code { text }),
        prop::collection::vec(any_span(), 0..3).prop_map(|spans| Block::Context { spans }),
        (
            prop::collection::vec(hostile(), 0..4),
            prop::collection::vec(prop::collection::vec(hostile(), 0..4), 0..4)
        )
            .prop_map(|(header, rows)| Block::Table { header, rows }),
        prop::collection::vec(any_button(), 0..30).prop_map(|buttons| Block::Buttons { buttons }),
        Just(Block::Divider),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_card_keeps_all_limits_and_nothing_in_it_comes_to_life(
        fallback in hostile(),
        blocks in prop::collection::vec(any_block(), 0..60),
    ) {
        let card = Card { fallback, tone: Tone::Warning, blocks };
        let rendered = render(&card);
        assert_legal(&rendered);
        prop_assert!(live_syntax(&rendered.text).is_none());
        for block in &rendered.blocks {
            let fields = block["fields"].as_array().into_iter().flatten();
            let elements = block["elements"].as_array().into_iter().flatten();
            for text in fields.chain(elements).chain(std::iter::once(&block["text"])) {
                if text["type"] == "mrkdwn" {
                    let text = text["text"].as_str().expect("a text");
                    prop_assert!(live_syntax(text).is_none(), "alive: {:?}", live_syntax(text));
                    assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}'));
                }
            }
        }
        let short = short_form(&card);
        prop_assert!((1..=TEXT).contains(&units(&short)));
    }
}
