//! The old process's side.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Word;
use super::channel::{Channel, LONGEST_TEXT};
use super::predecessor::VARIABLE;

/// What the new process is not to have of the environment: it is about this one.
const NOT_FOR_IT: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How long the new process has to take a letter.
const PATIENCE: Duration = Duration::from_secs(10);

/// The program as it was started.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This one. To be asked at the start: later its file may be another.
    ///
    /// # Errors
    /// If the system does not say where it is.
    pub fn current() -> io::Result<Self> {
        Ok(Self { path: env::current_exe()?, arguments: env::args_os().skip(1).collect() })
    }
}

/// Why the new process does not take over.
#[derive(Debug)]
pub enum Failure {
    /// It could not be started.
    NotStarted {
        /// The program.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It has ended.
    Ended(Option<ExitStatus>),
    /// It has not said this in time.
    Late(Word),
    /// It could not be told, or says what is not understood.
    Broken(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { path, cause } => write!(f, "{} cannot be started: {cause}", path.display()),
            Self::Ended(Some(status)) => {
                write!(f, "the new process has ended before it could take over ({status})")
            }
            Self::Ended(None) => f.write_str("the new process has ended before it could take over"),
            Self::Late(_) => f.write_str("the new process took too long to take over, and has been killed"),
            Self::Broken(cause) => write!(f, "the new process cannot be spoken with: {cause}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotStarted { cause, .. } | Self::Broken(cause) => Some(cause),
            Self::Ended(_) | Self::Late(_) => None,
        }
    }
}

/// The process that is to replace this one. Ended with this, unless it has been let go.
#[derive(Debug)]
pub struct Successor {
    pid: u32,
    /// None when it has been let go, or is being ended.
    child: Option<Child>,
    teller: Teller,
}

/// Tells it something. A cheap handle.
#[derive(Debug, Clone)]
pub struct Teller {
    channel: Arc<Channel<UnixStream>>,
    /// Whoever has several letters to send holds it.
    turn: Arc<Mutex<()>>,
}

impl Successor {
    /// Starts it, within a runtime. It has our environment, standard output and error, and folder.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(program: &Program) -> Result<Self, Failure> {
        let (channel, theirs) = Channel::pair().map_err(Failure::Broken)?;
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).stdin(theirs).env(VARIABLE, process::id().to_string());
        for variable in NOT_FOR_IT {
            command.env_remove(variable);
        }
        let channel = channel.in_runtime().map_err(Failure::Broken)?;
        let not_started = |cause| Failure::NotStarted { path: program.path.clone(), cause };
        let child = command.spawn().map_err(not_started)?;
        Ok(Self {
            pid: child.id(),
            child: Some(child),
            teller: Teller { channel: Arc::new(channel), turn: Arc::default() },
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it go on without this.
    pub fn let_go(mut self) {
        self.child = None;
    }

    /// What tells it more, also when this is gone.
    pub fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// Tells it something.
    ///
    /// # Errors
    /// If it does not take it.
    pub async fn tell(&self, word: Word, text: &str, socket: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
        let telling = self.teller.send(word, text.as_bytes(), socket);
        match timeout(PATIENCE, telling).await {
            Ok(told) => told.map_err(Failure::Broken),
            Err(_) => Err(Failure::Late(word)),
        }
    }

    /// Waits until it says this.
    ///
    /// # Errors
    /// If it ends before, or does not say it in time.
    pub async fn hear(&self, word: Word, within: Duration) -> Result<(), Failure> {
        let hearing = async {
            loop {
                match self.teller.channel.receive_when_ready().await? {
                    Some(letter) if letter.word == word => return Ok(true),
                    Some(_) => {}
                    None => return Ok(false),
                }
            }
        };
        match timeout(within, hearing).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Failure::Ended(None)),
            Ok(Err(error)) => Err(Failure::Broken(error)),
            Err(_) => Err(Failure::Late(word)),
        }
    }

    /// Ends it, for this reason, and returns that, or how it had ended by itself.
    pub async fn give_up(self, why: Failure) -> Failure {
        let has_ended = matches!(why, Failure::Ended(_));
        let is_gone = has_ended || matches!(why, Failure::Broken(_));
        match self.ended(!has_ended).await {
            // One that we have killed has no code.
            Some(status) if has_ended || is_gone && status.code().is_some() => Failure::Ended(Some(status)),
            _ => why,
        }
    }

    /// Ends it.
    pub async fn end(self) {
        self.ended(true).await;
    }

    /// Waits for its end: only then is what it had open closed.
    async fn ended(mut self, is_to_end: bool) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let ended = spawn_blocking(move || {
            if is_to_end {
                // It fails when it has ended at this moment.
                let _ = child.kill();
            }
            child.wait().ok()
        });
        ended.await.ok().flatten()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It fails when it has ended at this moment.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Teller {
    /// Hands a publisher's connection over, with what of its lines has been read and not been published.
    ///
    /// # Errors
    /// If the other process does not take it.
    pub async fn hand_lines(&self, begun: &[u8], socket: BorrowedFd<'_>) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        for piece in begun.chunks(LONGEST_TEXT) {
            self.send(Word::Begun, piece, None).await?;
        }
        self.send(Word::Lines, b"", Some(socket)).await
    }

    async fn send(&self, word: Word, text: &[u8], socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.channel.send_when_ready(word, text, socket).await
    }
}
