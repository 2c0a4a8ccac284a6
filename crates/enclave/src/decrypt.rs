//! Protected data in two formats; the pushed key says which.
//!
//! - `age` (age-encryption.org/v1): the key is one X25519 identity, `AGE-SECRET-KEY-1…`.
//! - iExec's: the key is 32 bytes in standard base64, the content an IV (16 bytes) and AES-256-CBC with PKCS#7 padding. It
//!   authenticates nothing by itself: the content's digest on the chain does, and is checked before a byte is decrypted, and
//!   again while it is.
//!
//! Content of any length passes through in pieces: what is held of it at a time does not grow with it.

use std::io::{self, Read, Write};

use aes::{
    Aes256,
    cipher::{BlockModeDecrypt, KeyIvInit, array::Array},
};
use age::{stream::StreamReader, x25519::Identity};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::content::{Ciphertext, ContentError};

/// Bytes of a block and of an IV.
const BLOCK: usize = 16;

/// How much is decrypted at a time.
const CHUNK: usize = 1 << 18;

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
    /// The content is cut short or altered.
    #[error("the content breaks off")]
    Broken(#[from] io::Error),
    /// The plaintext cannot be written.
    #[error("the decrypted content cannot be kept")]
    Keep(#[source] io::Error),
    /// The content was changed between the check of its digest and its use.
    #[error("the content was changed after it had been checked")]
    Swapped(#[source] ContentError),
}

/// Whether these bytes, as an owner would push them, are a key of either format.
///
/// # Errors
/// When they are none.
pub fn check_key(key: &[u8]) -> Result<(), DecryptError> {
    Key::parse(key).map(drop)
}

/// Decrypts content into `sink` with the pushed key, and checks its digest once more.
///
/// # Errors
/// As [`decrypt`], and when the content is no longer what was checked: that is told before anything else that is wrong with it.
pub async fn decrypt_checked(
    key: &[u8],
    mut content: Ciphertext,
    sink: &mut impl Write,
) -> Result<u64, DecryptError> {
    let decrypted = decrypt(key, &mut content, sink).await;
    if let Err(DecryptError::Keep(_)) = decrypted {
        return decrypted;
    }
    content.finish().map_err(DecryptError::Swapped)?;
    decrypted
}

/// Decrypts `content` into `sink` with the pushed key. Gives the length of what it holds.
///
/// # Errors
/// When the key is none, or not that of the content, the content is damaged, or the sink is full. What is in `sink` then is to
/// be thrown away.
pub async fn decrypt(
    key: &[u8],
    content: impl Read,
    sink: &mut impl Write,
) -> Result<u64, DecryptError> {
    match Key::parse(key)? {
        Key::Age(identity) => copy(Age::open(&identity, content)?, sink).await,
        Key::Iexec(key) => copy(Iexec::open(&key, content)?, sink).await,
    }
}

/// Whoever waits for the end of the run gets a turn after each piece.
async fn copy(mut plain: impl Pieces, sink: &mut impl Write) -> Result<u64, DecryptError> {
    let mut length = 0;
    loop {
        let piece = plain.next()?;
        if piece.is_empty() {
            sink.flush().map_err(DecryptError::Keep)?;
            return Ok(length);
        }
        sink.write_all(piece).map_err(DecryptError::Keep)?;
        length += piece.len() as u64;
        tokio::task::yield_now().await;
    }
}

/// Plaintext, piece by piece.
trait Pieces {
    /// The next piece; an empty one at the end.
    fn next(&mut self) -> Result<&[u8], DecryptError>;
}

struct Age<R: Read> {
    plain: StreamReader<R>,
    buffer: Zeroizing<Vec<u8>>,
}

impl<R: Read> Age<R> {
    fn open(identity: &Identity, content: R) -> Result<Self, DecryptError> {
        let opened = age::Decryptor::new(content)
            .and_then(|content| content.decrypt(std::iter::once(identity as &dyn age::Identity)));
        let plain = opened.map_err(DecryptError::DoesNotOpen)?;
        Ok(Self { plain, buffer: Zeroizing::new(vec![0; CHUNK]) })
    }
}

impl<R: Read> Pieces for Age<R> {
    fn next(&mut self) -> Result<&[u8], DecryptError> {
        let read = fill(&mut self.plain, &mut self.buffer)?;
        Ok(self.buffer.get(..read).unwrap_or_default())
    }
}

/// One block is held back, since the last one says how much of it is padding: it stands in front of the next piece.
struct Iexec<R> {
    content: R,
    cipher: cbc::Decryptor<Aes256>,
    /// Room for the block that is held back, then for a piece.
    buffer: Zeroizing<Vec<u8>>,
    /// Where the block is that is held back; before the first piece there is none.
    held: Option<usize>,
    ended: bool,
}

impl<R: Read> Iexec<R> {
    fn open(key: &[u8; 32], mut content: R) -> Result<Self, DecryptError> {
        let mut iv = [0; BLOCK];
        content.read_exact(&mut iv)?;
        let cipher = cbc::Decryptor::new(key.into(), &iv.into());
        let buffer = Zeroizing::new(vec![0; BLOCK + CHUNK]);
        Ok(Self { content, cipher, buffer, held: None, ended: false })
    }

    /// Decrypts behind the block that is held back. Gives how many bytes.
    fn decrypt_next(&mut self) -> Result<usize, DecryptError> {
        if let Some(at) = self.held {
            self.buffer.copy_within(at..at + BLOCK, 0);
        }
        let room = self.buffer.get_mut(BLOCK..).unwrap_or_default();
        let read = fill(&mut self.content, room)?;
        let (blocks, rest) = room.get_mut(..read).unwrap_or_default().as_chunks_mut::<BLOCK>();
        if !rest.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.cipher.decrypt_blocks(Array::cast_slice_from_core_mut(blocks));
        Ok(read)
    }
}

impl<R: Read> Pieces for Iexec<R> {
    fn next(&mut self) -> Result<&[u8], DecryptError> {
        let mut piece = 0..0;
        while piece.is_empty() && !self.ended {
            let read = self.decrypt_next()?;
            // Before the first piece nothing is held back, and what stands in front is nothing.
            let first = if self.held.is_some() { 0 } else { BLOCK };
            if read == 0 {
                self.ended = true;
                let last = self.buffer.first_chunk().filter(|_| first == 0);
                return last.and_then(unpadded).ok_or(DecryptError::Padding);
            }
            self.held = Some(read);
            piece = first..read;
        }
        Ok(self.buffer.get(piece).unwrap_or_default())
    }
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

    fn wait<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn open(key: &[u8], content: &[u8]) -> Result<Vec<u8>, DecryptError> {
        let mut plain = Vec::new();
        let length = wait(decrypt(key, content, &mut plain))?;
        assert_eq!(length, plain.len() as u64);
        Ok(plain)
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
        use aes::cipher::{Block, BlockModeEncrypt};

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
        for length in (0..50).chain([262_127, 262_128, 262_143, 262_144, 262_145, 262_160, 600_000])
        {
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

    /// Checked content of these bytes, in a file that the test, as a host, can write to.
    fn checked(content: &[u8]) -> (tempfile::NamedTempFile, Ciphertext) {
        use sha2::{Digest, Sha256};

        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let uri = url::Url::from_file_path(file.path()).unwrap().to_string();
        let digest = alloy_primitives::B256::from_slice(&Sha256::digest(content));
        let fetcher = crate::content::Fetcher::new(&[]).unwrap();
        let checked = fetcher.ciphertext(&uri, digest, u64::MAX, "/tmp".as_ref());
        let checked = wait(checked).unwrap();
        (file, checked)
    }

    /// iExec's format would not notice: what a host swaps in decrypts to another text with a padding of its own.
    #[test]
    fn content_that_a_host_swaps_after_the_check_is_refused() {
        let identity = Identity::generate();
        let iexec = |plain: &[u8]| (IEXEC_KEY.to_vec(), encrypted_as_iexec_does(plain));
        let age = |plain: &[u8]| (key(&identity), encrypted(&identity, plain));
        for ((key, content), (_, other)) in [
            (iexec(&[1; 300_000]), iexec(&[2; 300_000])),
            (iexec(b"one"), iexec(b"two")),
            (iexec(b"one"), (vec![], b"no longer a whole number of blocks".to_vec())),
            (iexec(b"one"), (vec![], vec![])),
            (age(&[1; 300_000]), age(&[2; 300_000])),
            (age(b"one"), (vec![], b"not age".to_vec())),
        ] {
            let (file, checked) = checked(&content);
            std::fs::write(file.path(), &other).unwrap();
            let error = wait(decrypt_checked(&key, checked, &mut io::sink())).unwrap_err();
            assert!(matches!(error, DecryptError::Swapped(_)), "{error}");
        }
        let (_file, same) = checked(&iexec(b"one").1);
        assert_eq!(wait(decrypt_checked(IEXEC_KEY, same, &mut io::sink())).unwrap(), 3);
        let (_file, damaged) = checked(&[&vector()[..], &[0]].concat());
        let error = wait(decrypt_checked(IEXEC_KEY, damaged, &mut io::sink())).unwrap_err();
        assert!(matches!(error, DecryptError::Broken(_)), "the owner's own mistake: {error}");
    }

    /// Whatever its length, a piece of content is held at a time: the buffers are all that grows.
    #[test]
    fn content_comes_in_pieces() {
        struct Largest(usize);
        impl Write for Largest {
            fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
                self.0 = self.0.max(piece.len());
                Ok(piece.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let identity = Identity::generate();
        let plain = vec![7; 5 << 20];
        for (key, content) in [
            (IEXEC_KEY.to_vec(), encrypted_as_iexec_does(&plain)),
            (key(&identity), encrypted(&identity, &plain)),
        ] {
            let mut largest = Largest(0);
            let length = wait(decrypt(&key, content.as_slice(), &mut largest)).unwrap();
            assert_eq!(length, 5 << 20);
            assert!((1..=CHUNK).contains(&largest.0), "{} bytes at once", largest.0);
        }
    }

    #[test]
    fn a_full_sink_is_not_the_contents_fault() {
        let mut room = [0; 100];
        let content = encrypted_as_iexec_does(&[7; 300]);
        let error = wait(decrypt(IEXEC_KEY, content.as_slice(), &mut room.as_mut_slice()));
        assert!(matches!(error.unwrap_err(), DecryptError::Keep(_)));
    }
}
