//! `/metrics`: the families as text, in the form of OpenMetrics or the older one of Prometheus.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::registry::Registry;
use serde_json::json;

use super::families::{self, Family, Row, Value};
use super::{View, door};

/// Either form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    OpenMetrics,
    Prometheus,
}

impl Form {
    const fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        })
    }
}

/// Everything that is counted, now.
pub(super) fn answer(view: &View, fields: &HeaderMap) -> Response<Bytes> {
    let form = wanted(fields);
    let Ok(text) = text(families::of(view), form) else {
        let said = json!({ "error": "internal", "message": "the metrics cannot be written" });
        return door::said(StatusCode::INTERNAL_SERVER_ERROR, &said);
    };
    let mut response = Response::new(text.into());
    response.headers_mut().insert(header::CONTENT_TYPE, form.media_type());
    response
}

/// OpenMetrics for who names it and does not like plain text better (RFC 9110, section 12.5.1).
fn wanted(fields: &HeaderMap) -> Form {
    let (mut open, mut plain) = (0.0, 0.0);
    for line in fields.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok()) {
        for range in line.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                open = weight.max(open);
            } else if kind.eq_ignore_ascii_case("text/plain") {
                plain = weight.max(plain);
            }
        }
    }
    if open > 0.0 && open >= plain { Form::OpenMetrics } else { Form::Prometheus }
}

fn text(families: Vec<Family>, form: Form) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Arc::new(Sheet(families))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(match form {
        Form::OpenMetrics => text,
        Form::Prometheus => older(&text),
    })
}

/// The families, ready to be written.
#[derive(Debug)]
struct Sheet(Vec<Family>);

impl Collector for Sheet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, unit, kind, rows, .. } in &self.0 {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
            for Row { labels, value } in rows {
                if labels.is_empty() {
                    put(&mut family, value)?;
                } else {
                    put(&mut family.encode_family(&labels.as_slice())?, value)?;
                }
            }
        }
        Ok(())
    }
}

fn put(encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Count(count) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
        Value::Spent(seconds) => encoder.encode_counter::<NoLabelSet, _, u64>(seconds, None),
        Value::Now(number) => encoder.encode_gauge(number),
        Value::Point(number) => encoder.encode_gauge(number),
        Value::Spread { sum, count, buckets } => {
            encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
        }
    }
}

/// The older form: there a counter's family is named like its line, and there is no unit and no end.
fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if line.starts_with("# HELP ") {
            // It comes first, and what kind of family it is of only behind it.
            help = Some(line);
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            let counter = said.strip_suffix(" counter");
            for line in help.take().into_iter().chain([line]) {
                match counter {
                    Some(name) => older.push_str(&line.replacen(name, &format!("{name}_total"), 1)),
                    None => older.push_str(line),
                }
                older.push('\n');
            }
        } else if !line.starts_with("# ") {
            older.push_str(line);
            older.push('\n');
        }
    }
    older
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(accept: &[&'static str]) -> Form {
        wanted(&accept.iter().map(|line| (header::ACCEPT, HeaderValue::from_static(line))).collect())
    }

    #[test]
    fn the_form_is_the_one_that_is_liked_better() {
        let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                       text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            &[scraper][..],
            &["application/openmetrics-text"],
            &["text/plain;q=0.2", "Application/OpenMetrics-Text; q=0.2"],
        ] {
            assert_eq!(wants(accept), Form::OpenMetrics, "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain, application/openmetrics-text;q=0.9"],
            &["application/openmetrics-text;q=0"],
        ] {
            assert_eq!(wants(accept), Form::Prometheus, "{accept:?}");
        }
    }

    #[test]
    fn the_older_form_names_counters_by_their_lines() {
        let text = "# HELP a_x A.\n# TYPE a_x counter\na_x_total{r=\"/\"} 1\n# HELP b_seconds B.\n\
                    # TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2\n# EOF\n";
        let older_text = "# HELP a_x_total A.\n# TYPE a_x_total counter\na_x_total{r=\"/\"} 1\n# HELP b_seconds B.\n\
                          # TYPE b_seconds gauge\nb_seconds 2\n";
        assert_eq!(older(text), older_text);
    }
}
