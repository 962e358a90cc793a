//! Tracebacks of Python, from the header to the line that names the exception, whoever writes in between; and the frames
//! of other languages' stacks, which name code, not what happened.

use std::sync::LazyLock;

use regex::Regex;

use super::joined::Joined;
use super::prefix::unprefixed;
use crate::redact;

/// How many lines a traceback may have.
const LINES: usize = 400;

static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?::|$)")
        .expect("a constant that the tests compile")
});

/// A frame of a stack: of Java and JavaScript (`at a.b.C.d(C.java:12)`, `at f (/app/x.js:1:2)`), of Go
/// (`/src/a.go:12 +0x1d`, `main.f(0xc000…)`), of C++ (`frame #3: …`, `#12 0x7f… in f`, `@ 0x7f… f`), of Rust
/// (`12: std::rt::lang_start`); and Go's signal line, which belongs to the panic before it.
static FRAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*(?:at\s+(?:async |new )?[^\s(]+(?: \[as \w+\])? ?\(.*\)|at\s+(?:async )?\S+:\d+:\d+$|frame #\d+: |#\d+:? +0x|@ +0x[0-9a-f]+|\[0x[0-9a-f]+\]|\d+: +(?:0x[0-9a-f]+ - )?\w+(?:::\w+)+|\.\.\. \d+ more)|^\t\S+\.go:\d+|^[\w./*()-]+\((?:0x[0-9a-f]+|\{0x|\.\.\.)|^\[signal SIG|^\S+:\d+ 0x[0-9a-f]+ ")
        .expect("a constant that the tests compile")
});

/// True for a line that only says where in the code something stood.
pub(super) fn is_frame(line: &str) -> bool {
    FRAME.is_match(line)
}

#[derive(Debug)]
pub(super) struct Traceback {
    pub(super) header: usize,
    /// The line that names the exception.
    pub(super) exception: usize,
}

impl Traceback {
    pub(super) fn read(joined: &Joined<'_>, header: usize) -> Option<Self> {
        let (rank, first) = unprefixed(joined.line(header));
        // The parts of an exception group stand behind a gutter.
        let gutter = is_in_gutter(first);
        let last = joined.len().min(header + LINES);
        for index in header + 1..last {
            let (other, line) = unprefixed(joined.line(index));
            // Ranks write into one log and interleave.
            if other != rank {
                continue;
            }
            let line = if gutter { without_gutter(line) } else { line };
            if line.starts_with([' ', '\t', '|', '+', '^']) || line.trim().is_empty() {
                continue;
            }
            let cleaned = redact::clean(line);
            return EXCEPTION.is_match(&cleaned).then_some(Self {
                header,
                exception: index,
            });
        }
        None
    }

    pub(super) fn reads_configuration(&self, joined: &Joined<'_>) -> bool {
        (self.header..self.exception).any(|index| {
            let line = joined.line(index);
            ["config", "cfg", "hparams", "args[", "yaml"]
                .iter()
                .any(|word| line.contains(word))
        })
    }
}

/// The last `Caused by:` of the trace that begins at this line.
pub(super) fn deepest_cause(joined: &Joined<'_>, header: usize) -> Option<usize> {
    let mut deepest = None;
    for index in header + 1..joined.len().min(header + LINES) {
        let (_, line) = unprefixed(joined.line(index));
        if line.trim_start().starts_with("Caused by: ") {
            deepest = Some(index);
        } else if !is_frame(line) && !line.trim().is_empty() && !line.starts_with([' ', '\t']) {
            // The message of the outermost exception may run over a few lines.
            if deepest.is_some() || index > header + 8 {
                break;
            }
        }
    }
    deepest
}

fn is_in_gutter(line: &str) -> bool {
    line.trim_start().starts_with(['|', '+'])
}

/// A line of an exception group, less the lines that are drawn before it.
fn without_gutter(line: &str) -> &str {
    let mut rest = line;
    loop {
        let trimmed = rest.trim_start_matches(' ');
        match trimmed.strip_prefix(['|', '+']) {
            Some(after) => rest = after.strip_prefix(' ').unwrap_or(after),
            None if rest.len() == line.len() => return line,
            None => return rest,
        }
    }
}

/// True for the lines of a traceback that show code: what they quote did not happen.
pub(super) fn is_code(
    joined: &Joined<'_>,
    index: usize,
    line: &str,
    tracebacks: &[Traceback],
) -> bool {
    if is_frame(line) {
        return true;
    }
    let in_traceback = tracebacks
        .iter()
        .rev()
        .take(64)
        .any(|traceback| traceback.header < index && index < traceback.exception);
    if !(line.starts_with([' ', '\t']) || in_traceback && is_in_gutter(line)) {
        return false;
    }
    let after_frame = index > 0 && {
        let (_, before) = unprefixed(joined.line(index - 1));
        without_gutter(before).trim_start().starts_with("File \"")
    };
    in_traceback || after_frame || line.trim_start().starts_with("File \"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_what_happened() {
        for frame in [
            "\tat com.amazonaws.http.AmazonHttpClient.execute(AmazonHttpClient.java:12)",
            "    at Object.<anonymous> (/app/index.js:3:9)",
            "    at async main (file:///app/a.mjs:1:2)",
            "\t/go/src/app/main.go:12 +0x1d",
            "main.load(0xc000012345, 0x3)",
            "[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48]",
            "frame #3: c10d::ProcessGroupNCCL::checkForNCCLErrors() + 0x1 (0x7f in /lib/libtorch.so)",
            "    @     0x7f0012345678  abort",
            "#12 0x00007f in raise () from /lib/libc.so.6",
            "  12: std::rt::lang_start_internal",
            "\t... 12 more",
        ] {
            assert!(is_frame(frame), "{frame}");
        }
        for line in [
            "Caused by: java.io.FileNotFoundException: /data/a (No such file or directory)",
            "panic: runtime error: index out of range [3] with length 3",
            "at least 2 nodes are required (got 1)",
            "ERROR at step 3: loss is nan",
            "12: ValueError: bad",
            "terminate called after throwing an instance of 'std::bad_alloc'",
        ] {
            assert!(!is_frame(line), "{line}");
        }
    }
}
