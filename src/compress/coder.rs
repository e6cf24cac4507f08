//! The encoders themselves, as one: bytes in, what has come of them out.
//!
//! Levels are chosen by what a worker can spend and by memory: 16 KiB take a fraction of a millisecond with each of them,
//! and of what an encoder can hold at most, 1.1 MiB is Brotli's, 0.65 Zstandard's and 0.4 gzip's. A page of 100 KiB takes
//! 1.1 ms with Brotli, 0.4 with Zstandard, 1.6 with gzip.

use std::fmt;
use std::io::{self, Write};

use flate2::write::GzEncoder;
use zstd::zstd_safe::CParameter;

use crate::http::Coding;

/// Level 4 holds twice the memory for 2 % fewer bytes.
const BROTLI_LEVEL: u32 = 3;
/// As a power of two: 128 KiB, more than most pages.
const BROTLI_WINDOW: u32 = 17;
/// How much Brotli hands over at once, in bytes.
const BROTLI_BUFFER: usize = 4 * 1024;
/// The library's own default.
const ZSTD_LEVEL: i32 = 3;
/// As a power of two: 128 KiB. The level's own would be 2 MiB.
const ZSTD_WINDOW: u32 = 17;
/// As powers of two, for such a window; the level's own hold twice the memory for 1 % fewer bytes.
const ZSTD_TABLES: (u32, u32) = (15, 14);
/// zlib's own default.
const GZIP_LEVEL: u32 = 6;

/// An encoder of one body. Nothing that it holds is the end of a body until it is finished.
pub(super) enum Coder {
    /// Boxed: it is large.
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Coder {
    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_LEVEL,
                BROTLI_WINDOW,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(ZSTD_WINDOW)?;
                encoder.set_parameter(CParameter::HashLog(ZSTD_TABLES.0))?;
                encoder.set_parameter(CParameter::ChainLog(ZSTD_TABLES.1))?;
                Self::Zstd(encoder)
            }
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
        })
    }

    /// Takes bytes in. What comes out may be nothing yet.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.writer().write_all(bytes)?;
        Ok(self.take())
    }

    /// Everything that was taken in and has not come out: a client can read it without what follows.
    pub(super) fn flush(&mut self) -> io::Result<Vec<u8>> {
        self.writer().flush()?;
        Ok(self.take())
    }

    /// The same, and the end.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Brotli(encoder) => &mut **encoder,
            Self::Zstd(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        })
    }
}

impl fmt::Debug for Coder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
            Self::Gzip(_) => "Gzip",
        })
    }
}
