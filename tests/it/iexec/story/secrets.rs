//! Each kind of secret: pushed, asked for, refused.

use serde_json::{Value, json};

use super::{market::Assets, stage::Stage};

pub(super) const DATASET_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
pub(super) const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----";
pub(super) const APP_SECRET: &str = "the app's own";
pub(super) const REQUESTER_SECRET: &str = "the requester's own";

/// A kind of secret: what the client calls it and what the wire does, whose it is, and what it is about.
struct Kind<'a> {
    client: &'a str,
    wire: &'a str,
    by: &'a str,
    about: &'a str,
    name: &'a str,
    value: &'a str,
    too_long: u64,
    words: bool,
}

impl Kind<'_> {
    fn asked(&self, by: &str, value: &str) -> Value {
        let Self { client, about, name, .. } = self;
        json!({ "kind": client, "by": by, "about": about, "name": name, "value": value })
    }

    fn sent(&self, by: &str, value: &str) -> Value {
        let mut sent = self.asked(by, value);
        sent["kind"] = json!(self.wire);
        sent
    }

    fn body(&self, words: &str) -> String {
        if self.words { json!({ "error": [words] }).to_string() } else { String::new() }
    }

    /// Push, check, conflict, wrong signer, too long.
    async fn tell(&self, stage: &mut Stage) {
        let there = self.asked("stranger", "");
        assert_eq!(stage.ok("check", there.clone()).await, false, "{}", self.wire);
        let not_allowed = (401, self.body("Invalid authorization"));
        let too_long = (self.too_long, self.body("Secret size should not exceed 4 Kb"));
        let long = "x".repeat(4097);
        assert_eq!(stage.answer("send", self.sent("stranger", self.value)).await, not_allowed);
        assert_eq!(stage.answer("send", self.sent(self.by, &long)).await, too_long);
        for signature in ["0x12", "Bearer", &format!("0x{}", "00".repeat(65))] {
            let mut malformed = self.sent(self.by, self.value);
            malformed["authorization"] = json!(signature);
            assert_eq!(stage.answer("send", malformed).await, not_allowed, "{signature}");
        }
        let said = stage.no("push", self.asked(self.by, &long)).await;
        assert!(said.contains(&format!("unexpected status: {}", self.too_long)), "{said}");
        assert_eq!(stage.ok("check", there.clone()).await, false, "{}", self.wire);

        stage.ok("push", self.asked(self.by, self.value)).await;
        assert_eq!(stage.ok("check", there).await, true, "{}", self.wire);
        let said = stage.no("push", self.asked(self.by, "another")).await;
        assert!(said.contains("already exists"), "{said}");
        let exists = (409, self.body("Secret already exists"));
        assert_eq!(stage.answer("send", self.sent(self.by, "another")).await, exists);
        assert_eq!(stage.answer("send", self.sent("stranger", "another")).await, not_allowed);
    }
}

impl Assets {
    pub(super) async fn secrets(&self, stage: &mut Stage) {
        let said = stage.no("order", Self::dataset_order("owner", &self.dataset, 9)).await;
        assert!(said.contains("encryption key is not set"), "{said}");
        let web2 = Kind {
            client: "dropbox",
            wire: "web2",
            by: "requester",
            about: "requester",
            name: "iexec-result-dropbox-token",
            value: "dropbox token",
            too_long: 413,
            words: false,
        };
        let key = Kind {
            client: "resultKey",
            name: "iexec-result-encryption-public-key",
            value: PUBLIC_KEY,
            ..web2
        };
        let requester = Kind {
            client: "requester",
            wire: "requester",
            name: "my-key",
            value: REQUESTER_SECRET,
            too_long: 400,
            words: true,
            ..web2
        };
        let app = Kind {
            client: "app",
            wire: "app",
            by: "developer",
            about: &self.app,
            value: APP_SECRET,
            words: true,
            ..web2
        };
        let dataset = Kind {
            client: "dataset",
            wire: "dataset",
            by: "owner",
            about: &self.dataset,
            value: DATASET_KEY,
            ..web2
        };
        for kind in [dataset, app, requester, web2, key] {
            kind.tell(stage).await;
        }
    }
}

/// What may be replaced is, by its owner alone, and what was replaced does not come back by its old signature.
pub(super) async fn updates(stage: &mut Stage) {
    let push = |value: &str| json!({ "kind": "dropbox", "by": "requester", "value": value, "update": true });
    let put = |name: &str, by: &str, value: &str| json!({ "kind": "web2", "by": by, "about": "requester", "name": name, "value": value, "method": "PUT" });
    let token = "iexec-result-dropbox-token";
    let updated = stage.ok("push", push("second token")).await;
    assert_eq!(updated, json!({ "isPushed": true, "isUpdated": true }));
    stage.ok("push", push("third token")).await;
    for (sent, status) in [
        (put(token, "requester", "second token"), 401),
        (put(token, "requester", "third token"), 204),
        (put(token, "stranger", "mine"), 401),
        (put("no-such-name", "requester", "value"), 404),
        (put(&token.to_uppercase(), "requester", "fourth token"), 204),
        (put(token, "requester", &"x".repeat(4097)), 413),
    ] {
        assert_eq!(stage.answer("send", sent.clone()).await, (status, String::new()), "{sent}");
    }
}

/// The limit is one of bytes, and inclusive; keys of requesters' secrets have a form.
pub(super) async fn lengths(stage: &mut Stage) {
    let sent = |name: &str, value: &str| json!({ "kind": "requester", "by": "requester", "about": "requester", "name": name, "value": value });
    let long_name = "k".repeat(65);
    for (name, value, status) in [
        ("long", "é".repeat(2049), 400),
        ("long", "é".repeat(2048), 204),
        ("long", "é".repeat(2048), 409),
        ("no.key", "value".to_owned(), 400),
        (&long_name, "value".to_owned(), 400),
        (&long_name[1..], "value".to_owned(), 204),
    ] {
        let (got, body) = stage.answer("send", sent(name, &value)).await;
        assert_eq!(got, status, "{name}, {} bytes: {body}", value.len());
    }
}
