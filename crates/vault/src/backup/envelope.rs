//! What is around the contents: an age file with one recipient of our own.
//!
//! Its stanza is `-> sesame-vault-backup-v1 <key> <origin>`: the name of the key-encryption key (16 hexadecimal digits) and the
//! vault's origin (58), in the clear so that a refusal can name what is missing. The body is the file key (16 bytes) as that key
//! wraps it, with the stanza's tag and the origin as associated data.

use std::{
    cell::RefCell,
    collections::HashSet,
    io::{BufRead, Write},
    iter,
};

use age::{
    DecryptError, Decryptor, EncryptError, Encryptor,
    secrecy::ExposeSecret,
    stream::{StreamReader, StreamWriter},
};
use age_core::format::{FileKey, Stanza};

use crate::{
    error::{BackupError, KeyError, VaultError},
    keys::{Kek, Keys},
    record::Home,
};

const TAG: &str = "sesame-vault-backup-v1";

/// Where a backup belongs, and the keys at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) home: Home,
    pub(super) keys: &'a dyn Keys,
}

impl Envelope<'_> {
    /// Encrypts under a file key that `key` wraps.
    pub(super) fn seal<W: Write>(
        self,
        key: &dyn Kek,
        out: W,
    ) -> Result<StreamWriter<W>, VaultError> {
        let recipient = Recipient { home: self.home, key, refused: RefCell::default() };
        let sealed = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient));
        match (sealed, recipient.refused.into_inner()) {
            (Ok(sealed), _) => Ok(sealed.wrap_output(out).map_err(BackupError::Write)?),
            (Err(_), Some(refused)) => Err(refused.into()),
            (Err(error), None) => Err(BackupError::Write(std::io::Error::other(error)).into()),
        }
    }

    /// Decrypts what one of the keys opens.
    pub(super) fn open<R: BufRead>(self, input: R) -> Result<StreamReader<R>, VaultError> {
        let identity = Identity { envelope: self, refused: RefCell::default() };
        let opened = Decryptor::new_buffered(input)
            .and_then(|sealed| sealed.decrypt(iter::once(&identity as &dyn age::Identity)));
        opened.map_err(|error| identity.refused.take().unwrap_or_else(|| unopened(error)))
    }

    fn file_key(self, stanza: &Stanza) -> Result<FileKey, VaultError> {
        let Stanza { args, body, .. } = stanza;
        let [key, origin] = args.as_slice() else { return Err(BackupError::NotOne.into()) };
        if *origin != hex::encode(self.home.origin()) {
            return Err(BackupError::OtherOrigin.into());
        }
        let key = self.keys.find(key.parse().map_err(|_| BackupError::NotOne)?)?;
        let opened = match key.unwrap(body, &associated_data(self.home)) {
            Err(KeyError::Refused) => return Err(BackupError::Altered.into()),
            opened => opened?,
        };
        FileKey::try_init_with_mut(|bytes| {
            let whole = opened.len() == bytes.len();
            bytes.iter_mut().zip(opened.iter()).for_each(|(to, from)| *to = *from);
            if whole { Ok(()) } else { Err(BackupError::Altered.into()) }
        })
    }
}

fn associated_data(home: Home) -> Vec<u8> {
    [TAG.as_bytes(), &home.origin()].concat()
}

fn unopened(error: DecryptError) -> VaultError {
    match error {
        DecryptError::Io(error) => unread(error),
        DecryptError::InvalidMac | DecryptError::DecryptionFailed => BackupError::Altered.into(),
        DecryptError::ExcessiveWork { .. }
        | DecryptError::InvalidHeader
        | DecryptError::KeyDecryptionFailed
        | DecryptError::NoMatchingKeys
        | DecryptError::UnknownFormat => BackupError::NotOne.into(),
    }
}

/// Of the errors of a reader, those of the operating system are not the backup's fault.
pub(super) fn unread(error: std::io::Error) -> VaultError {
    match error.raw_os_error() {
        Some(_) => BackupError::Read(error).into(),
        None => BackupError::Altered.into(),
    }
}

struct Recipient<'a> {
    home: Home,
    key: &'a dyn Kek,
    /// age's own errors cannot carry it.
    refused: RefCell<Option<KeyError>>,
}

impl age::Recipient for Recipient<'_> {
    fn wrap_file_key(
        &self,
        file_key: &FileKey,
    ) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let wrapped = self.key.wrap(file_key.expose_secret(), &associated_data(self.home));
        let body = wrapped.map_err(|error| {
            *self.refused.borrow_mut() = Some(error);
            EncryptError::Io(std::io::Error::other("the key-encryption key cannot be used"))
        })?;
        let args = vec![self.key.id().to_string(), hex::encode(self.home.origin())];
        Ok((vec![Stanza { tag: TAG.to_owned(), args, body }], HashSet::new()))
    }
}

struct Identity<'a> {
    envelope: Envelope<'a>,
    refused: RefCell<Option<VaultError>>,
}

impl age::Identity for Identity<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        let key = (stanza.tag == TAG).then(|| self.envelope.file_key(stanza))?;
        Some(key.map_err(|error| {
            *self.refused.borrow_mut() = Some(error);
            DecryptError::KeyDecryptionFailed
        }))
    }
}
