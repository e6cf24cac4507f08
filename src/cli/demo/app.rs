//! The app behind the demo: a page, a JSON view and a view that publishes, on a Unix socket.
//!
//! It plays the part of a Django or Next.js app and knows of Sidestream what such an app knows: the publish socket and
//! the secret that signs tokens. It would count a stream that reached it, to show that none does.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::sleep;

use crate::cli::publish;
use crate::config::Secret;

use super::USERS;

/// The most that the form may send.
const MAX_FORM: usize = 16 * 1024;
/// How long to wait after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The page brings nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What the app was set up with.
#[derive(Debug)]
pub(super) struct App {
    /// What signs its users' tokens.
    pub(super) secret: Secret,
    /// Sidestream's publish socket.
    pub(super) socket: PathBuf,
    /// How to call this program, for the lines to copy.
    pub(super) command: String,
}

/// What the page's form sends.
#[derive(Deserialize)]
struct Form {
    /// A user's id; everybody without it.
    to: Option<String>,
    title: String,
    /// When the button was pressed, in milliseconds of the browser's clock.
    sent: f64,
}

type Reply = Response<Full<Bytes>>;

/// Listens at `socket` and serves on a thread of its own, for as long as the process lives.
pub(super) fn start(socket: &Path, app: App) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        UnixListener::bind(socket)?
    };
    thread::Builder::new()
        .name("demo-app".to_owned())
        .spawn(move || LocalSet::new().block_on(&runtime, accept(listener, app)))?;
    Ok(())
}

async fn accept(listener: UnixListener, app: App) {
    let app = Rc::new(app);
    let streams_held = Rc::new(Cell::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (app, streams_held) = (Rc::clone(&app), Rc::clone(&streams_held));
        let service = service_fn(move |request| {
            let (app, streams_held) = (Rc::clone(&app), Rc::clone(&streams_held));
            async move { answer(&app, &streams_held, request).await }
        });
        spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(app: &App, streams_held: &Cell<u64>, request: Request<Incoming>) -> http::Result<Reply> {
    let path = request.uri().path();
    if path == "/events" {
        streams_held.set(streams_held.get() + 1);
    }
    match (request.method(), path) {
        (&Method::GET | &Method::HEAD, "/") => asset("text/html; charset=utf-8", include_str!("index.html")),
        (&Method::GET | &Method::HEAD, "/page.css") => {
            asset("text/css; charset=utf-8", include_str!("page.css"))
        }
        (&Method::GET | &Method::HEAD, "/page.js") => {
            asset("text/javascript; charset=utf-8", include_str!("page.js"))
        }
        (&Method::GET, "/api/demo") => facts(app, streams_held.get(), request.headers()),
        (&Method::POST, "/demo/push") => push(app, streams_held.get(), request).await,
        _ => said(StatusCode::NOT_FOUND, &json!({"error": "not_found", "message": "no such page"})),
    }
}

fn asset(content_type: &str, text: &'static str) -> http::Result<Reply> {
    Response::builder()
        .header(CONTENT_TYPE, content_type)
        .header(CONTENT_SECURITY_POLICY, POLICY)
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(CACHE_CONTROL, "no-cache")
        .body(Full::from(text))
}

fn said(status: StatusCode, body: &Value) -> http::Result<Reply> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header(CACHE_CONTROL, "no-store")
        .body(Full::from(body.to_string()))
}

/// What the page needs to know, and the request as it came to the app.
fn facts(app: &App, streams_held: u64, headers: &HeaderMap) -> http::Result<Reply> {
    let mut users = Vec::new();
    for (id, name) in USERS {
        match super::token_for(id, &app.secret) {
            Ok(token) => users.push(json!({"id": id, "name": name, "token": token})),
            Err(failure) => return unavailable(&failure.to_string()),
        }
    }
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    said(
        StatusCode::OK,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "users": users,
            "socket": app.socket,
            "command": app.command,
            "streams_held": streams_held,
            "headers": headers,
        }),
    )
}

/// Publishes what the form says, as an app does after it has saved something.
async fn push(app: &App, streams_held: u64, request: Request<Incoming>) -> http::Result<Reply> {
    if !is_from_the_page(request.headers()) {
        return said(
            StatusCode::FORBIDDEN,
            &json!({"error": "forbidden", "message": "only the demo's own page may push here"}),
        );
    }
    let body = match Limited::new(request.into_body(), MAX_FORM).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return invalid(&error.to_string()),
    };
    let form: Form = match serde_json::from_slice(&body) {
        Ok(form) => form,
        Err(error) => return invalid(&error.to_string()),
    };
    let data = json!({"title": form.title, "sent": form.sent});
    let publication = match form.to {
        Some(user) => json!({"user": user, "event": "notification", "data": data}),
        None => json!({"channel": "all", "event": "notification", "data": data}),
    };
    let socket = app.socket.clone();
    let reply = spawn_blocking(move || publish::send(&socket, &publication.to_string())).await;
    let reply = match reply.map_err(io::Error::other).flatten() {
        Ok(reply) => reply,
        Err(error) => return unavailable(&format!("the publish socket does not answer: {error}")),
    };
    match serde_json::from_str::<Value>(&reply) {
        Ok(mut reply) if reply.get("id").is_some() => {
            reply["streams_held"] = streams_held.into();
            said(StatusCode::OK, &reply)
        }
        Ok(refusal) => said(StatusCode::BAD_REQUEST, &refusal),
        Err(error) => unavailable(&error.to_string()),
    }
}

/// Whether the browser says so. JSON alone already keeps other sites' forms out.
fn is_from_the_page(headers: &HeaderMap) -> bool {
    let is = |name: &str, wanted: &str| headers.get(name).is_none_or(|value| value == wanted);
    headers.contains_key(CONTENT_TYPE)
        && is("content-type", "application/json")
        && is("sec-fetch-site", "same-origin")
}

fn invalid(message: &str) -> http::Result<Reply> {
    said(StatusCode::BAD_REQUEST, &json!({"error": "invalid", "message": message}))
}

fn unavailable(message: &str) -> http::Result<Reply> {
    said(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "unavailable", "message": message}))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_page_may_push() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)))
                .collect()
        };
        let json = ("content-type", "application/json");
        for (given, allowed) in [
            (headers(&[json]), true),
            (headers(&[json, ("sec-fetch-site", "same-origin")]), true),
            (headers(&[json, ("sec-fetch-site", "cross-site")]), false),
            (headers(&[("content-type", "text/plain")]), false),
            (headers(&[]), false),
        ] {
            assert_eq!(is_from_the_page(&given), allowed, "{given:?}");
        }
    }
}
