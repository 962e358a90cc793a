//! Lines that real logs are full of and that tell nothing, made up the same way each time.

use std::fmt::Write as _;

/// `%% NAME N` → N lines; `None` if that is no filler.
pub(super) fn lines(directive: &str) -> Option<Vec<String>> {
    let mut words = directive.strip_prefix("%% ")?.split_whitespace();
    let line = match words.next()? {
        "steps" => steps,
        "hf" => trainer,
        "megatron" => megatron,
        "tqdm" => progress,
        "nccl" => nccl,
        "access" => access,
        "json" => json,
        "lightning" => lightning,
        _ => return None,
    };
    let count: u32 = words.next()?.parse().ok()?;
    Some((1..=count).map(line).collect())
}

/// A loss that falls and shakes.
fn loss(step: u32) -> f64 {
    let shake = f64::from(step.wrapping_mul(2_654_435_761) >> 20) / 40_960.0;
    2.0 + 8.0 / (1.0 + f64::from(step) / 40.0) + shake
}

fn steps(step: u32) -> String {
    format!(
        "INFO trainer: step={step} loss={:.4} lr=2.9e-04 grad_norm={:.3} tokens_per_sec=41{:03} mem=61.2GiB",
        loss(step),
        0.4 + loss(step) / 10.0,
        step.wrapping_mul(37) % 1000,
    )
}

fn trainer(step: u32) -> String {
    format!(
        "{{'loss': {:.4}, 'grad_norm': {:.6}, 'learning_rate': 1.{:04}e-05, 'epoch': {:.2}}}",
        loss(step),
        loss(step) / 7.0,
        9_999 - step % 9_999,
        f64::from(step) / 500.0,
    )
}

fn megatron(step: u32) -> String {
    format!(
        " [2026-03-12 10:{:02}:{:02}] iteration {:8}/  500000 | consumed samples: {:12} | elapsed time per iteration (ms): 5{:03}.2 | learning rate: 1.500000E-04 | global batch size:  1024 | lm loss: {:.6}E+00 | loss scale: 1.0 | grad norm: 0.{:03} | number of skipped iterations:   0 | number of nan iterations:   0 |",
        step / 60 % 60,
        step % 60,
        18_000 + step,
        (18_000 + step) * 1024,
        step.wrapping_mul(13) % 1000,
        loss(step),
        step.wrapping_mul(7) % 1000,
    )
}

fn progress(step: u32) -> String {
    let mut bar = String::new();
    for tick in 0..4 {
        let done = step * 4 + tick;
        let percent = done * 100 / 4000;
        let _ = write!(
            bar,
            "\rEpoch 1:  {percent:>2}%|{}{}| {done}/4000 [{:02}:{:02}<33:12,  2.01it/s, loss={:.2}]",
            "█".repeat((percent / 10) as usize),
            " ".repeat(10 - (percent / 10).min(10) as usize),
            done / 120,
            done / 2 % 60,
            loss(done),
        );
    }
    bar
}

fn nccl(step: u32) -> String {
    format!(
        "gpu-node-1:{}:{} [{}] NCCL INFO Channel {:02}/0 : {}[{}] -> {}[{}] via P2P/CUMEM/read",
        311 + step % 8,
        900 + step,
        step % 8,
        step % 24,
        step % 8,
        step % 8,
        (step + 1) % 8,
        (step + 1) % 8,
    )
}

fn access(step: u32) -> String {
    format!(
        "INFO:     10.42.{}.{}:{} - \"POST /v1/chat/completions HTTP/1.1\" 200 OK",
        step % 7,
        step % 250,
        40_000 + step,
    )
}

fn json(step: u32) -> String {
    format!(
        "{{\"ts\":\"2026-03-12T10:{:02}:{:02}.120Z\",\"level\":\"info\",\"logger\":\"train.loop\",\"msg\":\"step done\",\"step\":{step},\"loss\":{:.4},\"errors\":0}}",
        step / 60 % 60,
        step % 60,
        loss(step),
    )
}

fn lightning(step: u32) -> String {
    format!(
        "Epoch 3:  {:>2}%|{}| {step}/1250 [12:{:02}<41:02,  1.61it/s, v_num=0, train/loss={:.3}]",
        step * 100 / 1250,
        "▏".repeat((step / 125) as usize),
        step % 60,
        loss(step),
    )
}
