//! Reads what trainers write of how far they are: steps, epochs, rates, losses, checkpoints. Pure.
//!
//! Known by their own formats are tqdm (so HF Trainer, Lightning, NeMo), HF's dictionaries, Megatron, DeepSpeed, Keras,
//! MaxText, fairseq, torchtitan and vLLM; everything else by `name=value` and JSON fields of the usual names.

use std::sync::LazyLock;

use regex::Regex;

/// Bytes of a line that are read; progress stands at the beginning, or after the last carriage return.
const READ: usize = 2_048;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A training step, iteration or update.
    Step,
    Epoch,
    /// A bar that counts something else: downloads, shards, an evaluation.
    Bar,
    Loss,
    StepsPerSecond,
    SamplesPerSecond,
    TokensPerSecond,
    CheckpointBegun,
    CheckpointSaved,
    CheckpointFailed,
    EvaluationBegun,
}

/// One thing a line says. What only happens (a save, an evaluation) has the value of the step it names, or 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marker {
    pub kind: Kind,
    pub value: f64,
    pub total: Option<f64>,
}

macro_rules! pattern {
    ($name:ident, $re:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($re).expect("a constant that the tests compile"));
    };
}

pattern!(ANSI, r"\x1b\[[0-9;?]*[A-Za-z]");
// `Epoch 3:  45%|████▌ | 450/1000 [03:20<04:05,  2.24it/s, loss=1.2]`
pattern!(
    BAR,
    r"^(.*?)(\d{1,3})%\|[^|]*\|\s*([\d.]+)([kKMGT]?i?B?)/([\d.]+)([kKMGT]?i?B?)\s*\[([^\]]*)"
);
// `450it [03:20, 2.24it/s]`: the total is not known.
pattern!(
    BAR_OPEN,
    r"^(.*?)\b(\d+)(?:it|steps?|batch(?:es)?|ba)\s*\[(\d[^\]]*)"
);
// Lightning's rich bar: `Epoch 3/9  ━━━━━━━━ 450/1000 0:00:12 • 0:00:15 35.90it/s`.
pattern!(
    BAR_RICH,
    r"[━╸╺─]\s*(\d+)/(\d+)\s+\d+:\d\d:\d\d(?:.*?([\d.]+)\s*it/s)?"
);
// Keras: `450/1000 [=====>....] - ETA: 12s` and `450/1000 ━━━━━━ 12s 35ms/step`.
pattern!(
    KERAS,
    r"^\s*(\d+)/(\d+)\s+(?:\[[=>.]+\]|[━╸╺─]+)(?:.*?([\d.]+)(us|ms|s)/step)?"
);
pattern!(RATE, r"([\d.]+)\s*(it/s|s/it|steps?/s|batch(?:es)?/s)");
// `Train Epoch: 3 [25600/60000 (43%)]`, `Epoch: [3][ 450/1000]`, `Epoch 3/10 [450/1000`.
pattern!(
    BRACKETS,
    r"(?i)\bepoch:?\s*\[?\s*(\d+)\s*(?:/\s*(\d+))?\s*\]?\s*[:,]?\s*\[\s*(\d+)\s*/\s*(\d+)"
);
// fairseq: `| epoch 001:    100 / 5000 loss=8.1`.
pattern!(FAIRSEQ, r"\bepoch (\d+):\s+(\d+) / (\d+)\b");
// `name = value` with or without quotes; `iteration 100/ 5000`; `step 12 loss 3.9`.
pattern!(
    FIELD,
    r#"(?i)(?:^|[\s,;:|({\[<"'/])(global[_ ]?step|completed step|training step|train[_ ]?step|steps?|iteration|iter|num_updates|update|n_iter|batch|mini[_-]?batch|micro_step|epoch|(?:reduced_)?(?:train(?:ing)?_?|lm |total_|avg_?|mean_)?loss|tokens?[ _/-]?(?:per[ _]?)?(?:s|sec|second)(?:/device|/gpu)?|tps|tgs|tok/s|samples?[ _/-]?(?:per[ _]?)?(?:s|sec|second)|(?:curr|runningavg)samplespersec|iterations?/s(?:ec)?|it/s|steps?[_/](?:per_)?(?:s|sec|second))["']?\s*[\[#(]?\s*([:=]\s*|\s)["']?\s*[\[#]?([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)["']?(?:\s*(?:/|of|out of)\s*(\d[\d,]*))?"#
);
pattern!(GENERATION, r"(?i)generation throughput: ([\d.]+) tok");
pattern!(
    PER_ITERATION,
    r"(?i)elapsed time per iteration \(ms\): ([\d.]+)"
);
pattern!(
    SAVED,
    r"(?ix)
      \b(?:successfully|finished|done)\s+(?:saving|saved|writing|writ(?:ten|e))\b.{0,80}(?:checkpoint|ckpt|model|state|weights)
    | \b(?:saved|wrote|written|committed)\b.{0,60}\b(?:checkpoint|ckpt|snapshot|training\ state)
    | \bcheckpoint\b.{0,80}\b(?:saved|written|committed|complete[d]?|is\ ready|finished|done|uploaded)\b
    | \b(?:model|weights|state|optimizer)\b(?:\ \w+){0,2}\ saved\ (?:in|to|at)\b
    | \bsaved\ (?:the\ )?(?:model|weights|state)\b
    "
);
pattern!(
    SAVING,
    r"(?ix)
      \b(?:saving|writing|dumping)\b.{0,60}(?:checkpoint|ckpt|model|state|weights|snapshot)
    | \bcheckpointing\ (?:at|to|model|step)\b
    | \bstart(?:ing|ed)?\s+(?:to\ )?(?:sav|writ)\w+.{0,40}checkpoint
    "
);
pattern!(
    SAVE_FAILED,
    r"(?i)\b(?:fail(?:ed|ure)?|error|cannot|can't|could ?n.t|unable|exception|errno)\b.{0,80}\b(?:sav\w*|writ\w*|checkpoint\w*)|\b(?:sav\w*|writ\w*|checkpoint\w*)\b.{0,60}\b(?:failed|failure|error|errno)\b"
);
// Plans and advice are no save: `checkpoints are saved every 500 steps`, `will save checkpoints to /ckpt`.
pattern!(
    NO_SAVE,
    r"(?i)\b(?:will|would|to be|are|every|interval|no|not|never|without|if|should|enable[ds]?|disable[ds]?|config\w*|load\w*|restor\w*|resum\w*|found|delet\w*|remov\w*|rotat\w*|skip\w*|last|latest saved|previous\w*)\b[^.]{0,60}(?:sav\w+|checkpoint\w*|ckpt)|\bsave_\w+\s*[=:]|checkpoint\w*[^.]{0,40}\b(?:every|loaded|restored|not found|will be)\b"
);
pattern!(
    EVALUATION,
    r"(?i)\*{3,}\s*running (?:evaluation|prediction|validation)|\b(?:start\w*|running|begin\w*)\s+(?:the\s+)?(?:evaluat\w+|validat\w+)\b|\bevaluating\b|\bvalidating\b|\bbeginning validation\b"
);
pattern!(
    OTHER_WORK,
    r"(?i)download|fetch|load|map\b|mapping|filter|token|valid|eval|sanity|shard|resolv|group|predict|test|generat|extract|unpack|upload|convert|pack|compil|captur|hash|read|prepar|check"
);

