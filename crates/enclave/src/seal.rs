//! Encrypts a result to its beneficiary.
//!
//! | key in `sesame_result_key` | file | form |
//! | --- | --- | --- |
//! | an age recipient, `age1…` | `result.tar.age` | the tar of [`crate::pack`] in the `age` format |
//! | an RSA public key, PEM or its base64, as iExec's users have it | `result.zip` | iExec's: a zip of `aes-key.rsa` (32 bytes, by RSAES-PKCS1-v1_5) and `iexec_out.zip.aes` (an IV, then AES-256-CBC with PKCS#7 padding over a zip) |
//!
//! RSA is used with public keys alone, so what crate `rsa` is known to leak by timing (RUSTSEC-2023-0071, private keys) is not here.
//! Of the two, age's authenticates what it encrypts; iExec's form does not, the digest on the chain does.

use std::{
    io::{self, Write},
    str::FromStr,
};

use aes::{
    Aes256,
    cipher::{BlockModeEncrypt, KeyIvInit, array::Array},
};
use alloy_primitives::B256;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::RngCore;
use rsa::{pkcs8::DecodePublicKey, traits::PublicKeyParts};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::pack::Package;

const BLOCK: usize = 16;

/// How much is encrypted at a time.
const CHUNK: usize = 1 << 16;

/// Smaller RSA keys are refused.
const MIN_RSA_BYTES: usize = 256;

/// The text is no key to encrypt results to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither an age recipient (age1…) nor an RSA public key of 2048 bits or more (PEM, or its base64)"
)]
pub struct NotAResultKey;

/// A file that was written and will not be read again to know it: its host could have changed it meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// SHA-256 of it.
    pub digest: B256,
    /// Its bytes.
    pub length: u64,
}

/// Whom a result is encrypted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultKey {
    /// An age recipient.
    Age(age::x25519::Recipient),
    /// An RSA public key.
    Rsa(rsa::PublicKey),
}

impl FromStr for ResultKey {
    type Err = NotAResultKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(recipient) = text.parse() {
            return Ok(Self::Age(recipient));
        }
        let decoded = STANDARD.decode(text).ok().and_then(|pem| String::from_utf8(pem).ok());
        let pem = decoded.as_deref().unwrap_or(text).trim();
        let key = rsa::PublicKey::from_public_key_pem(pem).map_err(|_| NotAResultKey)?;
        if key.size() < MIN_RSA_BYTES { Err(NotAResultKey) } else { Ok(Self::Rsa(key)) }
    }
}

impl ResultKey {
    /// What a result that is encrypted to this key is called.
    #[must_use]
    pub const fn file_name(&self) -> &'static str {
        match self {
            Self::Age(_) => "result.tar.age",
            Self::Rsa(_) => "result.zip",
        }
    }

    /// Writes the package, encrypted, to `out`.
    ///
    /// # Errors
    /// When a file cannot be read, or `out` cannot be written.
    pub fn seal(&self, package: &Package, out: impl Write) -> io::Result<Written> {
        let out = Hashed::new(out);
        match self {
            Self::Age(recipient) => {
                let recipients = std::iter::once(recipient as &dyn age::Recipient);
                let encryptor = age::Encryptor::with_recipients(recipients);
                let sealed = encryptor.map_err(io::Error::other)?.wrap_output(out)?;
                package.tar(sealed)?.finish()?.finish()
            }
            Self::Rsa(key) => seal_as_iexec_does(key, package, out),
        }
    }
}

fn seal_as_iexec_does<W: Write>(
    key: &rsa::PublicKey,
    package: &Package,
    out: Hashed<W>,
) -> io::Result<Written> {
    let mut secret = Zeroizing::new([0; 32]);
    let mut iv = [0; BLOCK];
    rand::rng().fill_bytes(&mut *secret);
    rand::rng().fill_bytes(&mut iv);
    let wrapped = key.pkcs1v15_encrypt(&*secret).map_err(io::Error::other)?;

    // Ciphertext has nothing to compress; not every reader takes a stored entry whose size comes after it.
    let options = SimpleFileOptions::default().large_file(true).compression_level(Some(1));
    let mut outer = ZipWriter::new_stream(out);
    outer.start_file("aes-key.rsa", options)?;
    outer.write_all(&wrapped)?;
    outer.start_file("iexec_out.zip.aes", options)?;
    outer.write_all(&iv)?;
    let sealed = Cbc::new(&secret, &iv, &mut outer);
    package.zip(sealed)?.finish()?;
    outer.finish()?.into_inner().finish()
}

