//! `GET /v1/tasks/{id}/explain`: what the decision would be, and why, for an enclave that has proven nothing.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::{denial::DenialBody, status::BlockRefBody};

/// The answer. It is computed by the rule that releases, and releases nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The task.
    pub task: B256,
    /// The enclave that the question is about: the pinned one unless asked otherwise; absent when the task is unknown.
    pub enclave: Option<B256>,
    /// `bundle/all`, `app-secret/1`, `requester-secret/<index>` or `protected-data/<n>`.
    pub resource: String,
    /// Whether this enclave would be given this resource.
    pub allowed: bool,
    /// The newest block that the answer rests on.
    pub head: BlockRefBody,
    /// The confirmed block that it rests on.
    pub confirmed: BlockRefBody,
    /// Every reason against it; empty when allowed.
    pub denials: Vec<DenialBody>,
}
