//! The runbooks that there are: those shipped with the program, and a folder whose files come before them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::check::{Checked, Known, check};
use super::load::of_file;
use super::model::{Runbook, Trigger};
use super::yaml::Mistake;
use crate::action::parameters::nearest;

/// The files of `runbooks/` as they were when the program was built.
const SHIPPED: &[(&str, &str)] = &[
    (
        "pod_restarting",
        include_str!("../../runbooks/pod_restarting.yaml"),
    ),
    (
        "runai_stuck_job",
        include_str!("../../runbooks/runai_stuck_job.yaml"),
    ),
];

/// The folder that is read if it exists and no other is named.
pub const DEFAULT_FOLDER: &str = "runbooks";

/// All runbooks, by name.
#[derive(Clone, Debug, Default)]
pub struct Library {
    entries: BTreeMap<String, Entry>,
}

/// A runbook with its text, as runs keep it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub runbook: Runbook,
    pub text: String,
    /// `None` for what is shipped.
    pub file: Option<PathBuf>,
    pub notes: Vec<Mistake>,
}

/// A file and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    pub file: PathBuf,
    pub mistakes: Vec<Mistake>,
}

impl Library {
    /// What is shipped, with the good files of `folder` in the place of those of the same name; and the bad ones.
    #[must_use]
    pub fn open(folder: Option<&Path>, known: &Known) -> (Self, Vec<Unusable>) {
        let mut library = Self::shipped(known);
        let mut unusable = Vec::new();
        for (file, read) in folder.map(files).unwrap_or_default() {
            let text = match read {
                Ok(text) => text,
                Err(problem) => {
                    let mistakes = vec![of_file(problem)];
                    unusable.push(Unusable { file, mistakes });
                    continue;
                }
            };
            match checked(&file, &text, known) {
                Ok(entry) => {
                    library.entries.insert(entry.runbook.name.clone(), entry);
                }
                Err(mistakes) => unusable.push(Unusable { file, mistakes }),
            }
        }
        (library, unusable)
    }

    /// What is shipped.
    #[must_use]
    pub fn shipped(known: &Known) -> Self {
        let entries = SHIPPED
            .iter()
            .filter_map(|(name, text)| {
                let Checked { runbook, notes, .. } = check(text, Some(name), known);
                let entry = Entry {
                    runbook: runbook?,
                    text: (*text).to_owned(),
                    file: None,
                    notes,
                };
                Some(((*name).to_owned(), entry))
            })
            .collect();
        Self { entries }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The runbook that a person means: by its name, with `-` or blanks for `_` and in any case.
    ///
    /// # Errors
    /// The nearest name, if there is any near.
    pub fn named(&self, name: &str) -> Result<&Entry, Option<String>> {
        let plain: String = name
            .trim()
            .chars()
            .map(|c| match c {
                '-' | ' ' => '_',
                c => c.to_ascii_lowercase(),
            })
            .collect();
        if let Some(entry) = self.entries.get(&plain) {
            return Ok(entry);
        }
        let mut beginning = self
            .entries
            .values()
            .filter(|e| plain.len() >= 4 && e.runbook.name.starts_with(&plain));
        match (beginning.next(), beginning.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(nearest(&plain, self.entries.keys().map(String::as_str))),
        }
    }

    /// Those that a cause starts, the gravest first; a folder's before the shipped.
    #[must_use]
    pub fn for_cause(&self, cause: &str) -> Vec<&Entry> {
        let mut found: Vec<&Entry> = self
            .entries
            .values()
            .filter(|entry| {
                entry.runbook.triggers.iter().any(|trigger| match trigger {
                    Trigger::Cause(causes) => causes.iter().any(|c| c == cause),
                    Trigger::Metric(_)
                    | Trigger::Alert(_)
                    | Trigger::Pattern(_)
                    | Trigger::Schedule(_)
                    | Trigger::Manual(_) => false,
                })
            })
            .collect();
        found.sort_by_key(|entry| {
            (
                entry.file.is_none(),
                std::cmp::Reverse(entry.runbook.severity),
            )
        });
        found
    }
}

fn checked(file: &Path, text: &str, known: &Known) -> Result<Entry, Vec<Mistake>> {
    let name = file.file_stem().and_then(|stem| stem.to_str());
    let Checked {
        runbook,
        mistakes,
        notes,
    } = check(text, name, known);
    match runbook {
        Some(runbook) => Ok(Entry {
            runbook,
            text: text.to_owned(),
            file: Some(file.to_owned()),
            notes,
        }),
        None => Err(mistakes),
    }
}

/// The YAML files of a folder by name, with their text or why there is none.
#[must_use]
pub fn files(folder: &Path) -> Vec<(PathBuf, Result<String, String>)> {
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|ending| ending == "yaml" || ending == "yml")
            })
            .collect(),
        Err(error) => {
            return vec![(
                folder.to_owned(),
                Err(format!("the folder cannot be read: {error}")),
            )];
        }
    };
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("the file cannot be read: {error}"));
            (path, text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            causes: super::super::known_causes(&crate::diagnose::knowledge::Knowledge::embedded()),
            ..Known::default()
        }
    }

    #[test]
    fn every_shipped_runbook_is_good() {
        for (name, text) in SHIPPED {
            let checked = check(text, Some(name), &known());
            assert_eq!(checked.mistakes, [], "{name}");
        }
        assert_eq!(Library::shipped(&known()).iter().count(), SHIPPED.len());
    }

    #[test]
    fn every_file_of_the_folder_is_shipped() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(DEFAULT_FOLDER);
        let mut names: Vec<String> = files(&folder)
            .iter()
            .filter_map(|(path, _)| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        let shipped: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        assert_eq!(shipped, names);
    }

    #[test]
    fn a_file_of_the_folder_comes_before_the_shipped_one_and_a_bad_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let own = "name: pod_restarting\ndescription: Ours.\nwhy: Because.\nsteps:\n  - {id: a, action: wait, with: {for: 1s}}\n";
        std::fs::write(folder.path().join("pod_restarting.yaml"), own).unwrap();
        std::fs::write(folder.path().join("bad.yaml"), "name: other\nstep: []\n").unwrap();
        let (library, unusable) = Library::open(Some(folder.path()), &known());
        assert_eq!(
            library.get("pod_restarting").unwrap().runbook.description,
            "Ours."
        );
        assert!(library.get("runai_stuck_job").is_some());
        assert_eq!(unusable.len(), 1);
        assert!(
            unusable[0].mistakes.len() >= 4,
            "{:?}",
            unusable[0].mistakes
        );
    }

    #[test]
    fn people_need_not_write_a_name_exactly() {
        let library = Library::shipped(&known());
        for name in [
            "pod_restarting",
            "Pod-Restarting",
            "pod restarting",
            "runai_stuck",
        ] {
            assert!(library.named(name).is_ok(), "{name}");
        }
        assert_eq!(
            library.named("pod_restartin_x").unwrap_err().as_deref(),
            Some("pod_restarting")
        );
    }
}
