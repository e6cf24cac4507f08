//! Reads sections of the file, and collects what is wrong with them.
//!
//! The design wished for serde with `deny_unknown_fields`. serde stops at the first mistake, and a person who writes
//! a configuration wants all of them in one go, so a TOML table with spans is walked instead: a wrong type, a wrong
//! value and an unknown key are each noted where they stand, and reading goes on. Only what is no TOML at all stops
//! alone.
//!
//! Invariant: what is noted makes the result void. So code that reads may go on with any stand-in value.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, quote};
use super::schema::{self, Shape};
use super::suggest;

mod value;

pub(super) use value::Value;

/// A key as it stands in the file, and its value.
type Entry<'a> = (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

/// What was found to be wrong so far.
#[derive(Debug)]
pub(super) struct Report<'a> {
    /// Where relative paths are taken from.
    pub(super) base: &'a Path,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(base: &'a Path) -> Self {
        Self { base, problems: RefCell::default() }
    }

    pub(super) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// A table being read. Dropping it reports the keys that its shape does not have, so that cannot be forgotten.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) report: &'a Report<'a>,
    shape: &'static Shape,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        report: &'a Report<'a>,
        shape: &'static Shape,
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        Self { report, shape, table, span, asked: RefCell::default() }
    }

    /// A mistake of the whole table; it points to its header.
    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(message).at(self.span.clone())
    }

    /// The value of a key.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(key);
        let (_, node) = self.entry(key)?;
        Some(Value::new(self.report, format!("`{key}`"), node))
    }

    /// The value of a key that must be there; `help` says what to write when it is not.
    pub(super) fn required(&self, key: &'static str, help: &str) -> Option<Value<'a>> {
        let value = self.value(key);
        // A misspelt key is reported under its own name, and once is enough.
        if value.is_none() && !self.misspells(&[key]) {
            self.report.add(self.problem(format!("{} has no `{key}`", self.shape.title)).help(help));
        }
        value
    }

    /// The bytes of a key itself; those of the table, if it is not there.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.entry(key).map_or_else(|| self.span.clone(), |(name, _)| name.span())
    }

    /// The bytes of a key's value; those of the table, if it is not there.
    pub(super) fn value_span(&self, key: &str) -> Range<usize> {
        self.entry(key).map_or_else(|| self.span.clone(), |(_, value)| value.span())
    }

    /// The table under a key.
    pub(super) fn section(&self, key: &'static str, shape: &'static Shape) -> Option<Section<'a>> {
        self.value(key)?.section(shape)
    }

    /// The tables of a list, `[[key]]`.
    pub(super) fn sections(&self, key: &'static str, shape: &'static Shape) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        if value.is_table() {
            self.report
                .add(value.problem("can be there several times").hint(format!("write {}", shape.title)));
            return Vec::new();
        }
        value.list().into_iter().filter_map(|entry| entry.section(shape)).collect()
    }

    /// The tables under names that the operator chose, `[key.NAME]`.
    pub(super) fn named(&self, key: &'static str, shape: &'static Shape) -> Vec<(&'a str, Section<'a>)> {
        self.named_by(key, shape.title, |_| shape)
    }

    /// The same, where what is in a table decides its shape.
    pub(super) fn named_by(
        &self,
        key: &'static str,
        title: &str,
        shape: impl Fn(&DeTable<'a>) -> &'static Shape,
    ) -> Vec<(&'a str, Section<'a>)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in value.entries() {
            let text: &'a str = name.get_ref();
            if !is_name(text) {
                self.report.add(
                    Problem::new(format!("{} is not a name", quote(text)))
                        .at(name.span())
                        .help("names are made of letters, digits, `_` and `-`"),
                );
            }
            let Some(table) = value.node().as_table() else {
                self.report.add(
                    Problem::new(format!("{} is not a table", quote(text)))
                        .at(name.span())
                        .hint(format!("write {title}")),
                );
                continue;
            };
            found.extend(value.section(shape(table)).map(|section| (text, section)));
        }
        found
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the value of a key is `[]`.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        let value = self.entry(key).and_then(|(_, value)| value.get_ref().as_array());
        value.is_some_and(|list| list.is_empty())
    }

    /// Whether an unknown key is most likely one of these.
    pub(super) fn misspells(&self, keys: &[&str]) -> bool {
        let meant = |name: &str| self.meant(name).is_some_and(|meant| keys.contains(&meant));
        self.unknown().any(|(name, _)| meant(name.get_ref()))
    }

    /// Whether there is a table under a key that this version does not know. It may be what is missed elsewhere.
    pub(super) fn has_unknown_table(&self) -> bool {
        self.unknown().any(|(_, value)| value.get_ref().is_table())
    }

    fn entry(&self, key: &str) -> Option<Entry<'a>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key)
    }

    fn unknown(&self) -> impl Iterator<Item = Entry<'a>> {
        self.table.iter().filter(|(name, _)| !self.shape.keys.contains(&name.get_ref().as_ref()))
    }

    /// The key that an unknown one was meant to be.
    fn meant(&self, name: &str) -> Option<&'static str> {
        suggest::closest(name, self.shape.keys.iter().copied())
    }

    fn report_unknown(&self, name: &Spanned<std::borrow::Cow<'a, str>>) {
        let text = name.get_ref().as_ref();
        if self.shape.later.contains(&text) {
            let problem = Problem::new(format!("`{text}` is not in this version of Sidestream"));
            self.report.add(problem.at(name.span()).help(self.allowed()));
            return;
        }
        let mut problem = Problem::new(format!("unknown key {}", quote(text))).at(name.span());
        if let Some(meant) = self.meant(text) {
            problem = problem.hint(format!("did you mean `{meant}`?"));
        } else if let Some(owners) = self.owners(text) {
            problem = problem.hint(format!("`{text}` belongs in {owners}"));
        } else if let Some(shape) = schema::ALL.iter().find(|shape| shape.later.contains(&text)) {
            problem = problem.hint(format!("a later version has `{text}` in {}", shape.title));
        } else if let Some((meant, shape)) = nearest_elsewhere(text) {
            problem = problem.hint(format!("did you mean `{meant}` in {}?", shape.title));
        }
        self.report.add(problem.help(self.allowed()));
    }

    fn allowed(&self) -> String {
        format!("allowed here: {}", self.shape.keys.join(", "))
    }

    /// The other sections that have this very key, if they are few enough to be of help.
    fn owners(&self, key: &str) -> Option<String> {
        let titles: Vec<_> =
            schema::ALL.iter().filter(|shape| shape.keys.contains(&key)).map(|shape| shape.title).collect();
        (1..=3).contains(&titles.len()).then(|| titles.join(" or "))
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        debug_assert!(
            std::thread::panicking()
                || self.shape.keys.iter().all(|key| self.asked.borrow().contains(key))
                    && self.asked.borrow().iter().all(|key| self.shape.keys.contains(key)),
            "the shape of {} and the code that reads it differ: {:?}",
            self.shape.title,
            self.asked,
        );
        for (name, _) in self.unknown() {
            self.report_unknown(name);
        }
    }
}

/// The key of any section that an unknown one is nearest to.
fn nearest_elsewhere(key: &str) -> Option<(&'static str, &'static Shape)> {
    let meant = suggest::closest(key, schema::ALL.iter().flat_map(|shape| shape.keys.iter().copied()))?;
    let shape = schema::ALL.iter().find(|shape| shape.keys.contains(&meant))?;
    Some((meant, shape))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
