//! One cookie out of the pieces that browsers' limit of 4 KiB makes of it: `name`, or `name.0`, `name.1` and so on.
//!
//! Invariant: a cookie is whole, or it is refused. Only names that are exactly these count: what merely begins like
//! one is another cookie.

use http::HeaderMap;

use crate::auth::Reason;
use crate::http::cookies;

/// The most pieces of one cookie.
pub(super) const MAX_CHUNKS: usize = 8;

/// The longest cookie, in bytes: its pieces fit into the head of a request.
pub(super) const MAX_COOKIE: usize = 32 * 1024;

/// The value of a cookie, whole or put together; none when no piece of it is there.
pub(super) fn find(headers: &HeaderMap, name: &str) -> Result<Option<String>, Reason> {
    let mut whole = None;
    let mut chunks: [Option<&[u8]>; MAX_CHUNKS] = [None; MAX_CHUNKS];
    for (key, value) in cookies(headers) {
        let Some(rest) = key.strip_prefix(name.as_bytes()) else { continue };
        let place = match rest {
            [] => &mut whole,
            [b'.', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                match digits {
                    [digit] if usize::from(digit - b'0') < MAX_CHUNKS => {
                        &mut chunks[usize::from(digit - b'0')]
                    }
                    _ => return Err(Reason::Pieces),
                }
            }
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(Reason::Repeated);
        }
    }
    let count = chunks.iter().take_while(|chunk| chunk.is_some()).count();
    let pieces = match (whole, count) {
        // With a hole at the beginning, or after what is there.
        _ if chunks[count..].iter().any(Option::is_some) => return Err(Reason::Pieces),
        (None, 0) => return Ok(None),
        (None, _) => chunks[..count].iter().flatten().copied().collect::<Vec<_>>(),
        (Some(value), 0) => vec![value],
        (Some(_), _) => return Err(Reason::Pieces),
    };
    if pieces.iter().any(|piece| piece.is_empty()) {
        return Err(Reason::Empty);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > MAX_COOKIE {
        return Err(Reason::Pieces);
    }
    String::from_utf8(pieces.concat()).map(Some).map_err(|_| Reason::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::COOKIE;

    fn found(lines: &[&str]) -> Result<Option<String>, Reason> {
        let lines =
            lines.iter().map(|line| (COOKIE, http::HeaderValue::from_bytes(line.as_bytes()).unwrap()));
        find(&lines.collect(), "s")
    }

    fn is(value: &str) -> Result<Option<String>, Reason> {
        Ok(Some(value.to_owned()))
    }

    #[test]
    fn pieces_are_put_together_by_their_number() {
        assert_eq!(found(&["a=1; s=x; b=2"]), is("x"));
        assert_eq!(found(&["s.1=b; s.0=a; s.2=c"]), is("abc"));
        assert_eq!(found(&["s.1=b", "x=ü; s.0=a=="]), is("a==b"));
        assert_eq!(found(&["s.0=a"]), is("a"));
        let eight: Vec<_> = (0..8).rev().map(|n| format!("s.{n}={n}")).collect();
        assert_eq!(found(&[&eight.join("; ")]), is("01234567"));
    }

    #[test]
    fn other_names_are_other_cookies() {
        let others = "sx=1; s-foo=2; s.=3; s.x=4; s.0x=5; s.-1=6; s.0.0=7; xs=8; S=9; s; as.0=1";
        assert_eq!(found(&[others]), Ok(None));
        assert_eq!(found(&[others, "s=own"]), is("own"));
        assert_eq!(found(&[]), Ok(None));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (line, why) in [
            ("s.1=b", Reason::Pieces),
            ("s.0=a; s.2=c", Reason::Pieces),
            ("s.0=a; s.8=c", Reason::Pieces),
            ("s.00=a", Reason::Pieces),
            ("s.0=a; s.99999999999999999999=b", Reason::Pieces),
            ("s=x; s.0=a", Reason::Pieces),
            ("s=x; s.3=a", Reason::Pieces),
            ("s=x; s=x", Reason::Repeated),
            ("s.0=a; s.0=b", Reason::Repeated),
            ("s=", Reason::Empty),
            ("s.0=a; s.1=", Reason::Empty),
            ("s=ü", Reason::NotText),
        ] {
            // In Latin-1, where the `ü` is a byte that is no text.
            let bytes: Vec<u8> = line.chars().map(|c| u8::try_from(c as u32).unwrap()).collect();
            let headers = HeaderMap::from_iter([(COOKIE, http::HeaderValue::from_bytes(&bytes).unwrap())]);
            assert_eq!(find(&headers, "s"), Err(why), "{line}");
        }
    }

    #[test]
    fn the_whole_is_bounded() {
        let piece = "x".repeat(MAX_COOKIE / MAX_CHUNKS);
        let all: Vec<_> = (0..MAX_CHUNKS).map(|n| format!("s.{n}={piece}")).collect();
        assert_eq!(found(&[&all.join("; ")]).unwrap().unwrap().len(), MAX_COOKIE);
        assert_eq!(found(&[&format!("{}x", all.join("; "))]), Err(Reason::Pieces));
    }
}
