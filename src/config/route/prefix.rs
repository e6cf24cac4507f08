//! `strip_prefix`: the part of a path that an app does not get to see.

use crate::config::problem::{Fault, quote};
use crate::config::reader::Value;

/// Reads `strip_prefix` of a route with this path. It comes back without a `/` at its end; none is that nothing is
/// stripped.
pub(super) fn read(value: &Value<'_>, path: Option<&str>) -> Option<String> {
    let whole = |path: &str| path.strip_suffix('/').unwrap_or(path).to_owned();
    match value.as_flag() {
        Some(false) => return None,
        Some(true) => {
            let prefix = whole(path?);
            if prefix.is_empty() {
                value.fault(Fault::new("has nothing to strip from the path \"/\""));
            }
            return Some(prefix);
        }
        None if !value.is_text() => {
            value.wrong_type("true, false or the beginning of the path");
            return None;
        }
        None => {}
    }
    value.parse(|text| {
        let prefix = whole(text);
        let Some(path) = path else { return Ok(prefix) };
        let is_beginning =
            path.strip_prefix(&*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if prefix.is_empty() || prefix.ends_with('/') || !is_beginning {
            let fault = Fault::new(format!("is not a beginning of the path {}", quote(path)));
            return Err(fault.hint("whole parts between `/` only; true is all of the path"));
        }
        Ok(prefix)
    })
}
