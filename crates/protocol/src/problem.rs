//! Problem details (RFC 9457): the errors of the owner and public surfaces.

use serde::{Deserialize, Serialize};

use crate::denial::DenialBody;

/// The content type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What every problem's `type` starts with; its code follows.
pub const URN_PREFIX: &str = "urn:sesame:problem:";

/// The code of a refusal by the decision itself; `denials` says why.
pub const DENIED: &str = "denied";

/// The `type` of a problem of this code.
#[must_use]
pub fn urn(code: &str) -> String {
    format!("{URN_PREFIX}{code}")
}

/// An error as people and machines read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:sesame:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words; the same for every problem of a code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable name, `snake_case`.
    pub code: String,
    /// What happened here and how to mend it.
    pub detail: String,
    /// Why a release was denied; empty for other problems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<DenialBody>,
}

impl Problem {
    /// A problem of this code.
    #[must_use]
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: urn(code),
            title: title.to_owned(),
            status,
            code: code.to_owned(),
            detail: detail.into(),
            denials: Vec::new(),
        }
    }

    /// A refusal, 403, with every reason.
    #[must_use]
    pub fn denied(denials: Vec<DenialBody>) -> Self {
        let detail = DenialBody::join(&denials);
        Self { denials, ..Self::new(403, DENIED, "the release is denied", detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_read_as_rfc_9457_asks() {
        let problem = Problem::new(404, "secret_absent", "no such secret", "Push it first.");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:sesame:problem:secret_absent",
                "title": "no such secret",
                "status": 404,
                "code": "secret_absent",
                "detail": "Push it first.",
            })
        );
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }

    #[test]
    fn a_refusal_lists_every_reason() {
        let problem = Problem::denied(vec![DenialBody::TaskUnknown, DenialBody::TaskNotStarted]);
        assert_eq!((problem.status, problem.denials.len()), (403, 2));
        assert!(problem.detail.contains("TaskRegistry.start"), "{}", problem.detail);
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["denials"][0]["code"], "task_unknown");
    }
}
