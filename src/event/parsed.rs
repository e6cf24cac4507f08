//! A frame read back: what a client makes of it.

use super::Frame;

/// What a frame of one event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The `event:` field; a client calls it `message` if there is none.
    pub name: Option<String>,
    /// The data, its lines joined by LF.
    pub data: String,
}

impl Frame {
    /// Reads an event back from its bytes. Only frames that an [`Event`](super::Event) was encoded as are one.
    pub fn parsed(&self) -> Parsed {
        let text = self.text();
        // Publications are text; anything else would be shown as a client shows it.
        let text = String::from_utf8_lossy(&text);
        let mut parsed = Parsed { name: None, data: String::new() };
        let mut lines = 0;
        for line in text.split('\n') {
            match line.split_once(": ") {
                Some(("event", name)) => parsed.name = Some(name.to_owned()),
                Some(("data", data)) => {
                    if lines > 0 {
                        parsed.data.push('\n');
                    }
                    lines += 1;
                    parsed.data.push_str(data);
                }
                _ => {}
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Epoch, Event, EventId, EventName};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(data in "[^\\x00\\r]{0,40}", name in prop::option::of("[a-z :]{1,9}"), retry: Option<u32>) {
            let event = Event {
                name: name.as_deref().and_then(|name| EventName::configured(name).ok()),
                data: data.clone().into(),
                retry,
            };
            let frame = event.frame(EventId { epoch: Epoch::from_bits(1), seq: 2 });
            prop_assert_eq!(frame.parsed(), Parsed { name, data });
        }
    }
}
