//! Secrets: where they come from, and that they are not printed.

use std::path::Path;
use std::{env, error, fmt, fs, io};

use super::problem::Fault;
use super::reader::Value;

/// The largest secret file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Text that must not be printed. `Debug` shows only that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads `env:NAME`, `file:PATH` (one newline at its end is not part of the secret) or the secret itself. A
    /// relative path is taken from the working directory.
    pub fn resolve(text: &str) -> Result<Self, SecretError> {
        Self::resolve_in(text, Path::new(""))
    }

    /// Like [`Secret::resolve`], with relative paths taken from `base`.
    pub fn resolve_in(text: &str, base: &Path) -> Result<Self, SecretError> {
        let secret = if let Some(name) = text.strip_prefix("env:") {
            variable(name)?
        } else if let Some(path) = text.strip_prefix("file:") {
            file(&base.join(path)).map_err(|cause| SecretError::File { path: path.to_owned(), cause })?
        } else {
            text.to_owned()
        };
        if secret.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self(secret))
    }

    /// Text that is the secret itself; none if it is empty.
    pub(super) fn literal(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Reads a secret of the file.
    pub(super) fn read(value: &Value<'_>, base: &Path) -> Option<Self> {
        value.parse(|text| Self::resolve_in(text, base).map_err(|error| error.fault()))
    }

    /// The secret itself. Never give it to a log, an error or a reply.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why there is no secret. Its text names the variable or the file, never what is in it.
#[derive(Debug)]
pub enum SecretError {
    /// The environment variable is not set.
    Unset {
        /// Its name.
        name: String,
    },
    /// The environment variable is not UTF-8.
    NotText {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    File {
        /// Its path as it was written.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// There is nothing in it.
    Empty,
}

impl SecretError {
    /// The fault of whoever names the secret, with what to do about it.
    pub(super) fn fault(&self) -> Fault {
        let fault = Fault::new(self.to_string());
        match self {
            Self::Unset { name } => {
                fault.hint(format!("set {name} in the shell or unit that starts Sidestream"))
            }
            Self::NotText { .. } | Self::File { .. } | Self::Empty => fault,
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset { name } => write!(f, "needs the environment variable `{name}`, which is not set"),
            Self::NotText { name } => {
                write!(f, "needs the environment variable `{name}`, which is not UTF-8")
            }
            Self::File { path, cause } => write!(f, "needs the file `{path}`, which cannot be read: {cause}"),
            Self::Empty => f.write_str("is empty"),
        }
    }
}

impl error::Error for SecretError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::File { cause, .. } => Some(cause),
            Self::Unset { .. } | Self::NotText { .. } | Self::Empty => None,
        }
    }
}

fn variable(name: &str) -> Result<String, SecretError> {
    let name = name.to_owned();
    // `var` would panic on a name that no environment can hold.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(SecretError::Unset { name });
    }
    env::var(&name).map_err(|error| match error {
        env::VarError::NotPresent => SecretError::Unset { name },
        env::VarError::NotUnicode(_) => SecretError::NotText { name },
    })
}

fn file(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64KiB"));
    }
    let mut text = fs::read_to_string(path)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
