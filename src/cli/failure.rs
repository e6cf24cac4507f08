//! Why a command did not do what was asked, in the form in which it is shown.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::config::Problems;

/// Ends a command, with exit code 1 unless another is said.
#[derive(Debug)]
pub(super) enum Failure {
    /// The configuration has mistakes; it knows itself how to show them.
    Config(Problems),
    /// Something that was given, or that it led to, did not work.
    Refused(Refused),
    /// Stdout could not be written.
    Output(io::Error),
}

/// What was wrong, why, and what to do.
#[derive(Debug)]
pub(super) struct Refused {
    what: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    help: Option<String>,
    code: u8,
}

impl Failure {
    /// What was wrong, in half a sentence without a full stop.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self::Refused(Refused { what: what.into(), cause: None, help: None, code: 1 })
    }

    /// Adds the error that it came from; shown with all of its own causes.
    pub(super) fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.cause = Some(cause.into());
        }
        self
    }

    /// Adds what to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.help = Some(help.into());
        }
        self
    }

    /// Ends the command with another exit code than 1.
    pub(super) fn code(mut self, code: u8) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.code = code;
        }
        self
    }

    /// What the command ends with.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(refused) => refused.code.into(),
            Self::Config(_) | Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// Whether the reader of stdout went away, which is no failure of the command.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::Output(error) => write!(f, "error: stdout cannot be written: {error}"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn Error);
        let mut said = String::new();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors repeat their cause in their own text; once is enough.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(problems) => Some(problems),
            Self::Output(error) => Some(error),
            Self::Refused(refused) => refused.cause.as_deref().map(|cause| cause as &dyn Error),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_why_and_what_to_do() {
        let failure = Failure::new("nothing listens at /run/s.sock")
            .because(io::Error::new(io::ErrorKind::NotFound, "no such file"))
            .help("start it");
        assert_eq!(
            failure.to_string(),
            "error: nothing listens at /run/s.sock: no such file\n  help: start it"
        );
        assert!(failure.source().is_some());
        assert!(!failure.is_closed_pipe());
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_errors() {
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_closed_pipe());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::StorageFull)).is_closed_pipe());
    }
}
