//! The parser against headers that are right, nearly right, cut anywhere, and made of anything.

use proptest::prelude::*;

use super::*;

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// Two addresses with their ports, and what a balancer adds.
fn block(source: &str, added: &[u8]) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let mut block = Vec::new();
    match source.ip() {
        IpAddr::V4(ip) => block.extend([ip.octets(), [10, 0, 0, 9]].concat()),
        IpAddr::V6(ip) => block.extend([ip.octets(), [9; 16]].concat()),
    }
    block.extend(source.port().to_be_bytes());
    block.extend(443u16.to_be_bytes());
    block.extend(added);
    block
}

/// What a header says, wherever what comes is cut and whatever comes behind it.
fn said(header: &[u8]) -> Said {
    for end in 0..header.len() {
        assert!(matches!(parse(&header[..end]), Ok(None)), "{end} bytes of {header:?}");
    }
    for behind in [&b""[..], b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PROXY TCP4", b"\n"] {
        let found = parse(&[header, behind].concat()).unwrap().unwrap();
        assert_eq!(found.length, header.len());
        assert_eq!(Some(found), parse(header).unwrap());
    }
    parse(header).unwrap().unwrap().said
}

fn v1(line: &str) -> Said {
    said(format!("PROXY {line}\r\n").as_bytes())
}

#[test]
fn the_client_is_who_is_said() {
    let v4 = Said::Client("203.0.113.7:4321".parse().unwrap());
    let v6 = Said::Client("[2001:db8::7]:4321".parse().unwrap());
    assert_eq!(v1("TCP4 203.0.113.7 10.0.0.1 4321 443"), v4);
    assert_eq!(v1("TCP6 2001:db8::7 ::1 4321 443"), v6);
    assert_eq!(said(&v2(0x21, 0x11, &block("203.0.113.7:4321", b""))), v4);
    assert_eq!(said(&v2(0x21, 0x21, &block("[2001:db8::7]:4321", b""))), v6);
    for added in [&[4, 0, 1, 0][..], &[0; 4000]] {
        assert_eq!(said(&v2(0x21, 0x11, &block("203.0.113.7:4321", added))), v4);
    }
}

#[test]
fn who_speaks_for_itself_or_does_not_know_says_no_client() {
    assert_eq!(v1("UNKNOWN"), Said::Nobody);
    assert_eq!(v1("UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535"), Said::Nobody);
    let some = block("203.0.113.7:4321", b"");
    for (command, family, rest) in [
        (0x20, 0x00, &b""[..]),
        (0x20, 0x11, &some),
        (0x20, 0xff, b"anything"),
        (0x21, 0x00, b""),
        (0x21, 0x00, b"anything"),
        (0x21, 0x31, &[0; 216]),
        (0x21, 0x12, &some),
    ] {
        let expected = if command == 0x20 { Said::Itself } else { Said::Nobody };
        assert_eq!(said(&v2(command, family, rest)), expected, "{command:x} {family:x}");
    }
}

#[test]
fn what_is_nearly_a_header_is_none() {
    for line in [
        "TCP4 203.0.113.7 10.0.0.1 4321",
        "TCP4 203.0.113.7 10.0.0.1 4321 443 1",
        "TCP4  203.0.113.7 10.0.0.1 4321 443",
        "TCP4 203.0.113.7 10.0.0.1 4321 443 ",
        "TCP4 203.0.113.7 10.0.0.1 +432 443",
        "TCP4 203.0.113.7 10.0.0.1 04321 443",
        "TCP4 203.0.113.7 10.0.0.1 65536 443",
        "TCP4 203.0.113.7 10.0.0.1  443",
        "TCP4 2001:db8::7 ::1 4321 443",
        "TCP6 203.0.113.7 10.0.0.1 4321 443",
        "TCP4 shop.example 10.0.0.1 4321 443",
        "TCP5 203.0.113.7 10.0.0.1 4321 443",
        "UNKNOWNX",
        "",
        "TCP4 203.0.113.7 10.0.0.1 4321 443\r",
    ] {
        let whole = format!("PROXY {line}\r\n");
        assert!(matches!(parse(whole.as_bytes()), Err(HeaderError::Malformed)), "{line:?}");
    }
    let block = block("203.0.113.7:1", b"");
    for bytes in [
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"\x16\x03\x01".to_vec(),
        b"PROXY\tTCP4".to_vec(),
        b"proxy TCP4".to_vec(),
        b"PROXY UNKNOWN\n".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
        v2(0x11, 0x11, &block),
        v2(0x22, 0x11, &block),
        v2(0x21, 0x13, &block),
        v2(0x21, 0x41, &block),
        v2(0x21, 0x11, &block[..11]),
        v2(0x21, 0x21, &[0; 35]),
    ] {
        assert!(matches!(parse(&bytes), Err(HeaderError::Malformed)), "{bytes:?}");
    }
}

#[test]
fn a_header_without_end_is_given_up() {
    let line = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    assert!(matches!(parse(&line[..MAX_V1 - 1]), Ok(None)));
    assert!(matches!(parse(&line[..MAX_V1]), Err(HeaderError::TooLong)));
    let mut long = v2(0x21, 0x11, &[0; MAX_V2_REST + 1]);
    assert!(matches!(parse(&long), Err(HeaderError::TooLong)));
    // It is known before it has come.
    long.truncate(V2_HEAD);
    assert!(matches!(parse(&long), Err(HeaderError::TooLong)));
    assert!(matches!(parse(&v2(0x21, 0x11, &[0; MAX_V2_REST])), Ok(Some(_))));
}

proptest! {
    #[test]
    fn any_client_is_read_back(source: SocketAddr, added in prop::collection::vec(any::<u8>(), 0..64)) {
        let (ip, port) = (source.ip(), source.port());
        let plain = SocketAddr::new(ip, port);
        let (word, other, family) =
            if ip.is_ipv4() { ("TCP4", "10.0.0.1", 0x11) } else { ("TCP6", "::1", 0x21) };
        prop_assert_eq!(v1(&format!("{word} {ip} {other} {port} 443")), Said::Client(plain));
        prop_assert_eq!(said(&v2(0x21, family, &block(&plain.to_string(), &added))), Said::Client(plain));
    }

    #[test]
    fn anything_is_refused_or_read_within_its_bounds(
        begin in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [begin, &rest].concat();
        if let Ok(Some(header)) = parse(&bytes) {
            prop_assert!(header.length <= bytes.len() && header.length <= V2_HEAD + MAX_V2_REST);
            prop_assert_eq!(parse(&bytes[..header.length]).unwrap(), Some(header));
        }
    }
}
