//! What a file is, by the end of its name. Pure.

/// What is said of files of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Media {
    /// The content type.
    pub(super) name: &'static str,
    /// Whether there may be an encoded form of it beside it. What is compressed already has none, and is not looked for.
    pub(super) may_be_coded: bool,
}

/// A file whose name says nothing. It is downloaded, and never taken for a page.
const UNKNOWN: Media = Media { name: "application/octet-stream", may_be_coded: true };

/// The longest extension of the tables.
const LONGEST: usize = 11;

/// Sorted. Texts are UTF-8 in every tool of today.
const TEXTS: [(&str, &str); 49] = [
    ("atom", "application/atom+xml"),
    ("bmp", "image/bmp"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("doc", "application/msword"),
    ("eot", "application/vnd.ms-fontobject"),
    ("geojson", "application/geo+json"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("log", "text/plain; charset=utf-8"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("manifest", "text/cache-manifest; charset=utf-8"),
    ("map", "application/json"),
    ("markdown", "text/markdown; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mpd", "application/dash+xml"),
    ("otf", "font/otf"),
    ("ps", "application/postscript"),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("srt", "application/x-subrip"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("tsv", "text/tab-separated-values; charset=utf-8"),
    ("ttc", "font/collection"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vcf", "text/vcard; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webmanifest", "application/manifest+json"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "text/xml; charset=utf-8"),
    ("xsl", "application/xslt+xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
];

/// Sorted. What is compressed by itself.
const COMPRESSED: [(&str, &str); 42] = [
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apk", "application/vnd.android.package-archive"),
    ("apng", "image/apng"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("br", "application/x-brotli"),
    ("bz2", "application/x-bzip2"),
    ("dmg", "application/x-apple-diskimage"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("heic", "image/heic"),
    ("jar", "application/java-archive"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("jxl", "image/jxl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("tgz", "application/gzip"),
    ("ts", "video/mp2t"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// What a file of this name is; upper and lower case are one.
pub(super) fn media(path: &[u8]) -> Media {
    let name = memchr::memrchr(b'/', path).map_or(path, |slash| &path[slash + 1..]);
    let Some(dot) = memchr::memrchr(b'.', name) else { return UNKNOWN };
    let extension = &name[dot + 1..];
    let mut lower = [0; LONGEST];
    let Some(lower) = lower.get_mut(..extension.len()) else { return UNKNOWN };
    lower.copy_from_slice(extension);
    lower.make_ascii_lowercase();
    let find = |table: &[(&'static str, &'static str)]| {
        let place = table.binary_search_by(|(known, _)| known.as_bytes().cmp(lower));
        place.ok().map(|place| table[place].1)
    };
    match find(&TEXTS) {
        Some(name) => Media { name, may_be_coded: true },
        None => find(&COMPRESSED).map_or(UNKNOWN, |name| Media { name, may_be_coded: false }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found() {
        for (table, may_be_coded) in [(&TEXTS[..], true), (&COMPRESSED[..], false)] {
            for (extension, name) in table {
                for path in [format!("a/b.c.{extension}"), format!("X.{}", extension.to_ascii_uppercase())] {
                    assert_eq!(media(path.as_bytes()), Media { name, may_be_coded }, "{path}");
                }
            }
        }
    }

    #[test]
    fn others_are_not_guessed() {
        for path in ["", "LICENSE", "a.js/b", "a.unknown", "a.", "a.webmanifests", "html"] {
            assert_eq!(media(path.as_bytes()), UNKNOWN, "{path}");
        }
    }
}
