//! What people make, offer and buy.

use serde_json::{Value, json};

use super::{INPUT, stage::Stage, text};

/// What people made.
pub(super) struct Assets {
    pub(super) app: String,
    pub(super) dataset: String,
    pub(super) workerpool: String,
}

impl Assets {
    pub(super) async fn made(stage: &mut Stage) -> Self {
        let by = |kind: &str, by: &str| json!({ "kind": kind, "by": by, "name": "first" });
        let app = text(stage.on_chain("deploy", by("app", "developer"), true).await);
        let dataset = text(stage.on_chain("deploy", by("dataset", "owner"), false).await);
        let not_theirs =
            json!({ "kind": "dataset", "by": "stranger", "about": dataset, "value": "mine" });
        let said = stage.no("push", not_theirs).await;
        assert!(said.contains("is not allowed to set secret"), "{said}");
        let workerpool = text(stage.ok("deploy", by("workerpool", "scheduler")).await);
        for who in ["requester", "scheduler", "worker"] {
            stage.ok("fund", json!({ "who": who, "amount": 1000 })).await;
        }
        Self { app, dataset, workerpool }
    }

    pub(super) fn dataset_order(by: &str, dataset: &str, volume: u64) -> Value {
        json!({ "kind": "dataset", "by": by, "dataset": dataset, "volume": volume })
    }

    /// Signs the orders for so many tasks, and matches them.
    pub(super) async fn deal(
        &self,
        stage: &mut Stage,
        volume: u64,
        category: u64,
        dataset: bool,
        params: Value,
    ) -> Value {
        let Self { app, workerpool, .. } = self;
        let offer = json!({ "kind": "app", "by": "developer", "app": app, "appprice": 2, "volume": volume });
        let app_order = stage.ok("order", offer).await;
        let offer = json!({
            "kind": "workerpool", "by": "scheduler", "workerpool": workerpool, "workerpoolprice": 10,
            "volume": volume, "category": category, "trust": 1,
        });
        let workerpool_order = stage.ok("order", offer).await;
        let mut request = json!({
            "kind": "request", "by": "requester", "app": app, "appmaxprice": 2, "workerpool": workerpool,
            "workerpoolmaxprice": 10, "volume": volume, "category": category, "trust": 1, "params": params,
        });
        let mut orders =
            json!({ "by": "requester", "app": app_order, "workerpool": workerpool_order });
        if dataset {
            request["dataset"] = json!(self.dataset);
            let offer = Self::dataset_order("owner", &self.dataset, volume);
            orders["dataset"] = stage.ok("order", offer).await;
        }
        orders["request"] = stage.ok("order", request).await;
        let matched = stage.ok("match", orders).await;
        assert_eq!(matched["volume"], volume);
        matched["deal"].clone()
    }

    /// A task whose deadline is ten seconds away, and that nobody will care for.
    pub(super) async fn abandoned(&self, stage: &mut Stage) -> Value {
        let category = stage.ok("category", json!({ "name": "brief", "seconds": 1 })).await;
        let category = category.as_u64().unwrap();
        let deal = self.deal(stage, 1, category, false, json!({ "iexec_args": "--none" })).await;
        stage.ok("initialize", json!({ "by": "stranger", "deal": deal, "index": 0 })).await
    }

    pub(super) async fn bought(&self, stage: &mut Stage) -> Value {
        let said = stage.no("order", json!({
            "kind": "request", "by": "requester", "app": self.app, "workerpool": self.workerpool, "category": 0,
            "params": { "iexec_secrets": { "1": "none-of-mine" } },
        }));
        let said = said.await;
        assert!(said.contains("\"none-of-mine\" is not set"), "{said}");
        let params = json!({
            "iexec_args": "--sum",
            "iexec_input_files": [INPUT],
            "iexec_secrets": { "1": "my-key" },
            "iexec_result_encryption": true,
        });
        self.deal(stage, 3, 0, true, params).await
    }
}

/// Initializes two of the deal's three tasks.
pub(super) async fn started(stage: &mut Stage, deal: &Value) -> [Value; 2] {
    let initialize = |index: u64| json!({ "by": "stranger", "deal": deal, "index": index });
    let first = stage.on_chain("initialize", initialize(0), true).await;
    let second = stage.ok("initialize", initialize(1)).await;
    [first, second]
}
