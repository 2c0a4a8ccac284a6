//! Protected data in two formats; the pushed key says which.
//!
//! - `age` (age-encryption.org/v1): the key is one X25519 identity, `AGE-SECRET-KEY-1…`.
//! - iExec's: the key is 32 bytes in standard base64, the content an IV (16 bytes) and AES-256-CBC with PKCS#7 padding. It
//!   authenticates nothing by itself: the content's digest on the chain does, and is checked before a byte is decrypted.

use std::io::{self, Read, Write};

use aes::{
    Aes256,
    cipher::{Block, BlockModeDecrypt, KeyIvInit},
};
use age::x25519::Identity;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// Bytes of a block and of an IV.
const BLOCK: usize = 16;

/// Content cannot be decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The secret that the owner pushed is neither one X25519 identity nor 32 bytes in base64.
    #[error(
        "the pushed key is neither one age X25519 identity (AGE-SECRET-KEY-1…) nor 32 bytes in standard base64"
    )]
    NotAKey,
    /// The content is not in the format, or is encrypted to somebody else.
    #[error("the content does not open with the pushed key")]
    DoesNotOpen(#[source] age::DecryptError),
    /// The content does not end as iExec's format does: another key, or another format.
    #[error(
        "the content does not end in the padding of iExec's format: the key or the format is another"
    )]
    Padding,
    /// The content is cut short or altered, or the plaintext cannot be written.
    #[error("the content breaks off")]
    Broken(#[from] io::Error),
}

/// Decrypts `content` into `sink` with the pushed key.
///
/// # Errors
/// When the key is none, or not that of the content, or the content is damaged. What is in `sink` then is to be thrown away.
pub fn decrypt(key: &[u8], content: impl Read, sink: &mut impl Write) -> Result<u64, DecryptError> {
    let length = match Key::parse(key)? {
        Key::Age(identity) => {
            let opened = age::Decryptor::new(content).and_then(|decryptor| {
                decryptor.decrypt(std::iter::once(&*identity as &dyn age::Identity))
            });
            io::copy(&mut opened.map_err(DecryptError::DoesNotOpen)?, sink)?
        }
        Key::Iexec(key) => decrypt_iexec(&key, content, sink)?,
    };
    sink.flush()?;
    Ok(length)
}

enum Key {
    Age(Box<Identity>),
    Iexec(Zeroizing<[u8; 32]>),
}

impl Key {
    /// The identity itself or an identity file with comments, or 32 bytes in base64.
    fn parse(key: &[u8]) -> Result<Self, DecryptError> {
        let text = std::str::from_utf8(key).map_err(|_| DecryptError::NotAKey)?;
        let mut lines =
            text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(DecryptError::NotAKey);
        };
        if let Ok(identity) = line.parse() {
            return Ok(Self::Age(Box::new(identity)));
        }
        let bytes = STANDARD.decode(line).map(Zeroizing::new).map_err(|_| DecryptError::NotAKey)?;
        let key = bytes.as_slice().try_into().map_err(|_| DecryptError::NotAKey)?;
        Ok(Self::Iexec(Zeroizing::new(key)))
    }
}

/// One block is held back, since the last one says how much of it is padding.
fn decrypt_iexec(
    key: &[u8; 32],
    mut content: impl Read,
    sink: &mut impl Write,
) -> Result<u64, DecryptError> {
    let mut iv = [0; BLOCK];
    content.read_exact(&mut iv)?;
    let mut cipher = cbc::Decryptor::<Aes256>::new(key.into(), &iv.into());
    let mut buffer = Zeroizing::new(vec![0; 1 << 16]);
    let (mut held, mut length) = (None::<Zeroizing<[u8; BLOCK]>>, 0);
    loop {
        let read = fill(&mut content, &mut buffer)?;
        let (blocks, rest) = buffer.get_mut(..read).unwrap_or_default().as_chunks_mut::<BLOCK>();
        if !rest.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let Some((last, before)) = blocks.split_last_mut() else { break };
        for block in before.iter_mut().chain([&mut *last]) {
            cipher.decrypt_block(<&mut Block<Aes256>>::from(block));
        }
        if let Some(held) = held.replace(Zeroizing::new(*last)) {
            sink.write_all(&*held)?;
            length += BLOCK as u64;
        }
        sink.write_all(before.as_flattened())?;
        length += (before.len() * BLOCK) as u64;
    }
    let held = held.ok_or(DecryptError::Padding)?;
    let plain = unpadded(&held).ok_or(DecryptError::Padding)?;
    sink.write_all(plain)?;
    Ok(length + plain.len() as u64)
}

/// The block without its PKCS#7 padding (RFC 5652, section 6.3).
fn unpadded(block: &[u8; BLOCK]) -> Option<&[u8]> {
    let pad = usize::from(*block.last()?);
    let (plain, padding) = block.split_at_checked(BLOCK.checked_sub(pad)?)?;
    (pad > 0 && padding.iter().all(|byte| usize::from(*byte) == pad)).then_some(plain)
}

