//! Keys in a hardware security module, asked through PKCS#11: they are born in its token and never leave it.
//!
//! A key is an AES-256 secret key of the token whose `CKA_ID` is its name; the module computes AES-GCM with it, over the same bytes
//! as the keys in files. One that could leave the token, or could ever have left it, is refused.

mod token;

use std::{path::PathBuf, sync::Arc};

use cryptoki::{
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use zeroize::Zeroizing;

use self::token::{Connection, Failure, Token};
use super::{Kek, KeyId, Keys};
use crate::error::KeyError;

/// Bytes of a key.
const KEY: u64 = 32;
/// Bits of a tag.
const TAG: u64 = 128;

/// A token of a hardware security module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hsm {
    /// The vendor's PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// Holds the PIN of the token's user on its first line, readable by its owner alone.
    pub pin_file: PathBuf,
}

/// The keys of a token, which is not asked yet.
pub(crate) fn keys(hsm: Hsm) -> impl Keys {
    Arc::new(Token::new(hsm))
}

impl Keys for Arc<Token> {
    fn make(&self) -> Result<Box<dyn Kek>, KeyError> {
        let id = KeyId(rand::random::<[u8; 8]>().into());
        self.call(|connection| {
            Ok(connection.writing()?.generate_key(&Mechanism::AesKeyGen, &template(id))?)
        })?;
        self.find(id)
    }

    fn find(&self, id: KeyId) -> Result<Box<dyn Kek>, KeyError> {
        let key = Hardware { token: self.clone(), id };
        key.token.call(|connection| key.handle(connection, &connection.session()))?;
        Ok(Box::new(key))
    }

    fn place(&self) -> String {
        self.as_ref().place()
    }
}

/// A key-encryption key in a token.
#[derive(Debug)]
struct Hardware {
    token: Arc<Token>,
    id: KeyId,
}

impl Hardware {
    /// The key as this connection knows it, looked at before it is used for the first time.
    fn handle(&self, connection: &Connection, session: &Session) -> Result<ObjectHandle, Failure> {
        if let Some(handle) = connection.known(self.id) {
            return Ok(handle);
        }
        let handle = match session.find_objects(&named(self.id))?.as_slice() {
            [] => return Err(KeyError::Missing { id: self.id, place: self.place() }.into()),
            [handle] => *handle,
            [..] => return Err(self.unfit("there are several of that name")),
        };
        let required = required();
        let types: Vec<AttributeType> =
            required.iter().map(|(attribute, _)| attribute.attribute_type()).collect();
        let found = session.get_attributes(handle, &types)?;
        if let Some((_, reason)) = required.iter().find(|(needed, _)| !found.contains(needed)) {
            return Err(self.unfit(reason));
        }
        connection.remember(self.id, handle);
        Ok(handle)
    }

    fn unfit(&self, reason: &'static str) -> Failure {
        KeyError::Unfit { id: self.id, token: self.token.label().to_owned(), reason }.into()
    }
}

impl Kek for Hardware {
    fn id(&self) -> KeyId {
        self.id
    }

    fn place(&self) -> String {
        self.token.place()
    }

    fn wrap(&self, value: &[u8], aad: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.token.call(|connection| {
            let session = connection.session();
            let key = self.handle(connection, &session)?;
            Ok(seal(&session, key, value, aad)?)
        })
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.token.call(|connection| {
            let session = connection.session();
            let key = self.handle(connection, &session)?;
            match open(&session, key, wrapped, aad) {
                // Modules have many codes for what does not authenticate, and use them for other failures too.
                Err(_) if works(&session, key) => Err(KeyError::Refused.into()),
                opened => Ok(opened?),
            }
        })
    }
}

/// Nonce (12) ‖ ciphertext ‖ tag (16).
fn seal(
    session: &Session,
    key: ObjectHandle,
    value: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, cryptoki::error::Error> {
    let mut nonce = rand::random::<[u8; 12]>();
    let gcm = Mechanism::AesGcm(GcmParams::new(&mut nonce, aad, TAG.into())?);
    let sealed = session.encrypt(&gcm, key, value)?;
    // Some modules insist on a nonce of their own, and leave it where ours was.
    Ok([nonce.as_slice(), &sealed].concat())
}

fn open(
    session: &Session,
    key: ObjectHandle,
    wrapped: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, cryptoki::error::Error> {
    let (nonce, sealed) =
        wrapped.split_first_chunk::<12>().ok_or(cryptoki::error::Error::InvalidValue)?;
    let mut nonce = *nonce;
    let gcm = Mechanism::AesGcm(GcmParams::new(&mut nonce, aad, TAG.into())?);
    session.decrypt(&gcm, key, sealed).map(Zeroizing::new)
}

/// Whether the key opens what it sealed.
fn works(session: &Session, key: ObjectHandle) -> bool {
    let (value, aad) = (rand::random::<[u8; 32]>(), b"sesame vault self-test");
    let opened = seal(session, key, &value, aad)
        .and_then(|sealed| open(session, key, &sealed, aad))
        .map(|opened| opened.as_slice() == value);
    opened.unwrap_or(false)
}

/// What finds a key in its token.
fn named(id: KeyId) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Id(id.0.to_vec()),
    ]
}

/// What a new key is asked to be.
fn template(id: KeyId) -> Vec<Attribute> {
    let label = format!("sesame vault {id}");
    let mut template = named(id);
    template.extend([
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(KEY.into()),
        Attribute::Label(label.into_bytes()),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
    ]);
    template
}

/// What a key has to be, and how it is told that it is not.
fn required() -> [(Attribute, &'static str); 7] {
    [
        (Attribute::KeyType(KeyType::AES), "it is no AES key"),
        (Attribute::ValueLen(KEY.into()), "it does not have 256 bits"),
        (Attribute::Sensitive(true), "it can be read in the clear (CKA_SENSITIVE)"),
        (Attribute::Extractable(false), "it can be taken out of the token (CKA_EXTRACTABLE)"),
        (Attribute::AlwaysSensitive(true), "it could once be read (CKA_ALWAYS_SENSITIVE)"),
        (Attribute::NeverExtractable(true), "it could once be taken out (CKA_NEVER_EXTRACTABLE)"),
        (Attribute::Local(true), "it was not made in the token (CKA_LOCAL)"),
    ]
}

#[cfg(test)]
mod tests;
