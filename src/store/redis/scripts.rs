//! The scripts that run in Redis: each is one step that nothing comes between.
//!
//! Invariant: a script is sent by its hash, and every new connection loads them all first; so a server that does not know
//! one (`NOSCRIPT`) is not the one that was connected to.

use redis::{Cmd, Script};

/// All scripts, by what they do.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) attach: Loaded,
    pub(super) publish: Loaded,
    pub(super) load: Loaded,
    pub(super) pass: Loaded,
    pub(super) mark: Loaded,
    pub(super) kick: Loaded,
    pub(super) key: Loaded,
}

/// One script.
#[derive(Debug)]
pub(super) struct Loaded {
    text: &'static str,
    hash: String,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            attach: Loaded::new(include_str!("scripts/attach.lua")),
            publish: Loaded::new(include_str!("scripts/publish.lua")),
            load: Loaded::new(include_str!("scripts/load.lua")),
            pass: Loaded::new(include_str!("scripts/pass.lua")),
            mark: Loaded::new(include_str!("scripts/mark.lua")),
            kick: Loaded::new(include_str!("scripts/kick.lua")),
            key: Loaded::new(include_str!("scripts/key.lua")),
        }
    }

    /// The texts, to be loaded.
    pub(super) fn texts(&self) -> [&'static str; 7] {
        let Self { attach, publish, load, pass, mark, kick, key } = self;
        [attach, publish, load, pass, mark, kick, key].map(|script| script.text)
    }
}

impl Loaded {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }

    /// The beginning of a call; arguments follow. The keys are made from the prefix: one server holds all of them.
    pub(super) fn call(&self) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.hash).arg(0);
        cmd
    }
}
