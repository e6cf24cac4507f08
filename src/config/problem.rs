//! Mistakes in what the operator wrote, and how they are shown.
//!
//! Invariant: a problem is text for a person. It says what was wrong, where, and what to do, and it never quotes a
//! secret: messages are written without values of secret keys, and [`snippet`] masks them on the source line.

use std::fmt;
use std::ops::Range;

mod snippet;

/// The most problems that are printed; more of them would push the first ones off the screen.
const SHOWN: usize = 40;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    message: String,
    span: Option<Range<usize>>,
    hint: Option<String>,
    help: Option<String>,
}

impl Problem {
    /// A mistake that has no place in the file.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, hint: None, help: None }
    }

    /// Gives the bytes of the file that are wrong.
    pub(super) fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds a few words that stand beside the caret.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a line below the source: what is allowed, or what to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The bytes of the file that are wrong, if it is a place in the file.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }
}

/// A value that cannot be used, said by code that does not know where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// What is wrong, as it follows the name of a key or a flag: "is not a duration".
    pub(super) message: String,
    /// What to write instead.
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The problem of a flag of the command line.
    pub(super) fn of_flag(self, flag: &str) -> Problem {
        let problem = Problem::new(format!("`{flag}` {}", self.message));
        match self.hint {
            Some(hint) => problem.help(hint),
            None => problem,
        }
    }
}

/// Everything that is wrong with one configuration; at least one problem. Printed, it is what `sidestream check`
/// shows.
#[derive(Debug, Clone)]
pub struct Problems {
    /// What the problems are in: the file as it was named, or the command line.
    origin: String,
    /// The text of the file; empty when there is none.
    text: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(origin: impl Into<String>, text: impl Into<String>, mut list: Vec<Problem>) -> Self {
        // In the order of the file; what has no place in it comes last.
        list.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        Self { origin: origin.into(), text: text.into(), list }
    }

    /// The problems in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.list.iter().take(SHOWN) {
            writeln!(f, "error: {}", problem.message)?;
            match &problem.span {
                Some(span) => snippet::write(
                    f,
                    &self.origin,
                    &self.text,
                    span.clone(),
                    problem.hint.as_deref(),
                    problem.help.as_deref(),
                )?,
                None => {
                    for line in [&problem.hint, &problem.help].into_iter().flatten() {
                        writeln!(f, "  = {line}")?;
                    }
                }
            }
            writeln!(f)?;
        }
        if let Some(more) = self.list.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(f, "… and {more} more")?;
        }
        let plural = if self.list.len() == 1 { "" } else { "s" };
        write!(f, "{} error{plural} in {}", self.list.len(), self.origin)
    }
}

impl std::error::Error for Problems {}
