//! The scene that most refusals begin with: everything is in order.

use alloy::primitives::B256;
use sesame_chain::Report;
use sesame_client::owner::PushOptions;
use sesame_domain::{AssetId, Imitated, Order, Resource, SecretId, TaskId};
use sesame_protocol::{
    bundle::Bundle,
    results::{TaskDomain, TaskResult},
    signature::Signer,
};
use sha2::{Digest, Sha256};

use crate::{Answer, Build, Enclave, World};

/// A started task with an app, a protected data and two of the requester's secrets; all pushed, allowed and confirmed.
#[derive(Debug)]
pub struct Scene {
    /// The build that everybody allows.
    pub build: Build,
    /// The developer's.
    pub app: AssetId,
    /// Alice's.
    pub data: AssetId,
    /// What was bought.
    pub order: Order,
    /// The task.
    pub task: TaskId,
}

impl Scene {
    /// The app secret's value.
    pub const APP_SECRET: &[u8] = b"the developer's own";
    /// The value of secret 1, `db-password`.
    pub const DB_PASSWORD: &[u8] = b"correct horse battery staple";
    /// The value of secret 2, `api_token`.
    pub const API_TOKEN: &[u8] = b"\x00\xff not text";
    /// The protected data's key.
    pub const DATA_KEY: &[u8] = b"AGE-SECRET-KEY-1";
    /// The protected data's content.
    pub const DATA: &[u8] = b"encrypted rows";

    /// Sets it.
    pub async fn set(world: &World) -> Self {
        Self::set_for(world, Imitated::Sgx).await
    }

    /// Sets it for an enclave of this TEE.
    pub async fn set_for(world: &World, tee: Imitated) -> Self {
        let scene = Self::bought_for(world, tee).await;
        world.begin(scene.task).await;
        world.confirmed().await;
        scene
    }

    /// Sets it up to the purchase, unconfirmed.
    pub async fn bought(world: &World) -> Self {
        Self::bought_for(world, Imitated::Sgx).await
    }

    async fn bought_for(world: &World, tee: Imitated) -> Self {
        let build = Build::of("print(1)").imitating(tee);
        // Not at once: two in one block would be a block in which a liar can show one for two.
        let app = world.app(&world.developer).await;
        let data = world.data(&world.alice, Self::DATA).await;
        world.allow(&world.developer, app, build).await;
        world.allow(&world.alice, data, build).await;
        world.confirmed().await;
        Self::push_all(world, app, data).await;
        let order = Order {
            data: vec![data],
            grants: vec![World::grant(1, "db-password"), World::grant(2, "api_token")],
            ..world.order(app, build)
        };
        let task = world.buy(&order).await;
        Self { build, app, data, order, task }
    }

    async fn push_all(world: &World, app: AssetId, data: AssetId) {
        let World { developer, alice, requester, .. } = world;
        developer.push(&SecretId::Asset(app), Self::APP_SECRET).await;
        requester.push(&requester.secret("db-password"), Self::DB_PASSWORD).await;
        requester.push(&requester.secret("api_token"), Self::API_TOKEN).await;
        alice.push_with(&SecretId::Asset(data), Self::DATA_KEY, &key_of(Self::DATA)).await;
    }

    /// What a fresh enclave of the right build gets.
    ///
    /// # Panics
    /// When the service refuses.
    pub async fn run(&self, world: &World) -> Bundle {
        let bundle = world.run(self.build, self.task).await;
        bundle.unwrap_or_else(|error| panic!("no bundle: {error}"))
    }

    /// Runs the task and reports its result, signed by a key born in the enclave and certified by the service.
    ///
    /// # Panics
    /// When the service or the contract refuses.
    pub async fn complete(&self, world: &World) {
        let enclave = Enclave::new(self.build, &world.sms, &world.root);
        let session = enclave.attest(self.task, &world.worker).await.expect("attested");
        let (_, digest) = session.bundle_with_digest(self.task).await.expect("released");
        let key = Signer::random();
        let tasks = TaskDomain {
            chain_id: world.deployment.chain_id,
            task_registry: world.deployment.task_registry,
        };
        let certificate = session.certify(self.task, key.address(), &tasks).await;
        let certificate = certificate.expect("certified");
        let result = TaskResult {
            task: self.task.0,
            bundleDigest: digest,
            resultDigest: B256::repeat_byte(9),
            resultUri: "ipfs://result".to_owned(),
        };
        let report = Report {
            digest: result.resultDigest,
            uri: result.resultUri.clone(),
            key: key.address(),
            enclave_signature: tasks.sign_result(&result, &key),
            sms_signature: certificate.to_vec().into(),
        };
        world.worker.chain.complete(self.task, report).await.expect("completed");
    }

    /// What a fresh enclave of the right build is answered when it asks for everything.
    pub async fn ask(&self, world: &World) -> Answer {
        world.ask(self.build, self.task, Resource::Bundle).await
    }
}

/// How the key of a content is pushed in the first epoch.
#[must_use]
pub fn key_of(content: &[u8]) -> PushOptions {
    let content_digest = B256::new(Sha256::digest(content).into());
    PushOptions { content_digest, ..PushOptions::default() }
}
