//! What a request is called, in the app's log and in ours.

use http::HeaderValue;
use http::header::HeaderMap;

use super::forwarded::Peer;

/// The longest name that is taken over, in bytes.
const MAX: usize = 128;

/// The name of a request. One of our own takes no memory besides: every request gets one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Name);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// Hexadecimal digits.
    Ours([u8; 16]),
    /// Letters, digits and a few marks.
    Theirs(HeaderValue),
}

impl RequestId {
    /// What a request is called: by a trusted proxy in front of us, if that is a name for a log, or by us.
    pub fn of(fields: &HeaderMap, peer: &Peer) -> Self {
        if peer.trusted
            && let Some(id) = fields.get("x-request-id")
            && (1..=MAX).contains(&id.len())
            && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
        {
            return Self(Name::Theirs(id.clone()));
        }
        let mut bits = fastrand::u64(..);
        let mut digits = [0; 16];
        for digit in &mut digits {
            *digit = b"0123456789abcdef"[(bits & 15) as usize];
            bits >>= 4;
        }
        Self(Name::Ours(digits))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        let text = match &self.0 {
            Name::Ours(digits) => std::str::from_utf8(digits).ok(),
            Name::Theirs(id) => id.to_str().ok(),
        };
        // Both are ASCII.
        text.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::forwarded::PeerAddress;
    use super::*;

    #[test]
    fn only_a_trusted_proxy_names_requests_and_only_by_a_name_for_a_log() {
        let long = "x".repeat(MAX + 1);
        for (trusted, said, is_taken) in [
            (true, "Abc-1._z", true),
            (true, &long[1..], true),
            (true, &long, false),
            (true, "", false),
            (true, "a b", false),
            (true, "a\"b", false),
            (false, "Abc-1._z", false),
        ] {
            let peer = Peer::new(PeerAddress::Unix, false, trusted);
            let fields = HeaderMap::from_iter([("x-request-id".parse().unwrap(), said.parse().unwrap())]);
            let (id, other) = (RequestId::of(&fields, &peer), RequestId::of(&fields, &peer));
            assert_eq!(id.as_str() == said, is_taken, "{said}");
            if !is_taken {
                assert_ne!(id, other);
                assert!(id.as_str().len() == 16 && id.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
            }
        }
    }
}
