//! Parts of files (RFC 9110, section 14).

use super::{get, serving};

const TEXT: &[u8] = b"0123456789abcdefghij";

#[test]
fn one_part() {
    let relay = serving(&[("a.txt", TEXT), ("empty.txt", b"")], "");
    for (range, status, said, body) in [
        ("bytes=0-4", 206, Some("bytes 0-4/20"), "01234"),
        ("bytes=15-", 206, Some("bytes 15-19/20"), "fghij"),
        ("bytes=-3", 206, Some("bytes 17-19/20"), "hij"),
        ("bytes=-100", 206, Some("bytes 0-19/20"), "0123456789abcdefghij"),
        ("bytes=19-1000", 206, Some("bytes 19-19/20"), "j"),
        ("bytes=0-4,100-", 206, Some("bytes 0-4/20"), "01234"),
        ("bytes=5-4", 200, None, "0123456789abcdefghij"),
        ("bytes=x", 200, None, "0123456789abcdefghij"),
        ("lines=0-4", 200, None, "0123456789abcdefghij"),
    ] {
        let response = get(&relay, "/static/a.txt", &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.text().as_str()), (status, body), "{range}");
        assert_eq!(response.field("content-range"), said, "{range}");
        assert_eq!(response.field("content-length"), Some(&*body.len().to_string()), "{range}");
        assert_eq!(response.field("content-type"), Some("text/plain; charset=utf-8"));
    }
    for (target, range, said) in [
        ("/static/a.txt", "bytes=20-", "bytes */20"),
        ("/static/a.txt", "bytes=-0", "bytes */20"),
        ("/static/empty.txt", "bytes=0-", "bytes */0"),
    ] {
        let response = get(&relay, target, &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.field("content-range")), (416, Some(said)), "{range}");
    }
}

#[test]
fn several_parts() {
    let large: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
    let relay = serving(&[("a.txt", TEXT), ("large.bin", &large)], "");
    for (target, file, ranges) in [
        ("/static/a.txt", TEXT, &[(0, 1), (5, 9), (19, 19)][..]),
        ("/static/a.txt", TEXT, &[(10, 11), (0, 1)]),
        ("/static/large.bin", &large, &[(100_000, 299_999), (0, 0), (399_998, 399_999)]),
    ] {
        let list: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        let response = get(&relay, target, &format!("Range: bytes={}\r\n", list.join(", ")));
        assert_eq!(response.status, 206);
        assert_eq!(response.field("content-range"), None);
        let kind = response.field("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut expected = Vec::new();
        let of =
            if target.ends_with("txt") { "text/plain; charset=utf-8" } else { "application/octet-stream" };
        for (first, last) in ranges {
            let range = format!("bytes {first}-{last}/{}", file.len());
            let head = format!("\r\n--{boundary}\r\nContent-Type: {of}\r\nContent-Range: {range}\r\n\r\n");
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(&file[*first..=*last]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(response.body == expected, "{target}");
    }
}

#[test]
fn a_flood_of_parts_is_the_whole() {
    let relay = serving(&[("a.txt", TEXT)], "");
    for range in ["0-,".repeat(1000), "0-0,".repeat(17), "0-15,3-18".to_owned()] {
        let response = get(&relay, "/static/a.txt", &format!("Range: bytes={range}\r\n"));
        assert_eq!((response.status, response.body.as_slice()), (200, TEXT));
    }
}

#[test]
fn a_part_is_of_the_state_that_the_client_has() {
    let relay = serving(&[("a.txt", TEXT)], "");
    let whole = get(&relay, "/static/a.txt", "");
    let (tag, date) = (whole.field("etag").unwrap(), whole.field("last-modified").unwrap());
    for (condition, status) in [
        (tag, 206),
        (date, 206),
        ("\"x\"", 200),
        (&format!("W/{tag}"), 200),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 200),
        ("nonsense", 200),
    ] {
        let response =
            get(&relay, "/static/a.txt", &format!("Range: bytes=0-4\r\nIf-Range: {condition}\r\n"));
        assert_eq!(response.status, status, "{condition}");
    }
}

#[test]
fn a_part_of_an_encoded_file_is_of_its_bytes() {
    let relay = serving(&[("a.txt", TEXT), ("a.txt.gz", b"gzipped")], "");
    let response = get(&relay, "/static/a.txt", "Range: bytes=4-\r\nAccept-Encoding: gzip\r\n");
    assert_eq!((response.status, response.text().as_str()), (206, "ped"));
    assert_eq!(response.field("content-encoding"), Some("gzip"));
}
