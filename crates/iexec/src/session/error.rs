//! Why there is no session.

/// A session cannot be had; workers know each by [`SessionError::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionError {
    /// The task is not of a deal.
    NoTaskDescription,
    /// The deal asks for a framework that is not served.
    NoTeeFramework,
    /// The request names no enclave challenge.
    EmptyEnclaveChallenge,
    /// Nobody pushed the key of the deal's dataset.
    DatasetSecret,
    /// The result is to be encrypted, and its beneficiary pushed no key.
    BeneficiaryKey,
    /// Nobody pushed a token for the storage of the result.
    StorageToken,
    /// The session's storage did not take it.
    Storage,
    /// Anything else.
    Generation,
}

impl SessionError {
    /// The name that the wire has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoTaskDescription => "GET_TASK_DESCRIPTION_FAILED",
            Self::NoTeeFramework => "SECURE_SESSION_NO_TEE_FRAMEWORK",
            Self::EmptyEnclaveChallenge => {
                "GET_SIGNATURE_TOKENS_FAILED_EMPTY_PUBLIC_ENCLAVE_CHALLENGE"
            }
            Self::DatasetSecret => "PRE_COMPUTE_GET_DATASET_SECRET_FAILED",
            Self::BeneficiaryKey => {
                "POST_COMPUTE_GET_ENCRYPTION_TOKENS_FAILED_EMPTY_BENEFICIARY_KEY"
            }
            Self::StorageToken => "POST_COMPUTE_GET_STORAGE_TOKENS_FAILED",
            Self::Storage => "SECURE_SESSION_STORAGE_CALL_FAILED",
            Self::Generation => "SECURE_SESSION_GENERATION_FAILED",
        }
    }
}

impl std::fmt::Display for SessionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for SessionError {}
