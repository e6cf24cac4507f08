//! `hsts`: for how long browsers are to come by `https` only (RFC 6797).

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderValue;

use crate::config::problem::Fault;
use crate::config::reader::Value;
use crate::config::schema;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Zero takes back what was said; what is longer than ten years nobody can take back.
const BOUNDS: RangeInclusive<Duration> = Duration::ZERO..=DAY.saturating_mul(3653);
/// The least with which the browsers' makers take a site into their lists.
const PRELOAD: Duration = DAY.saturating_mul(365);

/// What `Strict-Transport-Security` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// For how long from the last answer on; in whole seconds.
    pub max_age: Duration,
    /// Whether it holds for all hosts below too.
    pub include_subdomains: bool,
    /// Whether the site may be put into the lists that browsers come with.
    pub preload: bool,
}

impl Hsts {
    /// Reads `hsts`: a duration, or a table. `is_tls` is whether its listener ends TLS.
    pub(super) fn read(value: &Value<'_>, is_tls: bool) -> Option<Self> {
        let said = if value.is_table() {
            let section = value.section(&schema::HSTS)?;
            let max_age = section.required("max_age", "write max_age = \"365d\"");
            let flag = |key| section.value(key).and_then(|value| value.flag()).unwrap_or(false);
            let (include_subdomains, preload) = (flag("include_subdomains"), flag("preload"));
            Self { max_age: max_age?.duration(BOUNDS)?, include_subdomains, preload }
        } else {
            Self { max_age: value.duration(BOUNDS)?, include_subdomains: false, preload: false }
        };
        if !is_tls {
            let fault = Fault::new("has no effect without `tls`: browsers heed it over https only");
            value.fault(fault.hint("write it at the listener with `tls`"));
            return None;
        }
        if said.preload && !(said.include_subdomains && said.max_age >= PRELOAD) {
            let fault = Fault::new("has `preload`, which needs more");
            value.fault(fault.hint("write include_subdomains = true and a max_age of \"365d\" at least"));
            return None;
        }
        Some(said)
    }

    /// The value of the field.
    pub fn field(&self) -> HeaderValue {
        let subdomains = if self.include_subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        let text = format!("max-age={}{subdomains}{preload}", self.max_age.as_secs());
        // Visible ASCII always.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("max-age=0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_browsers_read_it() {
        let year = Hsts { max_age: PRELOAD, include_subdomains: false, preload: false };
        assert_eq!(year.field(), "max-age=31536000");
        let all = Hsts { include_subdomains: true, preload: true, ..year };
        assert_eq!(all.field(), "max-age=31536000; includeSubDomains; preload");
    }
}
