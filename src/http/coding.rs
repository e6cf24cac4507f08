//! Which content codings a client takes (RFC 9110, section 12.5.3).

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, HeaderMap};

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
}

/// Every coding that is known, the one that is liked best first: by how small a text becomes.
const KNOWN: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

/// The most entries of the field that are looked at.
const MAX_ENTRIES: usize = 32;

/// The weight of an entry that gives none, in thousandths.
const FULL: u16 = 1000;

impl Coding {
    /// As the fields write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn is_called(self, name: &str) -> bool {
        // The other name is what gzip was called once (section 8.4.1.3).
        name.eq_ignore_ascii_case(self.name()) || self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip")
    }
}

/// The codings that a client takes rather than none, the one to try first at the front, with their weights in
/// thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codings([Option<(u16, Coding)>; KNOWN.len()]);

impl Codings {
    /// What a request says. A request that says nothing gets no coding: it may not know any.
    pub fn accepted(fields: &HeaderMap) -> Self {
        let mut weights = Weights::default();
        let lines =
            fields.get_all(ACCEPT_ENCODING).iter().filter_map(|line: &HeaderValue| line.to_str().ok());
        for entry in lines.flat_map(|line| line.split(',')).take(MAX_ENTRIES) {
            weights.add(entry);
        }
        let mut taken: [Option<(u16, Coding)>; KNOWN.len()] = Default::default();
        for (place, coding) in KNOWN.into_iter().enumerate() {
            let weight = weights.known[place].or(weights.any).unwrap_or(0);
            if weight > 0 && weight >= weights.identity.unwrap_or(0) {
                taken[place] = Some((weight, coding));
            }
        }
        // Stable: of equal weights, the order above holds.
        taken.sort_by_key(|entry| std::cmp::Reverse(entry.map_or(0, |(weight, _)| weight)));
        Self(taken)
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().flatten().map(|(_, coding)| coding)
    }

    /// Of these, the one that the client likes best; of several, the first.
    pub fn choose(self, offered: &[Coding]) -> Option<Coding> {
        let weight = |offer: &Coding| {
            let known = self.0.iter().flatten().find(|(_, coding)| coding == offer);
            known.map(|(weight, _)| (*weight, *offer))
        };
        let weighed = offered.iter().filter_map(weight);
        weighed.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, coding)| coding)
    }
}

/// The weights that a request gives, in thousandths.
#[derive(Default)]
struct Weights {
    known: [Option<u16>; KNOWN.len()],
    identity: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    fn add(&mut self, entry: &str) {
        let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let (name, weight) = (name.trim(), weight(parameters));
        if name == "*" {
            self.any = Some(weight);
        } else if name.eq_ignore_ascii_case("identity") {
            self.identity = Some(weight);
        } else if let Some(place) = KNOWN.iter().position(|coding| coding.is_called(name)) {
            self.known[place] = Some(weight);
        }
    }
}

/// The weight of an entry (section 12.4.2). One that cannot be read is none: what follows from it is not sent.
fn weight(parameters: &str) -> u16 {
    let Some(text) = parameters.split(';').map(str::trim).find_map(|text| text.strip_prefix(['q', 'Q']))
    else {
        return FULL;
    };
    let Some(number) = text.trim_start().strip_prefix('=').map(str::trim) else { return FULL };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" if digits => FULL,
        "0" if digits => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(lines: &[&str]) -> Vec<&'static str> {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(ACCEPT_ENCODING, line.parse().unwrap());
        }
        Codings::accepted(&fields).iter().map(Coding::name).collect()
    }

    #[test]
    fn the_client_chooses_by_weight_and_we_among_equals() {
        for (line, expected) in [
            ("", &[][..]),
            ("gzip", &["gzip"]),
            ("gzip, deflate, br, zstd", &["br", "zstd", "gzip"]),
            ("GZIP;Q=1.0, br;q=0.5", &["gzip", "br"]),
            ("br;q=0, gzip;q=0.001", &["gzip"]),
            ("x-gzip", &["gzip"]),
            ("*", &["br", "zstd", "gzip"]),
            ("*;q=0.3, gzip", &["gzip", "br", "zstd"]),
            ("br, *;q=0", &["br"]),
            ("identity", &[]),
            ("identity;q=1, gzip;q=0.5", &[]),
            ("identity;q=0.5, gzip;q=0.5", &["gzip"]),
            ("identity;q=0, gzip", &["gzip"]),
            ("gzip;q=2", &[]),
            ("gzip;q=0.1234", &[]),
            ("gzip;q=-1", &[]),
            ("gzip;q=x", &[]),
            ("gzip;level=3", &["gzip"]),
            ("bro, gzipped", &[]),
            ("deflate, compress", &[]),
        ] {
            assert_eq!(accepted(&[line]), expected, "{line}");
        }
        assert_eq!(accepted(&["gzip", "br"]), ["br", "gzip"]);
        assert_eq!(accepted(&[]), [""; 0]);
    }

    #[test]
    fn among_equals_the_first_that_is_offered_is_taken() {
        let offered = [Coding::Zstd, Coding::Brotli];
        for (line, expected) in [
            ("gzip, br, zstd", Some(Coding::Zstd)),
            ("gzip, br", Some(Coding::Brotli)),
            ("zstd;q=0.5, br;q=0.6, gzip", Some(Coding::Brotli)),
            ("zstd;q=0.5, br;q=0.5", Some(Coding::Zstd)),
            ("gzip", None),
            ("zstd;q=0", None),
        ] {
            let fields = HeaderMap::from_iter([(ACCEPT_ENCODING, line.parse().unwrap())]);
            assert_eq!(Codings::accepted(&fields).choose(&offered), expected, "{line}");
        }
    }

    #[test]
    fn a_flood_of_entries_is_not_looked_at() {
        assert_eq!(accepted(&[&format!("{}gzip", "a,".repeat(MAX_ENTRIES))]), [""; 0]);
    }
}