/// Writes the package in the clear to `out`, as a tar.
///
/// # Errors
/// When a file cannot be read, or `out` cannot be written.
pub fn in_the_clear(package: &Package, out: impl Write) -> io::Result<Written> {
    package.tar(Hashed::new(out))?.finish()
}

/// Hashes and counts what passes through.
struct Hashed<W> {
    out: W,
    digest: Sha256,
    length: u64,
}

impl<W: Write> Hashed<W> {
    fn new(out: W) -> Self {
        Self { out, digest: Sha256::new(), length: 0 }
    }

    fn finish(mut self) -> io::Result<Written> {
        self.out.flush()?;
        let digest = B256::from_slice(&self.digest.finalize());
        Ok(Written { digest, length: self.length })
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// AES-256-CBC with PKCS#7 padding over what passes through.
struct Cbc<W> {
    cipher: cbc::Encryptor<Aes256>,
    /// Plaintext that waits for the rest of its chunk.
    waiting: Zeroizing<Vec<u8>>,
    out: W,
}

impl<W: Write> Cbc<W> {
    fn new(key: &[u8; 32], iv: &[u8; BLOCK], out: W) -> Self {
        let cipher = cbc::Encryptor::new(key.into(), iv.into());
        Self { cipher, waiting: Zeroizing::new(Vec::with_capacity(CHUNK)), out }
    }

    fn encrypt_waiting(&mut self) -> io::Result<()> {
        let (blocks, _) = self.waiting.as_chunks_mut::<BLOCK>();
        self.cipher.encrypt_blocks(Array::cast_slice_from_core_mut(blocks));
        self.out.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let pad = BLOCK - self.waiting.len() % BLOCK;
        let padded = self.waiting.len() + pad;
        // At most a block.
        self.waiting.resize(padded, u8::try_from(pad).unwrap_or_default());
        self.encrypt_waiting()
    }
}

impl<W: Write> Write for Cbc<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.waiting.len() == CHUNK {
            self.encrypt_waiting()?;
        }
        Ok(taken)
    }

