//! `sidestream listen`: a stream as one JSON line per event, resumed whenever it ends.
//!
//! Invariant: a line is printed only for a whole event, and each reconnect resumes from the last whole one, so a
//! script that reads the lines sees every event once.

mod client;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::sse::{Event, Parser};
use super::terminal;

/// How long to wait before coming back when the stream never said, as in browsers.
const DEFAULT_RETRY: Duration = Duration::from_secs(3);
/// How much of a refusal's body is read to be shown.
const MAX_REFUSAL: usize = 8 * 1024;

/// Print the events of a stream as they come, one JSON line each.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It comes back with the last id whenever the stream ends, until Ctrl-C.

Examples:
  sidestream listen http://127.0.0.1:8080/events --token \"$(sidestream token --user 42)\"
  sidestream listen https://localhost/events?token=… --insecure | jq .data")]
pub(super) struct Args {
    /// The stream's address, http:// or https://.
    #[arg(value_name = "URL", value_parser = address)]
    url: Uri,
    /// Sent as `Authorization: Bearer`.
    #[arg(long, value_name = "TOKEN", value_parser = bearer)]
    token: Option<HeaderValue>,
    /// Resume from this id.
    #[arg(long, value_name = "ID", value_parser = header_value)]
    last_event_id: Option<HeaderValue>,
    /// Accept any certificate, such as a self-signed one.
    #[arg(long)]
    insecure: bool,
    /// End when the stream ends instead of coming back.
    #[arg(long)]
    once: bool,
}

/// An event as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    event: &'a str,
    data: Data<'a>,
}

/// The data as JSON where it is JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(Box<RawValue>),
    Text(&'a str),
}

/// How one connection ended.
enum End {
    /// The server does not want this client back (204).
    Final,
    /// Come back later. With what happened.
    Again(String),
}

