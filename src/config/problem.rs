//! Mistakes in what the operator wrote, and how they are shown.
//!
//! Invariant: a problem is text for a person. It says what was wrong, where, and what to do, and it never quotes a
//! secret: messages are written without values of secret keys, and the source line is shown with them masked.

use std::fmt;
use std::ops::Range;

mod mask;
mod snippet;

use snippet::Snippet;

/// The most problems that are printed; more of them would push the first ones off the screen.
const SHOWN: usize = 40;

/// The most characters of a word of the file that a message repeats.
const QUOTED: usize = 60;

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

/// A word of the file as a message repeats it: cut when it is long, without what could move the cursor.
pub(super) fn quote(word: &str) -> String {
    let mut quoted: String = word.chars().take(QUOTED).flat_map(char::escape_debug).collect();
    if word.chars().nth(QUOTED).is_some() {
        quoted.push('…');
    }
    format!("`{quoted}`")
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
#[derive(Clone)]
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

    /// What they are in: the file as it was named, or the command line.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The line and the column where one of them begins, from 1; none if it has no place in the file.
    pub fn place_of(&self, problem: &Problem) -> Option<(usize, usize)> {
        let before = self.text.get(..problem.span.as_ref()?.start)?;
        let line = before.rsplit('\n').next().unwrap_or_default();
        Some((before.matches('\n').count() + 1, line.chars().count() + 1))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets = mask::secrets(&self.text);
        for problem in self.list.iter().take(SHOWN) {
            writeln!(f, "error: {}", problem.message)?;
            let mut margin = 0;
            let mut rest = [problem.hint.as_deref(), problem.help.as_deref()];
            if let Some(span) = &problem.span {
                let snippet = Snippet::new(&self.text, span.clone(), &secrets);
                margin = snippet.margin();
                snippet.write(f, &self.origin, rest[0].take())?;
                if rest[1].is_some() {
                    writeln!(f, " {:margin$} |", "")?;
                }
            }
            for line in rest.into_iter().flatten() {
                writeln!(f, " {:margin$} = {line}", "")?;
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

/// The same as what is printed: the text of the file has secrets in it.
impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}
