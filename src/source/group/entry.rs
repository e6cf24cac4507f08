//! The entries of a stream of Redis, as it answers them. Pure.

use ::redis::Value;

/// What is published of an entry: its one field of this name, or all of its fields.
const DATA: &[u8] = b"data";

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// In their order; none if it was taken out of the stream meanwhile.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// The JSON that it stands for; none where a field is no text.
    pub(super) fn json(&self) -> Option<Vec<u8>> {
        if let [(name, value)] = &self.fields[..]
            && name == DATA
        {
            return Some(value.clone());
        }
        let mut object = serde_json::Map::new();
        for (name, value) in &self.fields {
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
            object.insert(text(name)?, text(value)?.into());
        }
        (!object.is_empty()).then(|| serde_json::Value::from(object).to_string().into_bytes())
    }
}

/// The entries of the one stream that was read. None if nothing came in time.
pub(super) fn read(answer: Value) -> Vec<Entry> {
    match answer {
        // RESP3: the entries by the stream's name.
        Value::Map(streams) => streams.into_iter().flat_map(|(_, found)| entries(found)).collect(),
        _ => Vec::new(),
    }
}

/// What was taken over of other consumers, and where to go on; `0-0` is the end.
pub(super) fn claimed(answer: Value) -> (String, Vec<Entry>) {
    let Value::Array(parts) = answer else { return (String::new(), Vec::new()) };
    let mut parts = parts.into_iter();
    let next = parts.next().and_then(text).unwrap_or_default();
    (next, parts.next().map(entries).unwrap_or_default())
}

fn entries(found: Value) -> Vec<Entry> {
    let Value::Array(found) = found else { return Vec::new() };
    found.into_iter().filter_map(entry).collect()
}

fn entry(found: Value) -> Option<Entry> {
    let Value::Array(parts) = found else { return None };
    let mut parts = parts.into_iter();
    let id = text(parts.next()?)?;
    let mut fields = Vec::new();
    if let Some(Value::Array(found)) = parts.next() {
        let mut found = found.into_iter().map(bytes);
        while let (Some(name), Some(value)) = (found.next(), found.next()) {
            fields.push((name, value));
        }
    }
    Some(Entry { id, fields })
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        _ => Vec::new(),
    }
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn of(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![bulk(id), Value::Array(fields.iter().map(|field| bulk(field)).collect())])
    }

    #[test]
    fn answers_are_read_also_where_an_entry_is_gone() {
        let gone = Value::Array(vec![bulk("2-0"), Value::Nil]);
        let found = Value::Array(vec![of("1-0", &["a", "1", "b", "2"]), gone]);
        let read_back = read(Value::Map(vec![(bulk("s"), found.clone())]));
        let fields = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())];
        let expected =
            [Entry { id: "1-0".to_owned(), fields }, Entry { id: "2-0".to_owned(), fields: Vec::new() }];
        assert_eq!(read_back, expected);
        assert_eq!(read(Value::Nil), []);
        let (next, entries) = claimed(Value::Array(vec![bulk("0-0"), found, Value::Array(vec![])]));
        assert_eq!((next.as_str(), &entries[..]), ("0-0", &expected[..]));
    }

    #[test]
    fn an_entry_is_its_data_or_all_its_fields() {
        let json = |fields: &[&str]| {
            let entry = entry(of("1-0", fields)).unwrap();
            entry.json().map(|json| String::from_utf8(json).unwrap())
        };
        assert_eq!(json(&["data", "{\"user\": 1}"]).as_deref(), Some("{\"user\": 1}"));
        assert_eq!(
            json(&["user", "1", "title", "a \"b\""]).as_deref(),
            Some(r#"{"title":"a \"b\"","user":"1"}"#)
        );
        assert_eq!(json(&["data", "1", "user", "2"]).as_deref(), Some(r#"{"data":"1","user":"2"}"#));
        assert_eq!(json(&[]), None);
        let odd = Entry { id: "1-0".to_owned(), fields: vec![(b"a".to_vec(), b"\xff".to_vec())] };
        assert_eq!(odd.json(), None);
    }
}
