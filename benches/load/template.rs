//! Texts with places to fill in, so that one tool speaks to any server.
//!
//! Invariant: only the five known places are replaced; every other brace stands for itself, so JSON needs no escapes.

/// A text with places in it.
#[derive(Debug, Clone)]
pub(crate) struct Template(Vec<Piece>);

/// What is filled in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    /// `{user}`: who it is for.
    pub(crate) user: &'a str,
    /// `{channel}`: the one channel, or the user's name where each user has one.
    pub(crate) channel: &'a str,
    /// `{token}`: the user's token.
    pub(crate) token: &'a str,
    /// `{data}`: the stamp of an event and its filling.
    pub(crate) data: &'a str,
    /// `{index}`: the number of the user.
    pub(crate) index: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    User,
    Channel,
    Token,
    Data,
    Index,
}

const PLACES: [(&str, Piece); 5] = [
    ("{user}", Piece::User),
    ("{channel}", Piece::Channel),
    ("{token}", Piece::Token),
    ("{data}", Piece::Data),
    ("{index}", Piece::Index),
];

impl Template {
    /// Reads a text; there is none that is wrong.
    pub(crate) fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((at, place, piece)) = first_place(rest) {
            if at > 0 {
                pieces.push(Piece::Text(rest[..at].to_owned()));
            }
            pieces.push(piece);
            rest = &rest[at + place.len()..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Self(pieces)
    }

    /// Appends the text with its places filled in.
    pub(crate) fn render(&self, out: &mut Vec<u8>, values: &Values<'_>) {
        for piece in &self.0 {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::User => values.user,
                Piece::Channel => values.channel,
                Piece::Token => values.token,
                Piece::Data => values.data,
                Piece::Index => {
                    out.extend_from_slice(itoa::Buffer::new().format(values.index).as_bytes());
                    continue;
                }
            };
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Where the first place is, how it is written and what it is.
fn first_place(text: &str) -> Option<(usize, &'static str, Piece)> {
    PLACES
        .iter()
        .filter_map(|(place, piece)| Some((text.find(place)?, *place, piece.clone())))
        .min_by_key(|(at, ..)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn rendered(template: &str, expected: &str) {
        let values = Values { user: "u7", channel: "all", token: "T", data: "D", index: 7 };
        let mut out = Vec::new();
        Template::parse(template).render(&mut out, &values);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn known_places_are_filled_and_other_braces_stay() {
        rendered("/events?token={token}", "/events?token=T");
        rendered(r#"{"user":"{user}","data":"{data}"}"#, r#"{"user":"u7","data":"D"}"#);
        rendered("{channel}{channel}{index}", "allall7");
        rendered("{other} {", "{other} {");
        rendered("", "");
    }
}
