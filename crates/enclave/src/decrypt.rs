//! Protected data in the `age` format.

use std::io::{self, Read, Write};

use age::x25519::Identity;

/// Content cannot be decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The secret that the owner pushed holds no X25519 identity, or more than one.
    #[error("the pushed key is not one age X25519 identity (AGE-SECRET-KEY-1…)")]
    NotAnIdentity,
    /// The content is not in the format, or is encrypted to somebody else.
    #[error("the content does not open with the pushed key")]
    DoesNotOpen(#[source] age::DecryptError),
    /// The content is cut short or altered, or the plaintext cannot be written.
    #[error("the content breaks off")]
    Broken(#[from] io::Error),
}

/// Decrypts `content` into `sink` with the identity in `key`: the line itself, or an identity file with comments.
///
/// # Errors
/// When the key is none, or not that of the content, or the content is damaged. What is in `sink` then is to be thrown away.
pub fn decrypt(key: &[u8], content: impl Read, sink: &mut impl Write) -> Result<u64, DecryptError> {
    let identity = identity(key)?;
    let opened = age::Decryptor::new(content)
        .and_then(|decryptor| decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)));
    let length = io::copy(&mut opened.map_err(DecryptError::DoesNotOpen)?, sink)?;
    sink.flush()?;
    Ok(length)
}

fn identity(key: &[u8]) -> Result<Identity, DecryptError> {
    let text = std::str::from_utf8(key).map_err(|_| DecryptError::NotAnIdentity)?;
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.parse().map_err(|_| DecryptError::NotAnIdentity),
        _ => Err(DecryptError::NotAnIdentity),
    }
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
            assert!(matches!(error, DecryptError::NotAnIdentity), "{error}");
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
