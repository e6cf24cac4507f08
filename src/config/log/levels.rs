//! `level`: how much is said on stderr, by the area that says it.

use tracing::level_filters::LevelFilter;

use crate::config::problem::{Fault, quote};
use crate::config::suggest::closest;

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// The parts of the program that have something to say, and the library of HTTP/2. A test holds that none is missing.
const AREAS: [&str; 22] = [
    "access_log",
    "acme",
    "admin",
    "auth",
    "cli",
    "connection",
    "files",
    "h2",
    "hub",
    "limits",
    "listener",
    "proxy",
    "publish",
    "router",
    "server",
    "source",
    "store",
    "stream",
    "systemd",
    "trace",
    "transport",
    "worker",
];

/// The one that is not a part of ours.
const LIBRARY: &str = "h2";

/// What of it repeats paths and hosts that cannot be read, at a level below INFO. There may be secrets in them.
const TELLTALE: &str = "h2::server";

/// The least severe message that is written, of each area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// That of the areas that have none of their own.
    pub others: LevelFilter,
    areas: Vec<(&'static str, LevelFilter)>,
}

impl Levels {
    /// The same level everywhere.
    pub fn all(level: LevelFilter) -> Self {
        Self { others: level, areas: Vec::new() }
    }

    /// The levels of areas that have one of their own, by what events are marked with. The library never says what
    /// could hold a secret.
    pub fn targets(&self) -> impl Iterator<Item = (String, LevelFilter)> {
        let own = self.areas.iter().find(|(area, _)| *area == LIBRARY);
        let bounded = own.map_or(self.others, |(_, level)| *level).min(LevelFilter::INFO);
        let named = self.areas.iter().map(|(area, level)| match *area {
            LIBRARY => (LIBRARY.to_owned(), *level),
            area => (format!("{}::{area}", env!("CARGO_CRATE_NAME")), *level),
        });
        named.chain([(TELLTALE.to_owned(), bounded)])
    }

    /// Reads `LEVEL`, `AREA=LEVEL`, or a list of both with commas.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let mut levels = Self::default();
        let mut is_named = false;
        for part in text.split(',').map(str::trim) {
            let Some((area, level)) = part.split_once('=') else {
                let level = one_of(part, "level", &LEVELS)?;
                if std::mem::replace(&mut is_named, true) {
                    return Err(
                        Fault::new("has two levels for everything").hint("write AREA=LEVEL for one of them")
                    );
                }
                levels.others = level;
                continue;
            };
            let area = one_of(area.trim(), "area", &AREAS.map(|area| (area, area)))?;
            let level = one_of(level.trim(), "level", &LEVELS)?;
            if levels.areas.iter().any(|(known, _)| *known == area) {
                return Err(Fault::new(format!("has two levels for {}", quote(area))));
            }
            levels.areas.push((area, level));
        }
        Ok(levels)
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self::all(LevelFilter::INFO)
    }
}

/// What a word stands for.
fn one_of<T: Copy>(word: &str, what: &str, known: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, meant)) = known.iter().find(|(name, _)| *name == word) {
        return Ok(*meant);
    }
    let names = || known.iter().map(|(name, _)| *name);
    let allowed = format!("write one of {}", names().collect::<Vec<_>>().join(", "));
    Err(Fault::new(format!("has {}, which is no {what}", quote(word))).hint(match closest(word, names()) {
        Some(meant) => format!("did you mean \"{meant}\"? {allowed}"),
        None => allowed,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_have_levels_of_their_own() {
        let levels = |text: &str| {
            let levels = Levels::parse(text).unwrap_or_else(|fault| panic!("{text}: {}", fault.message));
            (levels.others, levels.targets().collect::<Vec<_>>())
        };
        let at = |target: &str, level| (target.to_owned(), level);
        let bounded = |level| at(TELLTALE, level);
        assert_eq!(levels("warn"), (LevelFilter::WARN, vec![bounded(LevelFilter::WARN)]));
        assert_eq!(levels("trace"), (LevelFilter::TRACE, vec![bounded(LevelFilter::INFO)]));
        let proxy = at("sidestream::proxy", LevelFilter::DEBUG);
        assert_eq!(
            levels("proxy=debug"),
            (LevelFilter::INFO, vec![proxy.clone(), bounded(LevelFilter::INFO)])
        );
        let h2 = at("h2", LevelFilter::OFF);
        let listed = vec![h2, proxy, bounded(LevelFilter::OFF)];
        assert_eq!(levels("h2=off, error, proxy = debug"), (LevelFilter::ERROR, listed));
        for wrong in
            ["", "info,", "loud", "info,warn", "proxy", "proxy=", "tcp=info", "hub=info,hub=warn", "=info"]
        {
            assert!(Levels::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_area_that_has_something_to_say_can_be_named() {
        let mut speaking = std::collections::BTreeSet::from([LIBRARY.to_owned()]);
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut left = vec![root.clone()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if std::fs::read_to_string(&path).unwrap().contains("tracing::") {
                let inner = path.strip_prefix(&root).unwrap().with_extension("");
                speaking
                    .insert(inner.components().next().unwrap().as_os_str().to_string_lossy().into_owned());
            }
        }
        // It reads levels, and says nothing.
        speaking.remove("config");
        assert_eq!(speaking.into_iter().collect::<Vec<_>>(), AREAS);
    }
}