/// Everything a line says of progress. Most lines say nothing.
#[must_use]
pub fn read(line: &str) -> Vec<Marker> {
    // A bar is drawn over itself: what stands after the last carriage return is how far it is.
    let line = line
        .rsplit('\r')
        .find(|part| !part.trim().is_empty())
        .unwrap_or(line);
    let line = cut(line);
    let clean;
    let line = if line.contains('\x1b') {
        clean = ANSI.replace_all(line, "");
        clean.as_ref()
    } else {
        line
    };
    let mut found = Vec::new();
    // All that is read has a number or tells of a checkpoint or an evaluation.
    saves(line, &mut found);
    if line.bytes().any(|byte| byte.is_ascii_digit()) && !bars(line, &mut found) {
        fields(line, &mut found);
    }
    found
}

fn cut(line: &str) -> &str {
    let mut end = line.len().min(READ);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

fn push(found: &mut Vec<Marker>, kind: Kind, value: f64, total: Option<f64>) {
    if value.is_finite() && !found.iter().any(|marker| marker.kind == kind) {
        found.push(Marker { kind, value, total });
    }
}

fn number(text: &str) -> Option<f64> {
    text.replace(',', "").parse().ok()
}

/// Bars of tqdm, Lightning and Keras. True if the line is one: its other fields repeat it.
fn bars(line: &str, found: &mut Vec<Marker>) -> bool {
    if line.contains("%|")
        && let Some(bar) = BAR.captures(line)
    {
        let (label, tail) = (&bar[1], &bar[7]);
        let bytes = !bar[4].is_empty() || tail.contains("B/s");
        epoch_of(label, found);
        let kind = if bytes || OTHER_WORK.is_match(label) {
            Kind::Bar
        } else {
            Kind::Step
        };
        push(found, kind, number(&bar[3]).unwrap_or(0.0), number(&bar[5]));
        if kind == Kind::Step {
            rate(tail, found);
            tail_fields(tail, found);
        }
        return true;
    }
    if let Some(bar) = BAR_OPEN.captures(line) {
        epoch_of(&bar[1], found);
        let kind = if OTHER_WORK.is_match(&bar[1]) {
            Kind::Bar
        } else {
            Kind::Step
        };
        push(found, kind, number(&bar[2]).unwrap_or(0.0), None);
        if kind == Kind::Step {
            rate(&bar[3], found);
        }
        return true;
    }
    if let Some(bar) = KERAS.captures(line) {
        push(
            found,
            Kind::Step,
            number(&bar[1]).unwrap_or(0.0),
            number(&bar[2]),
        );
        if let (Some(time), Some(unit)) = (bar.get(3), bar.get(4)) {
            let scale = match unit.as_str() {
                "us" => 1e-6,
                "ms" => 1e-3,
                _ => 1.0,
            };
            let seconds = number(time.as_str()).unwrap_or(0.0) * scale;
            if seconds > 0.0 {
                push(found, Kind::StepsPerSecond, 1.0 / seconds, None);
            }
        }
        tail_fields(line, found);
        return true;
    }
    if line.contains('━')
        && let Some(bar) = BAR_RICH.captures(line)
    {
        let label = line.split('━').next().unwrap_or_default();
        epoch_of(label, found);
        let kind = if OTHER_WORK.is_match(label) {
            Kind::Bar
        } else {
            Kind::Step
        };
        push(found, kind, number(&bar[1]).unwrap_or(0.0), number(&bar[2]));
        if let Some(rate) = bar.get(3).and_then(|rate| number(rate.as_str())) {
            push(found, Kind::StepsPerSecond, rate, None);
        }
        return true;
    }
    false
}

/// `Epoch 3` before a bar.
fn epoch_of(label: &str, found: &mut Vec<Marker>) {
    pattern!(EPOCH, r"(?i)\bepoch:?\s*\[?(\d+)(?:\s*/\s*(\d+))?");
    if let Some(epoch) = EPOCH.captures(label) {
        let total = epoch.get(2).and_then(|total| number(total.as_str()));
        push(found, Kind::Epoch, number(&epoch[1]).unwrap_or(0.0), total);
    }
}

fn rate(tail: &str, found: &mut Vec<Marker>) {
    if let Some(rate) = RATE.captures(tail)
        && let Some(value) = number(&rate[1])
    {
        let value = if &rate[2] == "s/it" {
            1.0 / value
        } else {
            value
        };
        push(found, Kind::StepsPerSecond, value, None);
    }
}

/// Of the fields beside a bar only the loss is news.
fn tail_fields(tail: &str, found: &mut Vec<Marker>) {
    pattern!(
        LOSS,
        r"(?i)\b(?:\w+_)?loss\s*[=:]\s*([+-]?\d[\d.]*(?:e[+-]?\d+)?)"
    );
    if let Some(loss) = LOSS.captures(tail).and_then(|loss| number(&loss[1])) {
        push(found, Kind::Loss, loss, None);
    }
}

fn fields(line: &str, found: &mut Vec<Marker>) {
    if let Some(epoch) = BRACKETS.captures(line) {
        let total = epoch.get(2).and_then(|total| number(total.as_str()));
        push(found, Kind::Epoch, number(&epoch[1]).unwrap_or(0.0), total);
        push(
            found,
            Kind::Step,
            number(&epoch[3]).unwrap_or(0.0),
            number(&epoch[4]),
        );
    } else if let Some(update) = FAIRSEQ.captures(line) {
        push(found, Kind::Epoch, number(&update[1]).unwrap_or(0.0), None);
        push(
            found,
            Kind::Step,
            number(&update[2]).unwrap_or(0.0),
            number(&update[3]),
        );
    }
    if let Some(rate) = GENERATION.captures(line).and_then(|rate| number(&rate[1])) {
        push(found, Kind::TokensPerSecond, rate, None);
    }
    if let Some(millis) = PER_ITERATION
        .captures(line)
        .and_then(|time| number(&time[1]))
        && millis > 0.0
    {
        push(found, Kind::StepsPerSecond, 1000.0 / millis, None);
    }
    let mut steps: Vec<(u8, f64, Option<f64>)> = Vec::new();
    for field in FIELD.captures_iter(line) {
        let Some(value) = number(&field[3]) else {
            continue;
        };
        let total = field.get(4).and_then(|total| number(total.as_str()));
        let name = field[1].to_ascii_lowercase();
        // `the next steps 3 and 4` are words.
        if name == "steps" && field[2].trim().is_empty() {
            continue;
        }
        match name.as_str() {
            "epoch" => push(found, Kind::Epoch, value, total),
            _ if name.ends_with("loss") => push(found, Kind::Loss, value, None),
            _ if name.starts_with("token") || matches!(name.as_str(), "tps" | "tgs" | "tok/s") => {
                push(found, Kind::TokensPerSecond, value, None);
            }
            _ if name.contains("sample") => push(found, Kind::SamplesPerSecond, value, None),
            _ if name.contains("/s") || name.contains("per_s") => {
                push(found, Kind::StepsPerSecond, value, None);
            }
            // Several counters in one line: that over the whole run counts.
            _ if name.starts_with("global") || name == "num_updates" => {
                steps.push((0, value, total));
            }
            "batch" | "micro_step" => steps.push((2, value, total)),
            _ if name.contains("mini") => steps.push((2, value, total)),
            _ => steps.push((1, value, total)),
        }
    }
    steps.sort_by_key(|(order, _, _)| *order);
    if let Some((_, value, total)) = steps.first().filter(|(_, value, _)| *value >= 0.0) {
        push(found, Kind::Step, *value, *total);
    }
}

fn saves(line: &str, found: &mut Vec<Marker>) {
    /// Any of these stands in each line that tells of a save or an evaluation.
    const WORDS: [&str; 9] = [
        "heckpoint",
        "ckpt",
        "sav",
        "Sav",
        "HECKPOINT",
        "valuat",
        "alidat",
        "VALUAT",
        "SAV",
    ];
    if !WORDS.iter().any(|word| line.contains(word)) {
        return;
    }
    if SAVE_FAILED.is_match(line) {
        push(found, Kind::CheckpointFailed, 0.0, None);
    } else if NO_SAVE.is_match(line) {
        // Nothing was saved by saying so.
    } else if SAVED.is_match(line) {
        push(found, Kind::CheckpointSaved, 0.0, None);
    } else if SAVING.is_match(line) {
        push(found, Kind::CheckpointBegun, 0.0, None);
    } else if EVALUATION.is_match(line) {
        push(found, Kind::EvaluationBegun, 0.0, None);
    }
}