    /// What fills no chunk yet waits for [`Cbc::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs,
        io::{Cursor, Read},
        path::Path,
    };

    use age::x25519::Identity;
    use rsa::{Generate, pkcs8::EncodePublicKey};

    use super::*;
    use crate::decrypt::decrypt;

    type Files = BTreeMap<String, Vec<u8>>;

    fn package() -> (tempfile::TempDir, Package, Files) {
        let folder = tempfile::tempdir().unwrap();
        let (out, logs) = (folder.path().join("out"), folder.path().join("said"));
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        let files: Files = [
            ("iexec_out/a".to_owned(), vec![7; 200_000]),
            ("iexec_out/b c/ü".to_owned(), b"two".to_vec()),
            ("iexec_out/empty".to_owned(), Vec::new()),
            (format!("iexec_out/{long}"), b"three".to_vec()),
            ("stdout.txt".to_owned(), b"said".to_vec()),
        ]
        .into();
        for (name, bytes) in &files {
            let path = name.strip_prefix("iexec_out/").map_or(logs.clone(), |name| out.join(name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let package = Package::of(&out, &[("stdout.txt", logs)]).unwrap();
        (folder, package, files)
    }

    fn untar(bytes: &[u8]) -> Files {
        let mut tar = tar::Archive::new(bytes);
        let entries = tar.entries().unwrap().map(|entry| {
            let (mut entry, mut bytes) = (entry.unwrap(), Vec::new());
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
        });
        entries.collect()
    }

    fn unzip(bytes: &[u8]) -> Files {
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let entries = (0..zip.len()).map(|n| {
            let (mut entry, mut bytes) = (zip.by_index(n).unwrap(), Vec::new());
            entry.read_to_end(&mut bytes).unwrap();
            (entry.name().unwrap().into_owned(), bytes)
        });
        entries.collect()
    }

    fn sealed(key: &ResultKey, package: &Package) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = key.seal(package, &mut bytes).unwrap();
        assert_eq!(written.digest, B256::from_slice(&Sha256::digest(&bytes)));
        assert_eq!(written.length, bytes.len() as u64);
        bytes
    }

    #[test]
    fn an_age_recipient_opens_a_tar() {
        let (_folder, package, files) = package();
        let identity = Identity::generate();
        let key: ResultKey = identity.to_public().to_string().parse().unwrap();
        assert_eq!(key.file_name(), "result.tar.age");
        let bytes = sealed(&key, &package);
        assert_eq!(untar(&age::decrypt(&identity, &bytes).unwrap()), files);
        assert!(age::decrypt(&Identity::generate(), &bytes).is_err());
        assert_ne!(sealed(&key, &package), bytes, "every result has a key of its own");
    }

    #[test]
    fn the_same_output_in_the_clear_is_the_same_tar() {
        let (_folder, package, files) = package();
        let (_other, again, _) = self::package();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let written = in_the_clear(&package, &mut one).unwrap();
        assert_eq!(in_the_clear(&again, &mut two).unwrap(), written);
        assert!(one == two);
        assert_eq!(untar(&one), files);
    }

    /// Of 1024 bits.
    const SMALL: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC90Dkpj/aWKuwKEhdPDnOmrHP/
bwPKIMD4uVLKSjkKPODO8gan0fMfvvqpR6qtBz2d5WsqVL1vexUwSgvuCjpAdXJg
inws5rphVzFxFOoEK0jN0vg0Ido21uuw6KMt19mk3HagaRwP2JeFLIdvbU3dHFB0
20F35zVwQZeAvOsxrwIDAQAB
-----END PUBLIC KEY-----
";

    fn rsa_pair() -> (rsa::PrivateKey, String) {
        let secret = rsa::PrivateKey::generate();
        let pem = secret.to_public_key().to_public_key_pem(rsa::pkcs8::LineEnding::LF).unwrap();
        (secret, pem)
    }

    #[test]
    fn an_rsa_key_opens_iexecs_form() {
        let (_folder, package, files) = package();
        let (secret, pem) = rsa_pair();
        for text in [pem.clone(), format!("{}\n", STANDARD.encode(&pem)), pem.replace('\n', "\r\n")]
        {
            let key: ResultKey = text.parse().unwrap();
            assert_eq!(key.file_name(), "result.zip");
            let bytes = sealed(&key, &package);
            let outer = unzip(&bytes);
            assert_eq!(outer.keys().collect::<Vec<_>>(), ["aes-key.rsa", "iexec_out.zip.aes"]);
            let aes = secret.pkcs1v15_decrypt(&outer["aes-key.rsa"]).unwrap();
            assert_eq!(aes.len(), 32);
            // It is the format of iExec's protected data.
            let mut inner = Vec::new();
            let (aes, content) = (STANDARD.encode(&aes), outer["iexec_out.zip.aes"].as_slice());
            let opened = decrypt(aes.as_bytes(), content, &mut inner);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(opened).unwrap();
            assert_eq!(unzip(&inner), files);
        }
    }

    #[test]
    fn every_length_is_padded() {
        let (key, iv) = ([7; 32], [9; BLOCK]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for length in (0..40).chain([CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]) {
            let (plain, mut bytes) = (vec![5; length], iv.to_vec());
            let mut cbc = Cbc::new(&key, &iv, &mut bytes);
            for piece in plain.chunks(1000) {
                cbc.write_all(piece).unwrap();
            }
            cbc.finish().unwrap();
            let mut opened = Vec::new();
            let key = STANDARD.encode(key);
            runtime.block_on(decrypt(key.as_bytes(), bytes.as_slice(), &mut opened)).unwrap();
            assert!(opened == plain, "{length}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(rsa::PublicKey::from_public_key_pem(SMALL).is_ok());
        let secret = Identity::generate();
        let secret = age::secrecy::ExposeSecret::expose_secret(&secret.to_string()).to_owned();
        let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
        for bad in
            ["", "age1", "age1qqqq", "none", "AAAA", pem, &STANDARD.encode(pem), SMALL, &secret]
        {
            assert_eq!(bad.parse::<ResultKey>(), Err(NotAResultKey), "{bad}");
        }
    }

    #[test]
    fn nobody_packs_what_nobody_waits_for() {
        let (_folder, package, _) = package();
        let wanted = package.wanted();
        assert!(in_the_clear(&package, io::sink()).is_ok());
        drop(wanted);
        let error = in_the_clear(&package, io::sink()).unwrap_err();
        assert!(error.to_string().contains("nobody waits"), "{error}");
    }

    #[test]
    fn a_file_that_is_gone_or_a_link_breaks_the_package() {
        let (folder, package, _) = package();
        let file = folder.path().join("out/a");
        fs::remove_file(&file).unwrap();
        assert!(in_the_clear(&package, io::sink()).is_err());
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(in_the_clear(&package, io::sink()).is_err());
        assert!(Package::of(Path::new("/nowhere/at/all"), &[]).is_err());
    }
}
