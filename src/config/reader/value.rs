//! One value of the file, and the types it can be read as.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{Report, Section};
use crate::config::problem::{Fault, Problem, quote};
use crate::config::schema::Shape;
use crate::config::{suggest, units};

/// A value, and how it is called. A getter that cannot give what it is asked for has reported why.
#[derive(Debug, Clone)]
pub(in crate::config) struct Value<'a> {
    report: &'a Report<'a>,
    /// "`workers`" or "an entry of `servers`".
    name: String,
    node: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(super) fn new(report: &'a Report<'a>, name: String, node: &'a Spanned<DeValue<'a>>) -> Self {
        Self { report, name, node }
    }

    /// A mistake of this value. The message follows its name.
    pub(in crate::config) fn problem(&self, message: impl AsRef<str>) -> Problem {
        Problem::new(format!("{} {}", self.name, message.as_ref())).at(self.node.span())
    }

    /// Reports a mistake that has to do with the value.
    pub(in crate::config) fn report(&self, problem: Problem) {
        self.report.add(problem);
    }

    /// Reports what is wrong with the value.
    pub(in crate::config) fn fault(&self, fault: Fault) {
        let mut problem = self.problem(&fault.message);
        if let Some(hint) = fault.hint {
            problem = problem.hint(hint);
        }
        self.report.add(problem);
    }

    /// Whether it is a table.
    pub(in crate::config) fn is_table(&self) -> bool {
        self.node.get_ref().is_table()
    }

    /// Whether it is a string.
    pub(in crate::config) fn is_text(&self) -> bool {
        self.node.get_ref().is_str()
    }

    /// The value, if it is `true` or `false`; says nothing if it is not.
    pub(in crate::config) fn as_flag(&self) -> Option<bool> {
        self.node.get_ref().as_bool()
    }

    /// The bare value.
    pub(in crate::config) fn node(&self) -> &'a DeValue<'a> {
        self.node.get_ref()
    }

    /// A string.
    pub(in crate::config) fn text(&self) -> Option<&'a str> {
        let text = self.node.get_ref().as_str();
        if text.is_none() {
            self.wrong_type("a string");
        }
        text
    }

    /// A string that `parse` understands.
    pub(in crate::config) fn parse<T>(&self, parse: impl FnOnce(&'a str) -> Result<T, Fault>) -> Option<T> {
        match parse(self.text()?) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.fault(fault);
                None
            }
        }
    }

    /// A string that is one of a few. `later` are those that this version does not have yet.
    pub(in crate::config) fn choice<T: Clone>(&self, choices: &[(&str, T)], later: &[&str]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        if let Some((_, value)) = found {
            return Some(value.clone());
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let problem = if later.contains(&text) {
            self.problem(format!("is \"{text}\", which is not in this version of Sidestream"))
        } else {
            let problem = self.problem(format!("cannot be {}", quote(text)));
            match suggest::closest(text, choices.iter().map(|(name, _)| *name)) {
                Some(meant) => problem.hint(format!("did you mean \"{meant}\"?")),
                None => problem,
            }
        };
        self.report.add(problem.help(format!("allowed here: {}", names.join(", "))));
        None
    }

    /// `true` or `false`.
    pub(in crate::config) fn flag(&self) -> Option<bool> {
        let flag = self.as_flag();
        if flag.is_none() {
            self.wrong_type("true or false");
        }
        flag
    }

    /// A whole number within bounds.
    pub(in crate::config) fn count(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.node.get_ref() else {
            self.wrong_type("a whole number");
            return None;
        };
        // A number too large for 64 bits and one below zero are out of every bound.
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let within = number.filter(|number| bounds.contains(number));
        if within.is_none() {
            self.out_of(&bounds.start().to_string(), &bounds.end().to_string());
        }
        within
    }

    /// A duration within bounds.
    pub(in crate::config) fn duration(&self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        if let Some(number) = self.bare_number() {
            self.fault(units::bare_duration(number));
            return None;
        }
        let duration = self.parse(units::duration)?;
        if !bounds.contains(&duration) {
            self.out_of(&units::show_duration(*bounds.start()), &units::show_duration(*bounds.end()));
            return None;
        }
        Some(duration)
    }

    /// A size in bytes, within bounds.
    pub(in crate::config) fn size(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        if let Some(number) = self.bare_number() {
            self.fault(units::bare_size(number));
            return None;
        }
        let size = self.parse(units::size)?;
        if !bounds.contains(&size) {
            self.out_of(&units::show_size(*bounds.start()), &units::show_size(*bounds.end()));
            return None;
        }
        Some(size)
    }

    /// The entries of a list.
    pub(in crate::config) fn list(&self) -> Vec<Value<'a>> {
        let Some(array) = self.node.get_ref().as_array() else {
            let problem = self.type_problem("a list");
            self.report.add(problem.hint("put it in brackets: [ … ]"));
            return Vec::new();
        };
        let name = format!("an entry of {}", self.name);
        array.iter().map(|node| Value::new(self.report, name.clone(), node)).collect()
    }

    /// The entries of a table with keys of the operator's own.
    pub(in crate::config) fn entries(&self) -> Vec<(&'a Spanned<Cow<'a, str>>, Value<'a>)> {
        let Some(table) = self.node.get_ref().as_table() else {
            self.wrong_type("a table");
            return Vec::new();
        };
        table.iter().map(|(key, node)| (key, Value::new(self.report, quote(key.get_ref()), node))).collect()
    }

    /// A table of a known shape.
    pub(in crate::config) fn section(&self, shape: &'static Shape) -> Option<Section<'a>> {
        if self
            .node
            .get_ref()
            .as_array()
            .is_some_and(|list| list.iter().all(|entry| entry.get_ref().is_table()))
            && shape.title.starts_with('[')
        {
            self.report.add(self.problem("can be there only once").hint(format!("write {}", shape.title)));
            return None;
        }
        let Some(table) = self.node.get_ref().as_table() else {
            self.wrong_type("a table");
            return None;
        };
        Some(Section::new(self.report, shape, table, self.node.span()))
    }

    /// Reports that the value is of another type than `wanted`.
    pub(in crate::config) fn wrong_type(&self, wanted: &str) {
        self.report.add(self.type_problem(wanted));
    }

    fn type_problem(&self, wanted: &str) -> Problem {
        let found = match self.node.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("must be {wanted}, not {found}"))
    }

    fn out_of(&self, low: &str, high: &str) {
        self.report.add(self.problem("is out of range").hint(format!("from {low} to {high}")));
    }

    fn bare_number(&self) -> Option<u64> {
        let DeValue::Integer(number) = self.node.get_ref() else {
            return None;
        };
        u64::from_str_radix(number.as_str(), number.radix()).ok()
    }
}

/// Short forms for keys that have a default.
impl Section<'_> {
    /// A duration.
    pub(in crate::config) fn duration(
        &self,
        key: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        self.value(key).and_then(|value| value.duration(bounds)).unwrap_or(default)
    }

    /// A size in bytes.
    pub(in crate::config) fn size(
        &self,
        key: &'static str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> u64 {
        self.value(key).and_then(|value| value.size(bounds)).unwrap_or(default)
    }

    /// A size of something that is held in memory, in bytes.
    pub(in crate::config) fn room(
        &self,
        key: &'static str,
        default: usize,
        bounds: RangeInclusive<u64>,
    ) -> usize {
        let size = self.value(key).and_then(|value| value.size(bounds));
        size.map_or(default, |size| usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// A number of things.
    pub(in crate::config) fn count(
        &self,
        key: &'static str,
        default: usize,
        bounds: RangeInclusive<u64>,
    ) -> usize {
        let count = self.value(key).and_then(|value| value.count(bounds));
        count.map_or(default, |count| usize::try_from(count).unwrap_or(usize::MAX))
    }
}
