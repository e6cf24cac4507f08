//! The compact form of encrypted tokens (RFC 7516), as far as the session cookies use it: `alg` is `dir`, so that the
//! key encrypts the claims itself, and `enc` is one of two.
//!
//! Invariant: nothing is decrypted whose tag does not match, tags are compared in constant time, and no byte can be
//! changed unnoticed: base64 has one spelling here, and the header is part of what the tag covers.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::auth::Reason;

/// The bytes of a tag under `A256CBC-HS512`: half of an HMAC-SHA512 (RFC 7518, section 5.2.5).
const CBC_TAG: usize = 32;

/// A key, with what it may be used for.
pub(super) struct Key {
    cipher: Cipher,
    /// What a token calls the key. A token may name none, and a key need not have a name.
    kid: Option<String>,
}

enum Cipher {
    /// `A256GCM`.
    Gcm(LessSafeKey),
    /// `A256CBC-HS512`.
    CbcHs512(Box<(hmac::Key, PaddedBlockDecryptingKey)>),
}

impl Key {
    /// A key of `A256GCM`.
    pub(super) fn gcm(key: &[u8; 32], kid: Option<String>) -> Result<Self, Unspecified> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
        Ok(Self { cipher: Cipher::Gcm(key), kid })
    }

    /// A key of `A256CBC-HS512`: its first half is the HMAC's (RFC 7518, section 5.2.2.1).
    pub(super) fn cbc_hs512(key: &[u8; 64], kid: Option<String>) -> Result<Self, Unspecified> {
        let (mac, encryption) = key.split_at(32);
        let decrypt = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, encryption)?)?;
        let keys = Box::new((hmac::Key::new(hmac::HMAC_SHA512, mac), decrypt));
        Ok(Self { cipher: Cipher::CbcHs512(keys), kid })
    }

    fn fits(&self, header: &Header) -> bool {
        let is_named = match (&header.kid, &self.kid) {
            (Some(asked), Some(own)) => asked == own,
            _ => true,
        };
        is_named
            && matches!(
                (&self.cipher, header.enc),
                (Cipher::Gcm(_), Enc::Gcm) | (Cipher::CbcHs512(_), Enc::CbcHs512)
            )
    }

    fn open(&self, token: &Token<'_>) -> Option<Vec<u8>> {
        match &self.cipher {
            Cipher::Gcm(key) => {
                let nonce = Nonce::try_assume_unique_for_key(&token.iv).ok()?;
                let mut text = token.text.clone();
                text.extend_from_slice(&token.tag);
                let length = key.open_in_place(nonce, Aad::from(token.header), &mut text).ok()?.len();
                text.truncate(length);
                Some(text)
            }
            Cipher::CbcHs512(keys) => {
                let (mac, decrypt) = &**keys;
                let iv: [u8; 16] = token.iv.as_slice().try_into().ok()?;
                let mut signed = hmac::Context::with_key(mac);
                for part in [token.header, &token.iv, &token.text] {
                    signed.update(part);
                }
                signed.update(&(token.header.len() as u64 * 8).to_be_bytes());
                let tag = signed.sign();
                verify_slices_are_equal(&tag.as_ref()[..CBC_TAG], &token.tag).ok()?;
                let mut text = token.text.clone();
                let iv = DecryptionContext::Iv128(iv.into());
                Some(decrypt.decrypt(&mut text, iv).ok()?.to_vec())
            }
        }
    }
}

/// Opens a token with the first of the keys that fits.
pub(super) fn open(token: &str, keys: &[Key]) -> Result<Vec<u8>, Reason> {
    let (header, token) = parse(token)?;
    keys.iter().filter(|key| key.fits(&header)).find_map(|key| key.open(&token)).ok_or(Reason::Sealed)
}

/// The parts of a token, but for what its header says.
struct Token<'t> {
    /// As it stood in the token, which is what the tag covers.
    header: &'t [u8],
    iv: Vec<u8>,
    text: Vec<u8>,
    tag: Vec<u8>,
}

struct Header {
    enc: Enc,
    kid: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Enc {
    Gcm,
    CbcHs512,
}

fn parse(token: &str) -> Result<(Header, Token<'_>), Reason> {
    let mut parts = token.split('.');
    // The second part is the encrypted key, which `dir` has none of.
    let (Some(header), Some(""), Some(iv), Some(text), Some(tag), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::Malformed);
    };
    let said = read_header(&decoded(header)?)?;
    let token =
        Token { header: header.as_bytes(), iv: decoded(iv)?, text: decoded(text)?, tag: decoded(tag)? };
    let (iv_length, tag_length) = match said.enc {
        Enc::Gcm => (AES_256_GCM.nonce_len(), AES_256_GCM.tag_len()),
        Enc::CbcHs512 => (AES_256.block_len(), CBC_TAG),
    };
    if (token.iv.len(), token.tag.len()) != (iv_length, tag_length) {
        return Err(Reason::Malformed);
    }
    Ok((said, token))
}

fn read_header(json: &[u8]) -> Result<Header, Reason> {
    #[derive(Deserialize)]
    struct Said<'h> {
        alg: &'h str,
        enc: &'h str,
        kid: Option<String>,
        zip: Option<Value>,
        crit: Option<Value>,
    }
    let said: Said<'_> = serde_json::from_slice(json).map_err(|_| Reason::Malformed)?;
    let enc = match (said.alg, said.enc) {
        ("dir", "A256GCM") => Enc::Gcm,
        ("dir", "A256CBC-HS512") => Enc::CbcHs512,
        _ => return Err(Reason::Algorithm),
    };
    // What is compressed could grow without bound.
    if said.zip.is_some() || said.crit.is_some() {
        return Err(Reason::Critical);
    }
    Ok(Header { enc, kid: said.kid })
}

fn decoded(part: &str) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::Malformed)
}
