//! A subscriber over HTTP/1, as a browser's EventSource is one: it takes blocks apart and remembers the last id.

use std::time::Duration;

use super::{Client, token};

/// What a stream said between two blank lines. Comments and `retry:` are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Said {
    pub(crate) id: Option<String>,
    /// Empty if there was none.
    pub(crate) event: String,
    /// Lines joined by LF; none if there was no `data:` line, so that a client fires nothing.
    pub(crate) data: Option<String>,
}

impl Said {
    /// Takes a block apart. Fields that an EventSource does not know are a fault of ours.
    pub(crate) fn parse(block: &str) -> Self {
        let mut said = Self::default();
        for line in block.lines().filter(|line| !line.starts_with(':')) {
            let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
            match field {
                "id" => said.id = Some(value.to_owned()),
                "event" => said.event = value.to_owned(),
                "data" => match &mut said.data {
                    Some(data) => *data = format!("{data}\n{value}"),
                    None => said.data = Some(value.to_owned()),
                },
                "retry" => {}
                other => panic!("unknown field {other:?} in {block:?}"),
            }
        }
        said
    }
}

/// An open stream.
pub(crate) struct Subscriber {
    client: Client,
    pub(crate) head: String,
    chunked: bool,
    text: String,
    /// The block that it opened with.
    pub(crate) opening: String,
    /// The last id that it was told, as a browser would say it when it comes back.
    pub(crate) last_id: String,
}

impl Subscriber {
    /// Opens the stream of a user at `/events`.
    pub(crate) fn of(client: Client, user: &str) -> Self {
        Self::open(client, &format!("/events?token={}", token(user)), "")
    }

    /// Comes back as a user with the id that it was told last.
    pub(crate) fn resume(client: Client, user: &str, last_id: &str) -> Self {
        Self::open(
            client,
            &format!("/events?token={}", token(user)),
            &format!("Last-Event-ID: {last_id}\r\n"),
        )
    }

    /// Opens a stream with fields of its own, each with its CRLF.
    pub(crate) fn open(mut client: Client, target: &str, fields: &str) -> Self {
        client.get(target, fields);
        Self::opened(client)
    }

    /// Takes over where a request for a stream has been sent.
    pub(crate) fn opened(mut client: Client) -> Self {
        let head = client.head();
        assert!(
            head.split(' ').nth(1) == Some("200"),
            "{head}\n{:?}",
            String::from_utf8_lossy(&client.rest())
        );
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let mut this = Self {
            client,
            head,
            chunked,
            text: String::new(),
            opening: String::new(),
            last_id: String::new(),
        };
        this.opening = this.block();
        let said = Said::parse(&this.opening);
        this.last_id = said.id.unwrap_or_default();
        this
    }

    /// The next block, without its blank line.
    pub(crate) fn block(&mut self) -> String {
        while !self.text.contains("\n\n") {
            self.more();
        }
        let (block, rest) = self.text.split_once("\n\n").unwrap();
        let block = block.to_owned();
        self.text = rest.to_owned();
        block
    }

    /// The next line, for comments, which stand outside of blocks.
    pub(crate) fn line(&mut self) -> String {
        while !self.text.contains('\n') {
            self.more();
        }
        let (line, rest) = self.text.split_once('\n').unwrap();
        let line = line.to_owned();
        self.text = rest.to_owned();
        line
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Said {
        let said = Said::parse(&self.block());
        if let Some(id) = &said.id {
            self.last_id.clone_from(id);
        }
        said
    }

    /// The next event, if one comes before the stream ends. What came of it in part is nothing. Only over HTTP/1.1.
    pub(crate) fn try_event(&mut self) -> Option<Said> {
        while !self.text.contains("\n\n") {
            let chunk = self.client.try_chunk()?;
            assert!(!chunk.is_empty(), "the stream ended as if whole, after {:?}", self.text);
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        Some(self.event())
    }

    /// The data of the next event.
    pub(crate) fn data(&mut self) -> String {
        self.event().data.unwrap_or_default()
    }

    /// Waits for the end and returns what was said before it. It must be abrupt: without a last chunk.
    pub(crate) fn end(mut self) -> String {
        let rest = String::from_utf8(self.client.rest()).unwrap();
        if !self.chunked {
            return self.text + &rest;
        }
        let mut raw = rest.as_str();
        while let Some((size, after)) = raw.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
            assert!(size > 0, "the stream ended as if whole, after {:?}", self.text);
            self.text.push_str(&after[..size]);
            raw = &after[size + 2..];
        }
        assert!(raw.is_empty(), "half a chunk was written: {raw:?}");
        self.text
    }

    /// Whether nothing is said for a moment: for what must not happen.
    pub(crate) fn is_silent_for(&mut self, moment: Duration) -> bool {
        self.text.is_empty() && self.client.is_silent_for(moment)
    }

    /// Its connection, to send on it what a subscriber should not.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    fn more(&mut self) {
        if self.chunked {
            let chunk = self.client.chunk();
            assert!(!chunk.is_empty(), "the stream ended as if whole, after {:?}", self.text);
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        } else {
            self.text.push_str(&self.client.until("\n"));
        }
    }
}
