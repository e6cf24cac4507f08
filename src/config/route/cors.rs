//! `cors`: which pages of other origins may use a route.
//!
//! Invariant: credentials are only ever allowed to origins that are named one by one.

use http::HeaderValue;
use http::uri::Uri;

use crate::config::problem::{Fault, quote};
use crate::config::reader::Section;

/// Pages of other origins that may use a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages.
    pub origins: Origins,
    /// Whether they may send cookies and read the answers.
    pub credentials: bool,
}

/// Whose pages may use a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Anybody's, without credentials.
    Any,
    /// Those of these origins, as a browser writes them: `https://app.example`, `http://localhost:3000`.
    Listed(Vec<HeaderValue>),
}

impl Cors {
    /// Reads `cors`.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let credentials = section.value("credentials").and_then(|value| value.flag()).unwrap_or(false);
        let value = section.required("origins", "write origins = [\"https://app.example\"]")?;
        if value.node().as_str() == Some("*") {
            return any(section, credentials);
        }
        let entries = value.list();
        if entries.len() == 1 && entries[0].node().as_str() == Some("*") {
            return any(section, credentials);
        }
        if entries.is_empty() && section.is_empty_list("origins") {
            value.fault(Fault::new("is empty").hint("leave `cors` out if no other origin may use the route"));
        }
        let listed = entries.iter().filter_map(|entry| entry.parse(origin)).collect();
        Some(Self { origins: Origins::Listed(listed), credentials })
    }
}

fn any(section: &Section<'_>, credentials: bool) -> Option<Cors> {
    if credentials {
        let problem = section.problem("`cors` lets every page of the web act with its visitors' cookies");
        let problem = problem.at(section.value_span("origins"));
        section.report.add(problem.help("list the origins, or leave out `credentials`"));
        return None;
    }
    Some(Cors { origins: Origins::Any, credentials })
}

/// Reads an origin, and says what is too much or too little of it.
fn origin(text: &str) -> Result<HeaderValue, Fault> {
    let example = "write \"https://app.example\" or \"http://localhost:3000\"";
    match text {
        "*" => return Err(Fault::new("is \"*\" beside others").hint("write origins = \"*\" alone")),
        "null" => {
            return Err(Fault::new("is \"null\", which any page can make itself").hint(example));
        }
        _ => {}
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err(Fault::new("has no scheme").hint(example));
    };
    let lower = text.to_ascii_lowercase();
    if lower != text {
        return Err(Fault::new("is not how a browser writes it").hint(format!("write {}", quote(&lower))));
    }
    if !matches!(scheme, "http" | "https") {
        return Err(Fault::new(format!("has the scheme {}, which is no page's", quote(scheme))).hint(example));
    }
    if let Some(end) = authority.find(['/', '?', '#']) {
        let bare = &text[..scheme.len() + 3 + end];
        return Err(Fault::new("has a path; an origin has none").hint(format!("write {}", quote(bare))));
    }
    if authority.contains('*') {
        return Err(Fault::new("has a wildcard").hint("name each origin, or write origins = \"*\""));
    }
    let default = if scheme == "https" { ":443" } else { ":80" };
    if let Some(bare) = text.strip_suffix(default) {
        let hint = format!("a browser leaves the usual port out: write {}", quote(bare));
        return Err(Fault::new("is not how a browser writes it").hint(hint));
    }
    let good = text.parse::<Uri>().ok().and_then(|uri| {
        let authority = uri.authority()?;
        let host = authority.host();
        // What is behind the host is nothing, or a colon and a port; a name or a password would be before it.
        let port = authority.as_str().strip_prefix(host)?;
        let is_port = port.is_empty() || authority.port_u16().is_some();
        (!host.is_empty() && is_port).then(|| HeaderValue::from_str(text).ok())?
    });
    good.ok_or_else(|| Fault::new("is not an origin").hint(example))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_only_as_a_browser_writes_it() {
        for good in
            ["https://app.example", "http://localhost:3000", "https://[2001:db8::1]:8443", "http://10.0.0.1"]
        {
            assert_eq!(origin(good).unwrap(), good);
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/x",
            "https://App.example",
            "HTTPS://app.example",
            "https://*.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:",
            "https://app.example:99999",
            "https://a@app.example",
            "file://x",
            "https://a b",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