/// As many bytes as fit, or as there are.
fn fill(content: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match content.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret;

    use super::*;

    fn key(identity: &Identity) -> Vec<u8> {
        identity.to_string().expose_secret().as_bytes().to_vec()
    }

    fn encrypted(identity: &Identity, plain: &[u8]) -> Vec<u8> {
        age::encrypt(&identity.to_public(), plain).unwrap()
    }

    fn open(key: &[u8], content: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let mut plain = Vec::new();
        decrypt(key, content, &mut plain).map(|_| plain)
    }

    #[test]
    fn its_own_key_opens_it() {
        let identity = Identity::generate();
        for plain in [vec![], b"name,age\n".to_vec(), vec![0xff; 200_000]] {
            let content = encrypted(&identity, &plain);
            assert_eq!(open(&key(&identity), &content).unwrap(), plain);
            let file =
                [b"# created: today\n\n".to_vec(), key(&identity), b"\r\n".to_vec()].concat();
            assert_eq!(open(&file, &content).unwrap(), plain);
        }
    }

    #[test]
    fn no_other_key_does() {
        let content = encrypted(&Identity::generate(), b"plain");
        let error = open(&key(&Identity::generate()), &content).unwrap_err();
        assert!(matches!(error, DecryptError::DoesNotOpen(_)), "{error}");
        let two = [key(&Identity::generate()), b"\n".to_vec(), key(&Identity::generate())].concat();
        for bad in [&b""[..], b"# only a comment", b"AGE-SECRET-KEY-1", b"\0\xff", &two] {
            let error = open(bad, &content).unwrap_err();
            assert!(matches!(error, DecryptError::NotAKey), "{error}");
        }
    }

    const IEXEC_KEY: &[u8] = b"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

    /// IV 16 times 9, then one block.
    fn vector() -> Vec<u8> {
        hex::decode("090909090909090909090909090909094091c125678063a33e1a3e937be24fa0").unwrap()
    }

    /// Encrypts as iExec's clients do.
    fn encrypted_as_iexec_does(plain: &[u8]) -> Vec<u8> {
        use aes::cipher::BlockModeEncrypt;

        let pad = BLOCK - plain.len() % BLOCK;
        let mut blocks = [plain, &vec![u8::try_from(pad).unwrap(); pad]].concat();
        let mut cipher = cbc::Encryptor::<Aes256>::new(&[7; 32].into(), &[9; BLOCK].into());
        for block in blocks.as_chunks_mut::<BLOCK>().0 {
            cipher.encrypt_block(<&mut Block<Aes256>>::from(block));
        }
        [[9; BLOCK].as_slice(), &blocks].concat()
    }

    #[test]
    fn the_vector_of_iexecs_format_opens() {
        assert_eq!(open(IEXEC_KEY, &vector()).unwrap(), b"hello sesame");
        assert_eq!(encrypted_as_iexec_does(b"hello sesame"), vector());
        let line = [IEXEC_KEY, b"\n"].concat();
        assert_eq!(open(&line, &vector()).unwrap(), b"hello sesame");
    }

    #[test]
    fn content_of_every_length_in_iexecs_format_opens() {
        for length in (0..50).chain([65_504, 65_519, 65_520, 65_521, 65_536, 65_552, 300_000]) {
            let plain: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let opened = open(IEXEC_KEY, &encrypted_as_iexec_does(&plain)).unwrap();
            assert!(opened == plain, "{length} bytes");
        }
    }

    #[test]
    fn what_is_not_in_iexecs_format_is_refused() {
        let other = STANDARD.encode([8; 32]);
        let error = open(other.as_bytes(), &vector()).unwrap_err();
        assert!(matches!(error, DecryptError::Padding), "{error}");
        let error = open(IEXEC_KEY, &vector()[..BLOCK]).unwrap_err();
        assert!(matches!(error, DecryptError::Padding), "{error}");
        for length in [0, 15, 17, 31] {
            let error = open(IEXEC_KEY, &vector()[..length]).unwrap_err();
            assert!(matches!(error, DecryptError::Broken(_)), "{length} bytes: {error}");
        }
        for key in [STANDARD.encode([7; 31]), STANDARD.encode([7; 33]), "0x07".repeat(11)] {
            let error = open(key.as_bytes(), &vector()).unwrap_err();
            assert!(matches!(error, DecryptError::NotAKey), "{error}");
        }
        for (pad, byte) in [(0, 0), (17, 17), (2, 3)] {
            let mut block = [1; BLOCK];
            block[BLOCK - 1] = byte;
            assert_eq!(unpadded(&block), None, "{pad}");
        }
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let identity = Identity::generate();
        let content = encrypted(&identity, &[7; 70_000]);
        for place in [0, 30, 150, content.len() / 2, content.len() - 1] {
            let mut damaged = content.clone();
            damaged[place] ^= 1;
            assert!(open(&key(&identity), &damaged).is_err(), "byte {place}");
        }
        for length in [0, 10, 200, 65_000, content.len() - 1] {
            assert!(open(&key(&identity), &content[..length]).is_err(), "cut to {length}");
        }
    }
}
