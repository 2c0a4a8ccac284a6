//! `sesame data`.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use age::{secrecy::ExposeSecret, x25519::Identity};
use alloy::primitives::B256;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sesame_chain::Content;
use sesame_client::owner::PushOptions;
use sesame_domain::SecretId;
use sesame_enclave::decrypt::check_key;
use zeroize::Zeroizing;

use super::{
    asset::{self, ShowArgs, TransferArgs},
    mined, secret,
};
use crate::{account::create_private, context::Context, failure::Misuse, output::Answer, parse};

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Encrypt a file, register it as protected data of yours and push its key to the SMS.
    #[command(after_help = "\
Example:
  sesame data protect table.csv --out table.csv.age --uri https://example.org/table.csv.age

The file is encrypted in the age format to a new key. Publish the encrypted file under the uri; without --uri its own path is
registered, which helps on one machine only. The key lies beside it as OUT.key until the SMS has acknowledged it.")]
    Protect(ProtectArgs),
    /// Register a file that is encrypted already, in the age format or in iExec's, and push its key to the SMS.
    #[command(after_help = "\
Example:
  age-keygen -o table.key && age -r age1… -o table.csv.age table.csv
  sesame data register table.csv.age --key-file table.key --uri ipfs://bafy…
  sesame data register dataset.bin --key-file dataset.secret --uri https://example.org/dataset.bin

Of the age format the key is the identity (AGE-SECRET-KEY-1…), of iExec's the base64 text of its 32 bytes. Enclaves get it, and
their apps what it opens.")]
    Register(RegisterArgs),
    /// Show what the registry says about a protected data.
    #[command(after_help = "Example:\n  sesame data show 0x…")]
    Show(ShowArgs),
    /// Give a protected data to another account; all its authorizations end.
    #[command(after_help = "\
Example:
  sesame data transfer 0x… --to 0x…

The key that you pushed is not released to the new owner's enclaves unless you pushed it as transferable.")]
    Transfer(TransferArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ProtectArgs {
    /// The file.
    file: PathBuf,
    /// Where to write it encrypted; must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where enclaves will find the encrypted file.
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// The key goes with the data when it is sold; otherwise a sale ends it.
    #[arg(long)]
    transferable: bool,
    /// For how long to try to push the key while the registration is not confirmed yet.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "10m")]
    wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The encrypted file.
    file: PathBuf,
    /// The file with its key.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Where enclaves will find the encrypted file; its own path by default, which helps on one machine only.
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// Tells apart protected data of the same content and account.
    #[arg(long, value_name = "BYTES32", value_parser = parse::bytes32, default_value_t = B256::ZERO)]
    salt: B256,
    /// The key goes with the data when it is sold; otherwise a sale ends it.
    #[arg(long)]
    transferable: bool,
    /// For how long to try to push the key while the registration is not confirmed yet.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "10m")]
    wait: Duration,
}

pub(crate) async fn run(command: DataCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        DataCommand::Protect(args) => protect(args, context).await,
        DataCommand::Register(args) => register(args, context).await,
        DataCommand::Show(args) => asset::show(&args, context).await,
        DataCommand::Transfer(args) => asset::transfer(&args, context).await,
    }
}

async fn protect(args: ProtectArgs, context: &Context) -> anyhow::Result<()> {
    // Who cannot push keys had better not begin.
    let _ = context.owner()?;
    let identity = Identity::generate();
    let key_path = key_path(&args.out);
    encrypt(&args.file, &args.out, &identity).with_context(|| {
        format!("cannot encrypt {} to {}", args.file.display(), args.out.display())
    })?;
    keep_key(&key_path, &identity)
        .with_context(|| format!("cannot keep the key in {}", key_path.display()))?;
    let registration = RegisterArgs {
        file: args.out,
        key_file: key_path.clone(),
        uri: args.uri,
        salt: B256::ZERO,
        transferable: args.transferable,
        wait: args.wait,
    };
    let answer = register_and_push(registration, context).await?;
    fs::remove_file(&key_path)
        .with_context(|| format!("the key is pushed, but {} remains", key_path.display()))?;
    context.output.show(&answer);
    Ok(())
}

async fn register(args: RegisterArgs, context: &Context) -> anyhow::Result<()> {
    context.output.show(&register_and_push(args, context).await?);
    Ok(())
}

