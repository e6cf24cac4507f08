//! `client_ca`: clients show a certificate, the app is told which, and nobody else may say so.

use std::path::Path;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::support::session::Session;
use crate::support::settings::Settings;
use crate::support::tls::{certificate, client_config, client_with};
use crate::support::{App, Sidestream, WEBSOCKET};

const LISTEN: &str = "tls = [{ cert = \"site.crt\", key = \"site.key\" }]\nclient_ca = \"clients.pem\"\n";

/// Who vouches for clients.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::write(folder.join("clients.pem"), self.0.pem()).unwrap();
    }

    /// A client, and the certificate that it shows.
    pub(crate) fn client(&self) -> (Arc<ClientConfig>, CertificateDer<'static>) {
        let mut params = CertificateParams::new(vec!["alice.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.0).unwrap();
        let der = made.der().clone();
        (client_with(vec![der.clone()], key.serialize_der().try_into().unwrap()), der)
    }
}

fn site(listen: &str, app: &App) -> (Sidestream, Authority) {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "site", &["test", "other.example"]);
    let authority = Authority::new();
    authority.write(folder.path());
    let listen = format!("{LISTEN}{listen}");
    let settings = Settings { listen: &listen, ..Settings::default() };
    (Sidestream::start_in(folder, &settings.text(&[&app.origin()])), authority)
}

/// The value of a field that the app was sent.
fn told<'t>(echoed: &'t str, name: &str) -> Vec<&'t str> {
    echoed.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[test]
fn the_app_is_told_which_certificate_the_client_showed() {
    let app = App::that_echoes();
    let (site, authority) = site("", &app);
    let (config, shown) = authority.client();
    let mut session = Session::begin(site.address(), "test", &config).unwrap();
    let spoof = "Client-Cert: :AAAA:\r\nclient-cert: :BBBB:\r\nClient-Cert-Chain: :AAAA:\r\n\
                 X-SSL-Client-Verify: SUCCESS\r\nX-Client-Cert: AAAA\r\nX-Client-Certificate: x\r\n\
                 SSL-Client-Subject-DN: CN=root\r\n";
    for _ in 0..2 {
        let echoed = session.client.get("/", spoof).response().text();
        let expected = format!(":{}:", BASE64_STANDARD.encode(&shown));
        assert_eq!(told(&echoed, "client-cert"), [expected]);
        for name in ["client-cert-chain", "x-ssl-client", "x-client-cert", "ssl-client", "AAAA", "BBBB"] {
            assert!(!echoed.contains(&format!("\r\n{name}")), "{name} in {echoed}");
        }
    }
}

#[test]
fn an_upgrade_tells_it_too() {
    let app = App::start(|mut client| {
        let head = client.head();
        let value =
            head.lines().find_map(|line| line.strip_prefix("client-cert: ")).unwrap_or("none").to_owned();
        client.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
        client.send(value + "\n");
        client.rest();
    });
    let (site, authority) = site("", &app);
    let (config, shown) = authority.client();
    let mut session = Session::begin(site.address(), "test", &config).unwrap();
    let head = session.client.get("/ws", WEBSOCKET).head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(session.client.until("\n"), format!(":{}:\n", BASE64_STANDARD.encode(&shown)));
}

#[test]
fn nobody_else_may_say_it_wherever_it_comes_in() {
    let app = App::that_echoes();
    let fields = "Client-Cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:\r\nX-SSL-Client-DN: CN=root\r\n\
                  X-Client-Cert-Sha256: x\r\nSSL-Client-Verify: SUCCESS\r\nClient-Certain: no\r\nX-Mine: 1\r\n";
    // Not even from a peer whose word on the client's address is believed.
    for server in ["", "trusted_proxies = [\"127.0.0.1\"]"] {
        let site = Settings { server, ..Settings::default() }.before(&app);
        let echoed = site.connect().get("/", fields).response().text();
        assert!(echoed.contains("\r\nx-mine: 1"), "{echoed}");
        assert!(!echoed.contains("client-") && !echoed.contains("client_"), "{echoed}");
    }
}

#[test]
fn who_shows_none_or_a_strangers_is_turned_away() {
    let app = App::that_echoes();
    let (site, _) = site("", &app);
    let (strangers, _) = Authority::new().client();
    for (failed, config) in
        [client_config(&["http/1.1"]), client_config(&["h2"]), strangers].iter().enumerate()
    {
        // Under TLS 1.3 the client is done before the server has seen what it shows.
        if let Ok(mut session) = Session::begin(site.address(), "test", config) {
            let _ = session.client.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            session.client.closed();
        }
        site.becomes("handshakes_failed", failed as u64 + 1);
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn a_certificate_is_good_for_the_host_it_was_shown_to() {
    let app = App::that_echoes();
    let (site, authority) = site("", &app);
    let (config, _) = authority.client();
    let mut session = Session::begin(site.address(), "test", &config).unwrap();
    // One certificate of the site covers both, and that is not enough here.
    for (host, status) in [("test", 200), ("TEST:8443", 200), ("other.example", 421), ("127.0.0.1", 421)] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(session.client.send(request).response().status, status, "{host}");
    }
    let mut nameless = Session::begin(site.address(), "127.0.0.1", &config).unwrap();
    for (host, status) in [("127.0.0.1", 200), ("test", 421)] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(nameless.client.send(request).response().status, status, "{host}");
    }
}

#[test]
fn no_session_is_taken_up_again() {
    let app = App::that_echoes();
    let (site, authority) = site("", &app);
    let (config, _) = authority.client();
    for _ in 0..4 {
        let mut session = Session::begin(site.address(), "test", &config).unwrap();
        assert!(!session.resumed);
        assert_eq!(session.client.get("/", "").response().status, 200);
    }
}