/// Prints events until Ctrl-C, or until the server says something that coming back would not change.
pub(super) fn command(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the runtime could not be started").because(error))?;
    runtime.block_on(async {
        tokio::select! {
            outcome = listen(&args) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

async fn listen(args: &Args) -> Result<(), Failure> {
    let connector = client::Connector::new(&args.url, args.insecure)?;
    let last_id = args.last_event_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    let mut last_id = last_id.to_owned();
    let mut retry = DEFAULT_RETRY;
    let mut been_connected = false;
    loop {
        let outcome = async {
            let request = request(args, &last_id)?;
            let response = accepted(connector.send(request).await?).await?;
            let Some(body) = response else {
                return Ok(End::Final);
            };
            been_connected = true;
            let mut parser = Parser::resuming(last_id.clone());
            let end = read(body, &mut parser).await;
            parser.last_id().clone_into(&mut last_id);
            retry = parser.retry().map_or(retry, Duration::from_millis);
            end
        };
        let said = match outcome.await {
            Ok(End::Final) => return Ok(()),
            Ok(End::Again(said)) => said,
            // What worked once may work again; what the server refuses for good, it refuses for good.
            Err(ListenError::Unreachable(failure)) if been_connected => failure.to_string(),
            Err(ListenError::Unreachable(failure) | ListenError::Final(failure)) => return Err(failure),
        };
        if args.once {
            return Ok(());
        }
        terminal::note(format_args!("{said}; back in {retry:?}"));
        tokio::time::sleep(retry).await;
    }
}

/// Whether coming back may help.
enum ListenError {
    Unreachable(Failure),
    Final(Failure),
}

impl From<Failure> for ListenError {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

fn request(args: &Args, last_id: &str) -> Result<Request<Empty<Bytes>>, Failure> {
    let path = args.url.path_and_query().map_or("/", |path| path.as_str());
    let host = args.url.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::get(path)
        .header(HOST, host)
        .header(ACCEPT, "text/event-stream")
        .header(CACHE_CONTROL, "no-cache");
    if let Some(token) = &args.token {
        request = request.header(AUTHORIZATION, token);
    }
    if !last_id.is_empty() {
        request = request.header("last-event-id", last_id);
    }
    request.body(Empty::new()).map_err(|error| Failure::new("the request cannot be made").because(error))
}

/// The body of an event stream; `None` when the server says that there is nothing to come back for.
async fn accepted(response: Response<Incoming>) -> Result<Option<Incoming>, ListenError> {
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        return Ok(None);
    }
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if status == StatusCode::OK {
        let content_type = header(CONTENT_TYPE).unwrap_or("nothing");
        if content_type.split(';').next().map(str::trim) == Some("text/event-stream") {
            return Ok(Some(response.into_body()));
        }
        return Err(ListenError::Final(
            Failure::new(format!("that is no event stream: the server sends {content_type}"))
                .help("is it the path of a stream route?"),
        ));
    }
    if status.is_redirection() {
        let place = header(LOCATION).unwrap_or("somewhere else").to_owned();
        return Err(ListenError::Final(
            Failure::new(format!("the server answers {status}")).help(format!("it points to {place}")),
        ));
    }
    let said = refusal(response.into_body()).await;
    let failure = Failure::new(format!("the server answers {status}{said}"));
    Err(match status {
        StatusCode::UNAUTHORIZED => ListenError::Final(
            failure.help("give --token; `sidestream token --user ID` makes one to develop with"),
        ),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            ListenError::Unreachable(failure)
        }
        _ => ListenError::Final(failure),
    })
}

/// What a refusal's body says, ready to be put behind its status; a page is not shown.
async fn refusal(body: Incoming) -> String {
    let read = async {
        let body = Limited::new(body, MAX_REFUSAL).collect().await.ok()?.to_bytes();
        let text = String::from_utf8(body.to_vec()).ok()?;
        let json = serde_json::from_str::<serde_json::Value>(&text).ok();
        let said = json.as_ref().and_then(|json| json.get("message").or(json.get("error"))?.as_str());
        let said = said.unwrap_or(&text).trim();
        let shown = !said.is_empty() && !said.starts_with('<') && !said.contains('\n');
        shown.then(|| said.chars().filter(|c| !c.is_control()).collect::<String>())
    };
    match tokio::time::timeout(client::HEAD_TIMEOUT, read).await {
        Ok(Some(said)) => format!(": {said}"),
        _ => String::new(),
    }
}

/// Prints events until the stream ends.
async fn read(mut body: Incoming, parser: &mut Parser) -> Result<End, ListenError> {
    let mut events = Vec::new();
    loop {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            // Sidestream ends streams abruptly on purpose, so both are an end like any other.
            Some(Err(_)) | None => return Ok(End::Again("the stream ended".to_owned())),
        };
        let Ok(data) = frame.into_data() else { continue };
        let fed = parser.feed(&data, &mut events);
        for event in events.drain(..) {
            terminal::line(as_line(&event)?)?;
        }
        fed.map_err(|error| Failure::new("the stream cannot be read").because(error))?;
    }
}

fn as_line(event: &Event) -> Result<String, Failure> {
    // An LF in valid JSON stands between tokens; without it the event fits its line.
    let data = match serde_json::from_str::<&RawValue>(&event.data) {
        Ok(json) => RawValue::from_string(json.get().replace('\n', " ")).map(Data::Json),
        Err(_) => Ok(Data::Text(&event.data)),
    };
    data.and_then(|data| serde_json::to_string(&Line { id: &event.id, event: &event.name, data }))
        .map_err(|error| Failure::new("the event cannot be printed").because(error))
}

fn address(text: &str) -> Result<Uri, String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err("write it with http:// or https://".to_owned());
    }
    let url: Uri = text.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("a name and password in a URL are not sent; use --token".to_owned());
    }
    Ok(url)
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    let mut value = header_value(&format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    let plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    match HeaderValue::from_str(text) {
        Ok(value) if plain => Ok(value),
        _ => Err("it holds characters that no header can hold".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        for (data, shown) in [
            ("{\"a\": 1}", "{\"a\": 1}"),
            ("{\n\"a\": 1\n}", "{ \"a\": 1 }"),
            ("hi", "\"hi\""),
            ("a\nb", "\"a\\nb\""),
            ("", "\"\""),
            ("7", "7"),
        ] {
            let event = Event { id: "e-1".into(), name: "message".into(), data: data.into() };
            let expected = format!("{{\"id\":\"e-1\",\"event\":\"message\",\"data\":{shown}}}");
            assert_eq!(as_line(&event).unwrap_or_default(), expected, "{data:?}");
        }
    }

    #[test]
    fn addresses_are_absolute_and_without_passwords() {
        for good in ["http://a/events", "https://[::1]:8443/e?x=1", "http://a"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["", "/events", "a/events", "ftp://a/", "http://u:p@a/", "http://"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
