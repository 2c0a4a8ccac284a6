//! What the service answers, byte for byte.

use reqwest::{
    RequestBuilder,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;
use sesame_protocol::denial::DenialBody;

use crate::described;

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends a request and takes the whole answer, which is one that the service's description knows.
    ///
    /// # Panics
    /// When no answer comes, or one that is not described.
    pub async fn to(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.expect("a request can be made");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let answer = client.execute(request).await.expect("the service answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.expect("the answer is whole").to_vec();
        let answer = Self { status, headers, body };
        described::check(&method, &path, &answer);
        answer
    }

    /// The text of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        let shown = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} is no JSON ({error}): {shown}", self.status))
    }

    /// The answer is a yes.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn is_ok(&self) {
        let shown = String::from_utf8_lossy(&self.body);
        assert!((200..300).contains(&self.status), "{}: {shown}", self.status);
        assert_eq!(self.header("sesame-problem"), None);
    }

    /// The answer is this problem: status, header, and the code in a body that one of the two surfaces writes.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        let shown = String::from_utf8_lossy(&self.body);
        let got = (self.status, self.header("sesame-problem"));
        assert_eq!(got, (status, Some(code)), "{shown}");
        let body = self.json();
        assert_eq!(body["type"], format!("urn:sesame:problem:{code}"));
        assert!(!body["detail"].as_str().unwrap_or_default().is_empty(), "no detail: {body}");
        if self.header(CONTENT_TYPE.as_str()) == Some("application/problem+json") {
            assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()));
        }
    }

    /// The same of an answer that has no body.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn is_bodiless_problem(&self, status: u16, code: &str) {
        let got = (self.status, self.header("sesame-problem"));
        assert_eq!(got, (status, Some(code)));
        assert!(self.body.is_empty(), "{:?}", self.body);
    }

    /// The decision is no, for exactly these reasons.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn is_denied(&self, reasons: &[&str]) {
        self.is_problem(403, "denied");
        let body = self.json();
        let denials: Vec<DenialBody> =
            serde_json::from_value(body["denials"].clone()).expect("a refusal has its reasons");
        assert_eq!(codes_of(&denials), reasons, "{body}");
    }
}

/// The codes of some reasons.
///
/// # Panics
/// When a reason has no code.
#[must_use]
pub fn codes_of(denials: &[DenialBody]) -> Vec<String> {
    let code = |denial| {
        let body = serde_json::to_value(denial).expect("a denial is JSON");
        body["code"].as_str().expect("a denial has a code").to_owned()
    };
    denials.iter().map(code).collect()
}
