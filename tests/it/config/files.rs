//! Configurations that name files: certificates, keys, secrets, sockets.

use std::fs;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use sidestream::config::{Auth, Config, JwtKeyKind, JwtKeys, Origin, SocketPlace};

use super::GOOD;

#[test]
fn certificates_are_opened_and_matched_with_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    write("cert.pem", &cert.pem());
    write("key.pem", &signing_key.serialize_pem());
    write("other.pem", &KeyPair::generate().unwrap().serialize_pem());
    write("text.pem", "not a certificate\n");
    write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    let load = |cert: &str, key: &str| {
        let tls = format!("\":8080\"\ntls = [{{ cert = {cert:?}, key = {key:?} }}]");
        Config::parse(&GOOD.replace("\":8080\"", &tls), "sidestream.toml", folder.path())
    };

    let config = load("cert.pem", "key.pem").unwrap();
    let [certificate] = config.listen[0].tls.as_slice() else { panic!("{config:?}") };
    assert_eq!(certificate.cert_path, folder.path().join("cert.pem"));
    assert_eq!(certificate.key.cert[0], *cert.der());

    for (cert, key, column, message) in [
        ("none.pem", "key.pem", 17, "`cert` cannot be used: the certificate file cannot be read"),
        ("text.pem", "key.pem", 17, "`cert` cannot be used: the certificate file holds no certificate"),
        ("broken.pem", "key.pem", 17, "`cert` cannot be used: the certificate file is not valid PEM"),
        ("key.pem", "key.pem", 17, "`cert` cannot be used: the certificate file holds no certificate"),
        ("", "key.pem", 17, "`cert` is empty"),
        ("cert.pem", "none.pem", 35, "`key` cannot be used: the key file cannot be read"),
        ("cert.pem", "cert.pem", 35, "`key` cannot be used: the key file holds no private key"),
        ("cert.pem", "other.pem", 35, "`key` cannot be used: the key does not belong to the certificate"),
    ] {
        let shown = load(cert, key).unwrap_err().to_string();
        assert!(shown.starts_with(&format!("error: {message}\n")), "{shown}");
        // The key's column moves with the length of the certificate's name.
        let column = if column == 35 { column + cert.len() - "cert.pem".len() } else { column };
        assert!(shown.contains(&format!("--> sidestream.toml:3:{column}\n")), "{shown}");
    }
}

#[test]
fn public_keys_pin_their_algorithms() {
    let folder = tempfile::tempdir().unwrap();
    let load = |pem: &str, more: &str| {
        fs::write(folder.path().join("key.pem"), pem).unwrap();
        let key = format!("public_key = \"file:key.pem\"\n{more}");
        let text = GOOD.replace("secret = \"correct-horse-battery-staple\"", &key);
        Config::parse(&text, "sidestream.toml", folder.path())
    };
    let pair = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    for (pair, kind, algorithms) in [
        (rsa, JwtKeyKind::Rsa, "[RS256, RS384, RS512, PS256, PS384, PS512]"),
        (pair(&rcgen::PKCS_ECDSA_P256_SHA256), JwtKeyKind::EcP256, "[ES256]"),
        (pair(&rcgen::PKCS_ECDSA_P384_SHA384), JwtKeyKind::EcP384, "[ES384]"),
        (pair(&rcgen::PKCS_ED25519), JwtKeyKind::Ed25519, "[EdDSA]"),
    ] {
        let public = pair.public_key_pem();
        let config = load(&public, "").unwrap();
        let Auth::Jwt(provider) = &config.auth[0] else { panic!("{:?}", config.auth) };
        let JwtKeys::One(key) = &provider.keys else { panic!("{:?}", provider.keys) };
        assert_eq!(key.kind, kind);
        assert_eq!(format!("{:?}", provider.algorithms), algorithms);

        // RFC 8725, section 2.1: a public key must never become the secret of an HMAC.
        let shown = load(&public, "algorithms = [\"HS256\"]").unwrap_err().to_string();
        assert!(shown.contains("is HS256, which does not fit"), "{shown}");
        let shown = load(&pair.serialize_pem(), "").unwrap_err().to_string();
        assert!(shown.contains("`public_key` holds a private key"), "{shown}");
    }
    for (pem, message) in [
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "of a kind that is not supported"),
        (
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
            "not a public key that can be used",
        ),
        ("ssh-ed25519 AAAA", "is not a public key in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a certificate"),
    ] {
        let shown = load(pem, "").unwrap_err().to_string();
        assert!(shown.contains(message), "{pem}{shown}");
    }
}

#[test]
fn a_file_is_read_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidestream.toml");
    fs::write(&path, GOOD.replace("http://127.0.0.1:8000", "unix:app.sock")).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.upstreams[0].servers, [Origin::Unix(folder.path().join("app.sock"))]);
    assert_eq!(config.publish.socket, Some(SocketPlace::Path(folder.path().join("sidestream.sock"))));

    fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
    let shown = Config::load(&path).unwrap_err().to_string();
    assert!(shown.starts_with("error: line 2 of the file is not UTF-8\n"), "{shown}");
    fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    let shown = Config::load(&path).unwrap_err().to_string();
    assert!(shown.starts_with("error: the file is larger than 1MiB"), "{shown}");
    fs::remove_file(&path).unwrap();
    let shown = Config::load(&path).unwrap_err().to_string();
    assert!(shown.starts_with("error: the file cannot be read: No such file"), "{shown}");
    assert!(shown.ends_with(&format!("\n1 error in {}", path.display())), "{shown}");
}