async fn register_and_push(args: RegisterArgs, context: &Context) -> anyhow::Result<Answer> {
    let RegisterArgs { file, key_file, uri, salt, transferable, wait } = args;
    let owner = context.owner()?;
    let key = read_key(&key_file)?;
    let contracts = context.contracts().await?;
    let content = asset::content_of(&file, uri)?;
    let asset = contracts.register_data(&content, salt).await;
    let asset = asset.context("cannot register the protected data")?;
    context.output.note(&format!("registered {}", asset.result));

    let options =
        PushOptions { transferable, content_digest: content.digest, ..PushOptions::default() };
    let resource = SecretId::Asset(asset.result);
    let pushed = secret::push(&owner, &resource, &key, &options, wait, context).await;
    let pushed = pushed.with_context(|| {
        let (key, id) = (key_file.display(), asset.result);
        format!("{id} is registered but its key is not pushed; do it by `sesame secret push --data {id} --file {key}`")
    })?;
    Ok(protected(&asset, &content, &file, pushed.version))
}

/// The key as it is pushed: launchers read what `age-keygen` writes with its comments.
fn read_key(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let key = fs::read(path).map(Zeroizing::new);
    let key = key.with_context(|| format!("cannot read the key in {}", path.display()))?;
    check_key(&key).map_err(|_| {
        let hint = "give one age identity, as age-keygen writes it, or 32 bytes in base64";
        Misuse::new(format!("{} holds no key", path.display()), hint)
    })?;
    Ok(key)
}

fn protected(
    asset: &sesame_chain::Mined<sesame_domain::AssetId>,
    content: &Content,
    out: &Path,
    version: u64,
) -> Answer {
    let mut fields = vec![
        ("asset", json!(asset.result.0)),
        ("file", json!(out.display().to_string())),
        ("uri", json!(content.uri)),
        ("digest", json!(content.digest)),
        ("key_version", json!(version)),
    ];
    fields.extend(mined(asset));
    Answer::Fields(fields)
}

fn encrypt(from: &Path, to: &Path, identity: &Identity) -> anyhow::Result<()> {
    let mut plain = File::open(from)?;
    let recipient = identity.to_public();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as _))?;
    let mut sealed = encryptor.wrap_output(io::BufWriter::new(File::create_new(to)?))?;
    io::copy(&mut plain, &mut sealed)?;
    sealed.finish()?.into_inner()?.sync_all()?;
    Ok(())
}

fn key_path(out: &Path) -> PathBuf {
    let mut path = out.as_os_str().to_owned();
    path.push(".key");
    path.into()
}

/// Keeps the key until the SMS has it: were it lost between registration and push, the data would be lost too.
fn keep_key(path: &Path, identity: &Identity) -> io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(identity.to_string().expose_secret().as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_opens_with_the_kept_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("table.csv"), folder.path().join("table.csv.age"));
        fs::write(&from, "a,b\n1,2\n").unwrap();
        let identity = Identity::generate();
        encrypt(&from, &to, &identity).unwrap();
        keep_key(&key_path(&to), &identity).unwrap();

        let kept = fs::read_to_string(folder.path().join("table.csv.age.key")).unwrap();
        let kept: Identity = kept.parse().unwrap();
        let sealed = fs::read(&to).unwrap();
        assert_eq!(age::decrypt(&kept, &sealed).unwrap(), b"a,b\n1,2\n");
        assert!(age::decrypt(&Identity::generate(), &sealed).is_err());
        assert!(encrypt(&from, &to, &identity).is_err(), "nothing is overwritten");
    }

    #[test]
    fn what_is_pushed_is_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_key(&path).map(|key| key.to_vec())
        };
        let identity = Identity::generate().to_string();
        let keygen =
            format!("# created: today\n# public key: age1x\n{}\n", identity.expose_secret());
        assert_eq!(read(&keygen).unwrap(), keygen.as_bytes());
        let iexec = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        assert_eq!(read(iexec).unwrap(), iexec.as_bytes());
        for refused in
            ["", "# nothing\n", "BwcH", "AGE-SECRET-KEY-1X", &format!("{iexec}\n{iexec}")]
        {
            assert!(read(refused).is_err(), "{refused:?}");
        }
        fs::remove_file(&path).unwrap();
        assert!(read_key(&path).is_err());
    }
}
