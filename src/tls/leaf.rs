//! What a certificate says of itself: for whom it is, and from when to when.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

/// A server's own certificate, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The names of hosts that it is for, in lower case; a wildcard as `*.example.com`.
    pub names: Vec<String>,
    /// From when on it is good.
    pub not_before: SystemTime,
    /// Until when it is good.
    pub not_after: SystemTime,
}

impl Leaf {
    /// Reads a certificate; none if it is not one.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let validity = read.validity();
        Some(Self {
            names: names.collect(),
            not_before: time(validity.not_before),
            not_after: time(validity.not_after),
        })
    }
}

/// A time before 1970 is that of 1970.
fn time(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn names_and_times_are_read() {
        let mut params = CertificateParams::new(["A.Example".to_owned(), "*.b.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(1970, 1, 2), date_time_ymd(1970, 1, 4));
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let leaf = Leaf::read(made.der()).unwrap();
        assert_eq!(leaf.names, ["a.example", "*.b.example"]);
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(leaf.not_before, SystemTime::UNIX_EPOCH + day);
        assert_eq!(leaf.not_after, SystemTime::UNIX_EPOCH + 3 * day);
        assert_eq!(Leaf::read(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
