//! What anybody may ask an SMS.

use alloy_primitives::Address;
use sesame_domain::{EnclaveId, Resource, TaskId};
use sesame_protocol::{
    explain::Explanation, keys::KeysDocument, receipts::ReceiptLogKey, results::Settlement,
    status::Status,
};

use crate::{
    ClientError, TransportError,
    http::{Http, MAX_DOCUMENT, send},
};

/// The public surface of one SMS.
#[derive(Debug, Clone)]
pub struct Public {
    http: Http,
}

/// A question about a task. What is left out, the SMS fills from the order; the block, with its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Question {
    /// Which task.
    pub task: TaskId,
    /// Which enclave would ask; the pinned one unless given.
    pub enclave: Option<EnclaveId>,
    /// What it would ask for; the bundle unless given.
    pub resource: Option<Resource>,
    /// Which worker would vouch; the order's unless given.
    pub worker: Option<Address>,
    /// After which block; the newest unless given.
    pub block: Option<u64>,
}

impl Public {
    /// The SMS at this base URL.
    ///
    /// # Errors
    ///
    /// If the base is no `http` or `https` URL, or TLS cannot be set up.
    pub fn new(base: &str) -> Result<Self, TransportError> {
        Http::new(base).map(|http| Self { http })
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    ///
    /// If no whole answer comes, or it is a problem.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let request = self.http.client().get(self.http.url("v1/status")?);
        send(request, MAX_DOCUMENT).await?.success()
    }

    /// `GET /v1/keys`: not to be trusted before [`KeysDocument::verify`].
    ///
    /// # Errors
    ///
    /// If no whole answer comes, or it is a problem.
    pub async fn keys(&self) -> Result<KeysDocument, ClientError> {
        let request = self.http.client().get(self.http.url("v1/keys")?);
        send(request, MAX_DOCUMENT).await?.success()
    }

    /// `GET /v1/tasks/{id}/explain`: would the SMS release, and if not, why?
    ///
    /// # Errors
    ///
    /// If no whole answer comes, or it is a problem. A denial is an answer.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, ClientError> {
        let mut url = self.http.url(&format!("v1/tasks/{}/explain", question.task))?;
        let parameters = [
            ("enclave", question.enclave.map(|enclave| enclave.to_string())),
            ("resource", question.resource.map(|resource| resource.to_string())),
            ("worker", question.worker.map(|worker| worker.to_string())),
            ("block", question.block.map(|block| block.to_string())),
        ];
        for (name, value) in parameters {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        send(self.http.client().get(url), MAX_DOCUMENT).await?.success()
    }

    /// `GET /v1/tasks/{id}/settlement`: the SMS's word that it released the task's bundle, for `TaskRegistry.settle`.
    ///
    /// # Errors
    ///
    /// If no whole answer comes, or it is a problem: `not_released` when the SMS released nothing.
    pub async fn settlement(&self, task: TaskId) -> Result<Settlement, ClientError> {
        let request =
            self.http.client().get(self.http.url(&format!("v1/tasks/{task}/settlement"))?);
        send(request, MAX_DOCUMENT).await?.success()
    }
}

impl Public {
    /// `GET /v1/receipts/key`: not to be trusted before [`ReceiptLogKey::verify`].
    ///
    /// # Errors
    ///
    /// If no whole answer comes, or it is a problem.
    pub async fn receipts_key(&self) -> Result<ReceiptLogKey, ClientError> {
        let request = self.http.client().get(self.http.url("v1/receipts/key")?);
        send(request, MAX_DOCUMENT).await?.success()
    }

    /// `GET /v1/receipts/checkpoint`: the head of the log as a signed note, to be verified.
    ///
    /// # Errors
    ///
    /// If no whole answer comes, or it is a problem.
    pub async fn checkpoint(&self) -> Result<Vec<u8>, ClientError> {
        let request = self.http.client().get(self.http.url("v1/receipts/checkpoint")?);
        send(request, MAX_DOCUMENT).await?.bytes()
    }

    /// `GET /v1/receipts/tile/{path}`: hashes of the log, to be verified under a checkpoint.
    ///
    /// # Errors
    ///
    /// If no whole answer comes, or it is a problem.
    pub async fn tile(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let request = self.http.client().get(self.http.url(&format!("v1/receipts/tile/{path}"))?);
        send(request, MAX_DOCUMENT).await?.bytes()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::testing::{Reply, Server};

    #[tokio::test]
    async fn a_question_becomes_a_query() {
        let server = Server::start(|request| {
            assert_eq!(request.method, "GET");
            let task = format!("0x{}", "00".repeat(32));
            let (enclave, worker) = (format!("0x{}", "07".repeat(32)), Address::ZERO);
            assert_eq!(
                request.path,
                format!(
                    "/base/v1/tasks/{task}/explain?enclave={enclave}&resource=requester-secret%2F2&worker={worker}&block=9"
                )
            );
            let block = format!(r#"{{"number":1,"hash":"{task}"}}"#);
            Reply::json(
                200,
                &format!(
                    r#"{{"task":"{task}","enclave":null,"resource":"bundle/all","allowed":false,"head":{block},"confirmed":{block},"denials":[{{"code":"task_unknown"}}]}}"#
                ),
            )
        });
        let public = Public::new(&format!("{}/base", server.base())).unwrap();
        let question = Question {
            enclave: Some(EnclaveId(B256::repeat_byte(7))),
            resource: Some(Resource::RequesterSecret(2)),
            worker: Some(Address::ZERO),
            block: Some(9),
            ..Question::default()
        };
        let answer = public.explain(&question).await.unwrap();
        assert!(!answer.allowed && answer.denials.len() == 1);
    }

    #[tokio::test]
    async fn problems_and_bare_statuses_are_errors() {
        let server = Server::start(|request| match request.path.as_str() {
            "/v1/status" => Reply::json(
                503,
                r#"{"type":"urn:sesame:problem:stale","title":"stale","status":503,"code":"stale","detail":"wait"}"#,
            ),
            _ => Reply::json(502, "<html>"),
        });
        let public = Public::new(server.base()).unwrap();
        let refused = public.status().await.unwrap_err();
        assert!(matches!(&refused, ClientError::Problem(problem) if problem.code == "stale"));
        let refused = public.keys().await.unwrap_err();
        assert!(matches!(refused, ClientError::Status(502)), "{refused:?}");
    }

    #[tokio::test]
    async fn long_wrong_and_redirected_answers_are_refused() {
        let server = Server::start(|request| match request.path.as_str() {
            "/v1/status" => Reply::json(200, &" ".repeat(MAX_DOCUMENT + 1)),
            "/v1/keys" => Reply::json(200, "{}"),
            _ => Reply::json(302, "").with("location", "/v1/status"),
        });
        let public = Public::new(server.base()).unwrap();
        let refused = public.status().await.unwrap_err();
        assert!(
            matches!(refused, ClientError::Transport(TransportError::TooLarge { .. })),
            "{refused:?}"
        );
        let refused = public.keys().await.unwrap_err();
        assert!(
            matches!(refused, ClientError::Transport(TransportError::NotTheDocument { .. })),
            "{refused:?}"
        );
        let refused = public.explain(&Question::default()).await.unwrap_err();
        assert!(matches!(refused, ClientError::Status(302)), "{refused:?}");
    }

    #[test]
    fn only_web_addresses_are_bases() {
        for bad in ["", "sms.example", "ftp://sms.example", "https://x/?a=b", "https://x/#a"] {
            let refused = Public::new(bad).unwrap_err();
            assert!(matches!(refused, TransportError::BadUrl(_)), "{bad}");
        }
    }
}
