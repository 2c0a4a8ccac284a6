//! X.509 as far as AMD's chains go: names, dates, extensions and RSASSA-PSS signatures (AMD 57230, chapters 2 and 3).

use std::ops::Range;

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA384, UnparsedPublicKey};
use x509_cert::{
    der::{
        Decode, Header, Reader, SliceReader,
        asn1::BitString,
        oid::{AssociatedOid, ObjectIdentifier},
    },
    ext::{
        Extension,
        pkix::{BasicConstraints, KeyUsage},
    },
    name::Name,
    spki::AlgorithmIdentifierOwned,
    time::Time,
};

use super::error::{ChainProblem, Part, SnpError};

/// RSASSA-PSS. The parameters are not read: a signature counts with SHA-384, MGF1 with SHA-384 and 48 bytes of salt, which
/// AMD fixes, or not at all.
pub(crate) const RSASSA_PSS: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
/// An RSA key, as in the ARK, ASK and ASVK.
pub(crate) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The critical extensions that are heeded here.
const KNOWN: [ObjectIdentifier; 2] = [BasicConstraints::OID, KeyUsage::OID];

/// A certificate, with the bytes that its issuer signed exactly as they came.
#[derive(Debug)]
pub(crate) struct Certificate {
    part: Part,
    signed: Vec<u8>,
    parsed: x509_cert::Certificate,
}

impl Certificate {
    /// Reads a certificate in DER. Nothing of it is trusted yet.
    pub(crate) fn parse(part: Part, der: &[u8]) -> Result<Self, SnpError> {
        let read = || {
            let parsed = x509_cert::Certificate::from_der(der)?;
            refuse_critical(parsed.tbs_certificate().extensions().map(Vec::as_slice), &KNOWN)?;
            Ok(Self { part, signed: signed_part(der)?.to_vec(), parsed })
        };
        read().map_err(|problem| SnpError::Chain { part, problem })
    }

    /// Turns a problem into an error that says whose it is.
    pub(crate) const fn refuse(&self, problem: ChainProblem) -> SnpError {
        SnpError::Chain { part: self.part, problem }
    }

    pub(crate) fn subject(&self) -> &Name {
        self.parsed.tbs_certificate().subject()
    }

    /// The subject's common name; empty if it has none.
    pub(crate) fn common_name(&self) -> String {
        let name = self.subject().common_name().ok().flatten();
        name.map(|name| name.value().into_owned()).unwrap_or_default()
    }

    /// The serial number, as the revocation list would have it.
    pub(crate) fn serial_number(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// The public key's algorithm, its parameters in DER, and its bytes.
    pub(crate) fn public_key(&self) -> (&AlgorithmIdentifierOwned, &[u8]) {
        let key = self.parsed.tbs_certificate().subject_public_key_info();
        (&key.algorithm, key.subject_public_key.as_bytes().unwrap_or_default())
    }

    /// The content of the one extension of this kind.
    pub(crate) fn extension(&self, id: ObjectIdentifier) -> Result<Option<&[u8]>, ChainProblem> {
        let all = self.parsed.tbs_certificate().extensions().map(Vec::as_slice);
        let mut found = all.unwrap_or_default().iter().filter(|found| found.extn_id == id);
        let first = found.next().map(|found| found.extn_value.as_bytes());
        if found.next().is_some() { Err(ChainProblem::Extension(id)) } else { Ok(first) }
    }

    /// From which second on and before which one it holds.
    ///
    /// # Errors
    /// When that is not `now`.
    pub(crate) fn holds(&self, now: u64) -> Result<Range<u64>, SnpError> {
        let validity = self.parsed.tbs_certificate().validity();
        let holds = seconds(&validity.not_before)..seconds(&validity.not_after);
        contains(&holds, now).map_err(|problem| self.refuse(problem))?;
        Ok(holds)
    }

    /// Checks that `issuer` issued it.
    pub(crate) fn issued_by(&self, issuer: &Self) -> Result<(), SnpError> {
        let tbs = self.parsed.tbs_certificate();
        let algorithms = [tbs.signature(), self.parsed.signature_algorithm()];
        issuer
            .signed(tbs.issuer(), algorithms, &self.signed, self.parsed.signature())
            .map_err(|problem| self.refuse(problem))
    }

    /// Checks that this certificate's key signed something that names it as its issuer.
    pub(crate) fn signed(
        &self,
        issuer: &Name,
        algorithms: [&AlgorithmIdentifierOwned; 2],
        message: &[u8],
        signature: &BitString,
    ) -> Result<(), ChainProblem> {
        if issuer != self.subject() {
            return Err(ChainProblem::Issuer);
        }
        let (algorithm, key) = self.public_key();
        let [inner, outer] = algorithms;
        let signature = signature.as_bytes().ok_or(ChainProblem::Signature)?;
        if inner != outer || outer.oid != RSASSA_PSS || algorithm.oid != RSA_ENCRYPTION {
            return Err(ChainProblem::Signature);
        }
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, key)
            .verify(message, signature)
            .map_err(|_| ChainProblem::Signature)
    }

    /// Checks that it may sign certificates (RFC 5280, sections 4.2.1.3 and 4.2.1.9).
    pub(crate) fn may_sign(&self) -> Result<(), SnpError> {
        let tbs = self.parsed.tbs_certificate();
        let authority = tbs.get_extension::<BasicConstraints>();
        let usage = tbs.get_extension::<KeyUsage>();
        let (Ok(Some((_, authority))), Ok(Some((_, usage)))) = (authority, usage) else {
            return Err(self.refuse(ChainProblem::NotAnAuthority));
        };
        if authority.ca && usage.key_cert_sign() {
            return Ok(());
        }
        Err(self.refuse(ChainProblem::NotAnAuthority))
    }
}

/// The first element of a signed structure, which is what the signature is over: exactly as it came, not written anew.
pub(crate) fn signed_part(der: &[u8]) -> x509_cert::der::Result<&[u8]> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?;
    reader.tlv_bytes()
}

/// Refuses critical extensions that are not known.
pub(crate) fn refuse_critical(
    extensions: Option<&[Extension]>,
    known: &[ObjectIdentifier],
) -> Result<(), ChainProblem> {
    let mut critical = extensions.unwrap_or_default().iter().filter(|found| found.critical);
    match critical.find(|found| !known.contains(&found.extn_id)) {
        Some(unknown) => Err(ChainProblem::Critical(unknown.extn_id)),
        None => Ok(()),
    }
}

/// Checks that `now` is within the time that something holds. The last second is not part of it.
pub(crate) fn contains(holds: &Range<u64>, now: u64) -> Result<(), ChainProblem> {
    if now < holds.start {
        return Err(ChainProblem::NotYetValid(holds.start));
    }
    if now >= holds.end {
        return Err(ChainProblem::Expired(holds.end));
    }
    Ok(())
}

/// Seconds since 1970.
pub(crate) fn seconds(time: &Time) -> u64 {
    time.to_unix_duration().as_secs()
}
