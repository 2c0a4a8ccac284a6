//! Protected data decrypted as launchers do it, against the bare cipher; and ten gibibytes of it in a process of its own, whose
//! memory is the point.

use std::{
    fs::File,
    hint::black_box,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use aes::{
    Aes256,
    cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, array::Array},
};
use age::{secrecy::ExposeSecret, x25519::Identity};
use alloy_primitives::B256;
use anyhow::Context as _;
use sesame_enclave::{content::Fetcher, decrypt::decrypt_checked};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{figures::Figures, secrets::status_mb};

pub(crate) const NAMES: &[&str] = &[
    "protected_data_mb_per_s_age",
    "protected_data_mb_per_s_cbc",
    "protected_data_age_cipher_mb_per_s",
    "protected_data_cbc_cipher_mb_per_s",
    "protected_data_age_vs_cipher",
    "protected_data_cbc_vs_cipher",
];

/// Those that take twenty gibibytes of disk and memory: measured only when they are asked for by name.
pub(crate) const LARGE: &[&str] = &["protected_data_10g_rss_mb", "protected_data_10g_s"];

/// The first argument of a process that decrypts one file.
pub(crate) const CHILD: &str = "--one-decryption";

const MIB: usize = 1 << 20;

/// 32 times 7.
const IEXEC_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

#[derive(Debug, Clone, Copy)]
enum Format {
    Age,
    Cbc,
}

/// A file with a key that opens it.
struct Content {
    path: PathBuf,
    key: String,
    digest: B256,
}

pub(crate) async fn measure(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    let (mebibytes, rounds) = if figures.quick { (64, 3) } else { (512, 5) };
    for (format, name) in [(Format::Age, "age"), (Format::Cbc, "cbc")] {
        let content = write(format, mebibytes, &folder.join(name))?;
        let (mut launcher, mut cipher) = (f64::MIN, f64::MIN);
        for _ in 0..rounds {
            let start = Instant::now();
            decrypt(&content).await?;
            launcher = launcher.max(rate(mebibytes, start));
            let mut bytes = std::fs::read(&content.path)?;
            let start = Instant::now();
            bare(format, &content.key, &mut bytes)?;
            cipher = cipher.max(rate(mebibytes, start));
        }
        std::fs::remove_file(&content.path)?;
        figures.print(&format!("protected_data_mb_per_s_{name}"), launcher, "MB/s");
        figures.print(&format!("protected_data_{name}_cipher_mb_per_s"), cipher, "MB/s");
        figures.print(&format!("protected_data_{name}_vs_cipher"), launcher / cipher, "ratio");
    }
    Ok(())
}

/// Ten gibibytes, the plaintext in `/dev/shm` as launchers have it.
pub(crate) fn large(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    eprintln!("writing 10 GiB of protected data …");
    let content = write(Format::Age, 10 << 10, &folder.join("large"))?;
    let start = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args([CHILD, &content.digest.to_string()])
        .arg(&content.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("its input")?.write_all(content.key.as_bytes())?;
    let child = child.wait_with_output()?;
    anyhow::ensure!(child.status.success(), "the decryption failed");
    figures.print("protected_data_10g_s", start.elapsed().as_secs_f64(), "s");
    let peak: f64 = String::from_utf8(child.stdout)?.trim().parse()?;
    figures.print("protected_data_10g_rss_mb", peak, "MB");
    std::fs::remove_file(&content.path)?;
    Ok(())
}

/// Decrypts one file with the key on standard input, and prints the peak of resident memory.
#[expect(clippy::print_stdout, reason = "its parent reads it")]
pub(crate) async fn child(digest: &str, path: &str) -> anyhow::Result<()> {
    let key = io::read_to_string(io::stdin())?;
    decrypt(&Content { path: path.into(), key, digest: digest.parse()? }).await?;
    println!("{}", status_mb("VmHWM:")?);
    Ok(())
}

/// As a launcher: the digest, then into memory, hashed once more.
async fn decrypt(content: &Content) -> anyhow::Result<()> {
    let uri = Url::from_file_path(&content.path).map_err(|()| anyhow::anyhow!("not absolute"))?;
    let fetcher = Fetcher::new(&[])?;
    let sealed = fetcher.ciphertext(uri.as_str(), content.digest, u64::MAX, Path::new("/tmp"));
    let mut memory = tempfile::tempfile_in("/dev/shm")?;
    decrypt_checked(content.key.as_bytes(), sealed.await?, &mut memory).await?;
    Ok(())
}

/// What there is no way around: the cipher over bytes that are in memory, and nowhere written.
fn bare(format: Format, key: &str, bytes: &mut [u8]) -> anyhow::Result<()> {
    match format {
        Format::Age => {
            let identity: Identity = key.parse().map_err(anyhow::Error::msg)?;
            let opened = age::Decryptor::new_buffered(&*bytes)?;
            let mut opened = opened.decrypt(std::iter::once(&identity as _))?;
            let mut piece = vec![0; MIB];
            while opened.read(&mut piece)? > 0 {
                black_box(&piece);
            }
        }
        Format::Cbc => {
            let (iv, blocks) = bytes.split_first_chunk_mut::<16>().context("an IV")?;
            let mut cipher = cbc::Decryptor::<Aes256>::new(&[7; 32].into(), &(*iv).into());
            cipher.decrypt_blocks(Array::cast_slice_from_core_mut(blocks.as_chunks_mut().0));
            black_box(blocks);
        }
    }
    Ok(())
}

fn rate(mebibytes: usize, start: Instant) -> f64 {
    mebibytes as f64 / start.elapsed().as_secs_f64()
}

/// Content of this size, the same bytes over and over.
fn write(format: Format, mebibytes: usize, path: &Path) -> anyhow::Result<Content> {
    let mut out = Hashed { file: File::create(path)?, digest: Sha256::new() };
    let plain = vec![7; MIB];
    let key = match format {
        Format::Age => {
            let identity = Identity::generate();
            let recipient = identity.to_public();
            let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as _))?;
            let mut sealed = encryptor.wrap_output(&mut out)?;
            for _ in 0..mebibytes {
                sealed.write_all(&plain)?;
            }
            sealed.finish()?;
            identity.to_string().expose_secret().to_owned()
        }
        Format::Cbc => {
            out.write_all(&[9; 16])?;
            let mut cipher = cbc::Encryptor::<Aes256>::new(&[7; 32].into(), &[9; 16].into());
            let mut encrypt = |mut plain: Vec<u8>| {
                let blocks = plain.as_chunks_mut::<16>().0;
                cipher.encrypt_blocks(Array::cast_slice_from_core_mut(blocks));
                out.write_all(&plain)
            };
            for _ in 0..mebibytes {
                encrypt(plain.clone())?;
            }
            encrypt(vec![16; 16])?;
            IEXEC_KEY.to_owned()
        }
    };
    out.file.sync_all()?;
    let digest = B256::from_slice(&out.digest.finalize());
    Ok(Content { path: path.to_owned(), key, digest })
}

struct Hashed {
    file: File,
    digest: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
