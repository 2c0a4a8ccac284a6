//! What iExec's clients are answered when it is a no: statuses as theirs, with a body where theirs has one.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use sesame_indexer::Unready;
use sesame_vault::VaultError;
use sesame_view::ReadError;

use crate::problem::{ApiError, Code};

/// Why a secret's request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Something that must be there is not, or is nothing that it could be.
    Malformed,
    /// Not signed by whom it must be.
    NotSigned,
    /// The key of a requester's secret is none.
    NotAKey,
    /// A secret longer than the limit.
    TooLong,
    /// There is one already.
    Exists,
    /// There is none.
    Absent,
    /// The service cannot say.
    Service(ApiError),
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed | Self::NotAKey => StatusCode::BAD_REQUEST,
            Self::NotSigned => StatusCode::UNAUTHORIZED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Exists => StatusCode::CONFLICT,
            Self::Absent => StatusCode::NOT_FOUND,
            Self::Service(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The words that clients of apps' and requesters' secrets know.
    const fn words(&self) -> Option<&'static str> {
        match self {
            Self::NotSigned => Some("Invalid authorization"),
            Self::NotAKey => {
                Some("Secret key should contain at most 64 characters from [0-9A-Za-z-_]")
            }
            Self::TooLong => Some("Secret size should not exceed 4 Kb"),
            Self::Exists => Some("Secret already exists"),
            Self::Malformed | Self::Absent | Self::Service(_) => None,
        }
    }

    /// The status alone.
    pub(super) fn bare(self) -> Response {
        if let Self::Service(error) = self {
            return error.into_response();
        }
        self.status().into_response()
    }

    /// With `{"error": [words]}`, where there are words for it.
    pub(super) fn in_words(self) -> Response {
        match self.words() {
            Some(words) => (self.status(), Json(json!({ "error": [words] }))).into_response(),
            None => self.bare(),
        }
    }

    /// The same, of requesters' secrets: one that is too long is a bad request there.
    pub(super) fn of_a_requester(self) -> Response {
        let too_long = matches!(self, Self::TooLong);
        let mut response = self.in_words();
        if too_long {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        response
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Service(error)
    }
}

impl From<Unready> for Refusal {
    fn from(error: Unready) -> Self {
        Self::Service(error.into())
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Service(error.into())
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        Self::Service(unavailable(error))
    }
}

/// Whatever is wrong with the vault passes, for clients who would take anything else for an answer about their secret.
pub(super) fn unavailable(error: VaultError) -> ApiError {
    let error = ApiError::from(error);
    if [Code::VaultUnavailable, Code::KeysUnavailable].contains(&error.code()) {
        return error;
    }
    ApiError::new(Code::VaultUnavailable, "Ask again later; the service's log says why.")
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn shown(response: Response) -> (u16, String) {
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 10).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_surface_has_its_own_words() {
        let exists = r#"{"error":["Secret already exists"]}"#;
        assert_eq!(shown(Refusal::Exists.bare()).await, (409, String::new()));
        assert_eq!(shown(Refusal::Exists.in_words()).await, (409, exists.to_owned()));
        assert_eq!(shown(Refusal::Exists.of_a_requester()).await, (409, exists.to_owned()));
        let long = r#"{"error":["Secret size should not exceed 4 Kb"]}"#;
        assert_eq!(shown(Refusal::TooLong.bare()).await, (413, String::new()));
        assert_eq!(shown(Refusal::TooLong.in_words()).await, (413, long.to_owned()));
        assert_eq!(shown(Refusal::TooLong.of_a_requester()).await, (400, long.to_owned()));
        let not_signed = r#"{"error":["Invalid authorization"]}"#;
        assert_eq!(shown(Refusal::NotSigned.bare()).await, (401, String::new()));
        assert_eq!(shown(Refusal::NotSigned.in_words()).await, (401, not_signed.to_owned()));
        assert_eq!(shown(Refusal::Malformed.in_words()).await, (400, String::new()));
        assert_eq!(shown(Refusal::Absent.bare()).await, (404, String::new()));
    }

    #[test]
    fn no_failure_of_the_vault_is_a_conflict_or_an_error_of_ours() {
        let conflict = VaultError::VersionConflict { newest: 2, got: 1 };
        for error in [conflict, VaultError::Damaged, VaultError::Missing, VaultError::KeysChanging]
        {
            assert_eq!(Refusal::from(error).bare().status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
