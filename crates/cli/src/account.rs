//! The user's account: an encrypted keystore, or a key in the environment for development.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, IsTerminal},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use alloy::signers::{k256::elliptic_curve::rand_core::OsRng, local::PrivateKeySigner};
use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::{args::GlobalArgs, failure::Misuse};

/// A key for development; never an argument, since arguments are seen by every user of the machine.
const KEY_VARIABLE: &str = "SESAME_PRIVATE_KEY";

/// The account that the command line or the environment names.
pub(crate) fn load(global: &GlobalArgs) -> anyhow::Result<PrivateKeySigner> {
    match &global.keystore {
        Some(path) => open(path, global.password_file.as_deref()),
        None => from_environment(),
    }
}

#[expect(clippy::disallowed_methods, reason = "clap would also take the key as an argument")]
fn from_environment() -> anyhow::Result<PrivateKeySigner> {
    let no_account = || {
        let message = "this command signs, and no account is given";
        Misuse::new(message, "give --keystore FILE; make one by `sesame account new`")
    };
    let key = Zeroizing::new(std::env::var(KEY_VARIABLE).map_err(|_| no_account())?);
    let malformed = || {
        let message = format!("{KEY_VARIABLE} is not a private key");
        Misuse::new(message, "it is 64 hexadecimal digits, with or without 0x")
    };
    Ok(key.trim().parse().map_err(|_| malformed())?)
}

fn open(path: &Path, password_file: Option<&Path>) -> anyhow::Result<PrivateKeySigner> {
    if !path.is_file() {
        let message = format!("there is no keystore {}", path.display());
        return Err(Misuse::new(message, "make one by `sesame account new`").into());
    }
    let password = match password_file {
        Some(file) => read_password(file)?,
        None => ask_password("Password of the keystore: ")?,
    };
    PrivateKeySigner::decrypt_keystore(path, password.as_bytes())
        .with_context(|| format!("cannot open the keystore {}", path.display()))
}

/// Makes a new account in a new keystore.
pub(crate) fn create(
    path: &Path,
    password_file: Option<&Path>,
) -> anyhow::Result<PrivateKeySigner> {
    let password = match password_file {
        Some(file) => read_password(file)?,
        None => choose_password()?,
    };
    let unwritable = || format!("cannot make the keystore {}", path.display());
    let name = path.file_name().and_then(|name| name.to_str()).with_context(unwritable)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // Never over a file that stands, and never readable by others; the keystore is then written into it.
    create_private(path).with_context(unwritable)?;
    let signer = PrivateKeySigner::random();
    let key = Zeroizing::new(signer.to_bytes().0);
    PrivateKeySigner::encrypt_keystore(folder, &mut OsRng, *key, password.as_bytes(), Some(name))
        .with_context(unwritable)?;
    Ok(signer)
}

/// A new file that only its owner can read.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn read_password(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let unreadable = || format!("cannot read the password file {}", path.display());
    let mut line = Zeroizing::new(String::new());
    BufReader::new(File::open(path).with_context(unreadable)?)
        .read_line(&mut line)
        .with_context(unreadable)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn choose_password() -> anyhow::Result<Zeroizing<String>> {
    let password = ask_password("Password of the new keystore: ")?;
    if *password != *ask_password("The same again: ")? {
        return Err(Misuse::new("the passwords differ", "try again").into());
    }
    Ok(password)
}

fn ask_password(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        let message = "the keystore needs a password and there is no terminal to ask on";
        return Err(Misuse::new(message, "give --password-file FILE").into());
    }
    rpassword::prompt_password(prompt).map(Zeroizing::new).context("cannot read the password")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_keystore_opens_with_its_password_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
        std::fs::write(&right, "correct horse\n").unwrap();
        std::fs::write(&wrong, "battery staple\n").unwrap();
        let path = folder.path().join("alice.json");

        let made = create(&path, Some(&right)).unwrap();
        assert_eq!(open(&path, Some(&right)).unwrap().address(), made.address());
        assert!(open(&path, Some(&wrong)).is_err());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create(&path, Some(&right)).is_err(), "a keystore is never overwritten");
    }
}
