//! How documents look that derive no schema themselves: hexadecimal text, keys, and what `kbs-types` defines.
//!
//! Nothing here crosses a wire. Each type is the description of another; the service's tests hold examples of that one
//! against it.

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

macro_rules! hexadecimal {
    ($( $(#[doc = $doc:literal])+ $name:ident = $pattern:literal; )+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some(concat!($($doc),+).trim()))
                    .pattern(Some($pattern))
                    .into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

hexadecimal! {
    /// An Ethereum address: `0x` and 40 hexadecimal digits.
    EthereumAddress = "^0x[0-9a-fA-F]{40}$";
    /// 32 bytes, an identifier, a hash or a key: `0x` and 64 hexadecimal digits.
    Word = "^0x[0-9a-fA-F]{64}$";
    /// Bytes: `0x` and two hexadecimal digits for each.
    Hex = "^0x([0-9a-fA-F]{2})*$";
    /// An ECDSA signature on secp256k1, `r ‖ s ‖ v`: `0x` and 130 hexadecimal digits.
    Signature = "^0x[0-9a-fA-F]{130}$";
}

/// A public key (RFC 7517): on P-256, with `crv`, `x` and `y`, or of RSA, with `n` and `e`.
#[derive(Debug, ToSchema)]
#[schema(as = JsonWebKey)]
pub struct JsonWebKey {
    /// `EC` or `RSA`.
    #[schema(pattern = "^(EC|RSA)$")]
    pub kty: String,
    /// What the key is for: `ES256` signs tokens; `ECDH-ES+A256KW` and `RSA-OAEP-256` are encrypted to.
    pub alg: Option<String>,
    /// `P-256`.
    pub crv: Option<String>,
    /// A coordinate, 32 bytes in base64url.
    pub x: Option<String>,
    /// A coordinate, 32 bytes in base64url.
    pub y: Option<String>,
    /// The modulus, 2048 to 4096 bits in base64url.
    pub n: Option<String>,
    /// The exponent, `AQAB`.
    pub e: Option<String>,
}

/// What an agent asks to be challenged with (RCAR `Request`).
#[derive(Debug, ToSchema)]
#[schema(as = KbsRequest)]
pub struct KbsRequest {
    /// `0.4.0`.
    pub version: String,
    /// The kind of TEE; evidence of `sgx`, `tdx` and `snp` is verified.
    pub tee: String,
    /// `supported-hash-algorithms`, where given, lists `sha384`; other members are ignored.
    #[schema(rename = "extra-params")]
    pub extra_params: Value,
}

/// What evidence has to be made for (RCAR `Challenge`).
#[derive(Debug, ToSchema)]
#[schema(as = KbsChallenge)]
pub struct KbsChallenge {
    /// 32 random bytes in base64url.
    pub nonce: String,
    /// `selected-hash-algorithm` is `sha384`.
    #[schema(rename = "extra-params")]
    pub extra_params: Value,
}

/// Evidence, and what it vouches for (RCAR `Attestation`).
#[derive(Debug, ToSchema)]
#[schema(as = KbsAttestation, rename_all = "kebab-case")]
pub struct KbsAttestation {
    /// Not read: what is measured of it is in the evidence.
    pub init_data: Option<KbsInitData>,
    /// What the evidence vouches for.
    pub runtime_data: KbsRuntimeData,
    /// The evidence.
    pub tee_evidence: KbsEvidence,
}

/// What a host gave a guest to begin with (RCAR `InitData`).
#[derive(Debug, ToSchema)]
#[schema(as = KbsInitData)]
pub struct KbsInitData {
    /// How `body` is written.
    pub format: String,
    /// The content.
    pub body: String,
}

/// What evidence vouches for (RCAR `RuntimeData`).
#[derive(Debug, ToSchema)]
#[schema(as = KbsRuntimeData)]
pub struct KbsRuntimeData {
    /// The challenge's.
    pub nonce: String,
    /// The enclave's key, to which answers are encrypted.
    #[schema(rename = "tee-pubkey")]
    pub tee_pubkey: JsonWebKey,
}

/// The evidence of an enclave's devices (RCAR `CompositeEvidence`).
#[derive(Debug, ToSchema)]
#[schema(as = KbsEvidence)]
pub struct KbsEvidence {
    /// What the attester of the TEE made: for SGX and TDX a document with the quote in `quote`, base64.
    pub primary_evidence: Value,
    /// Empty: evidence of a second device is refused.
    pub additional_evidence: String,
}

/// A secret or a bundle, encrypted to the attested key: a flattened JWE (RFC 7516) by A256GCM.
#[derive(Debug, ToSchema)]
#[schema(as = KbsResource)]
pub struct KbsResource {
    /// The protected header, in base64url.
    pub protected: String,
    /// The wrapped content key, in base64url.
    pub encrypted_key: String,
    /// Additional data; not sent.
    pub aad: Option<String>,
    /// The initialization vector, in base64url.
    pub iv: String,
    /// The content, in base64url.
    pub ciphertext: String,
    /// The authentication tag, in base64url.
    pub tag: String,
}
