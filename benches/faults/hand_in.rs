//! The ways in which publications are handed in, over the Unix socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How a publisher hands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Lines of JSON, all of a group before the first answer is read.
    Lines,
    /// One POST each.
    Post,
    /// One POST for a group, all of it or nothing.
    Batch,
}

/// What was said to one publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Id(String),
    Error(String),
    /// An error that says that it may yet be kept.
    Unknown,
    /// The connection ended first.
    None,
}

/// A publisher's connection.
pub(super) struct Door {
    way: Way,
    stream: BufReader<UnixStream>,
}

impl Door {
    pub(super) fn open(socket: &Path, way: Way, patience: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { way, stream: BufReader::new(stream) })
    }

    /// Hands in a group. There are as many answers as publications; if one is missing, the door is of no more use.
    pub(super) fn hand_in(&mut self, group: &[String]) -> Vec<Answer> {
        let mut answers = match self.way {
            Way::Lines => self.lines(group),
            Way::Post => self.posts(group),
            Way::Batch => self.batch(group).unwrap_or_default(),
        };
        answers.resize(group.len(), Answer::None);
        answers
    }

    fn lines(&mut self, group: &[String]) -> Vec<Answer> {
        let text: String = group.iter().flat_map(|line| [line, "\n"]).collect();
        // What was written may have been taken, so the answers are read all the same.
        let _ = self.stream.get_mut().write_all(text.as_bytes());
        let mut answers = Vec::new();
        for _ in group {
            let mut line = String::new();
            if self.stream.read_line(&mut line).is_err() || !line.ends_with('\n') {
                break;
            }
            answers.push(answer(&serde_json::from_str(&line).unwrap_or_default()));
        }
        answers
    }

    fn posts(&mut self, group: &[String]) -> Vec<Answer> {
        let mut answers = Vec::new();
        for one in group {
            let Ok(said) = self.post(one) else { break };
            answers.push(answer(&said));
        }
        answers
    }

    fn batch(&mut self, group: &[String]) -> io::Result<Vec<Answer>> {
        let said = self.post(&format!("[{}]", group.join(",")))?;
        Ok(match said.as_array() {
            Some(each) => each.iter().map(answer).collect(),
            None => vec![answer(&said); group.len()],
        })
    }

    fn post(&mut self, body: &str) -> io::Result<Value> {
        let head = "POST /publish HTTP/1.1\r\nHost: faults\r\nContent-Type: application/json\r\n";
        let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.get_mut().write_all(text.as_bytes())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }
}

fn answer(said: &Value) -> Answer {
    match (said["id"].as_str(), said["error"].as_str()) {
        (Some(id), _) => Answer::Id(id.to_owned()),
        // Its code is that of any other failure of the store, so it is known by its words.
        (None, Some(_)) if said["message"].as_str().is_some_and(|text| text.contains("not known")) => {
            Answer::Unknown
        }
        (None, Some(error)) => Answer::Error(error.to_owned()),
        (None, None) => Answer::Error(format!("no answer at all: {said}")),
    }
}
