//! What somebody tries who listened on the wire between an owner and the service. Prints the code of the service's refusal.
//!
//! - `sesame-attack replay NAME`: pushes a secret of the victim's, then sends the very same request again.
//! - `sesame-attack lift FROM TO`: takes the sealed body that the victim pushed for asset FROM and signs it, as the attacker,
//!   for the attacker's own asset TO.
//!
//! The keys are in `VICTIM_KEY` and `ATTACKER_KEY`; the rest is as for `sesame`: `SESAME_SMS_URL`, `SESAME_DEPLOYMENT`.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::keccak256;
use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Response};
use sesame_chain::Deployment;
use sesame_domain::SecretId;
use sesame_protocol::{
    keys::KeysDocument,
    owner::{AUTHORIZATION_HEADER, SEALED_CONTENT_TYPE, SignedUpdate},
    signature::Signer,
    typed::{Domain, SecretUpdate},
};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the refusal's code is this program's output")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let wire = Wire::open().await?;
    let refusal = match arguments.as_slice() {
        ["replay", name] => wire.replay(name).await?,
        ["lift", from, to] => wire.lift(from, to).await?,
        _ => bail!("expected `replay NAME` or `lift FROM TO`"),
    };
    println!("{refusal}");
    Ok(())
}

struct Wire {
    client: Client,
    base: String,
    domain: Domain,
    keys: KeysDocument,
}

impl Wire {
    async fn open() -> anyhow::Result<Self> {
        let base = variable("SESAME_SMS_URL")?;
        let deployment = Deployment::read(variable("SESAME_DEPLOYMENT")?.as_ref())?;
        let domain =
            Domain { chain_id: deployment.chain_id, asset_registry: deployment.asset_registry };
        let client = Client::new();
        let keys = client.get(format!("{base}/v1/keys")).send().await?.json().await?;
        Ok(Self { client, base, domain, keys })
    }

    async fn replay(&self, name: &str) -> anyhow::Result<String> {
        let victim = key("VICTIM_KEY")?;
        let secret = SecretId::Requester(victim.address(), name.parse()?);
        let (signed, body) = self.seal(&secret, &victim)?;
        self.accepted(&secret, &signed, &body).await?;
        refusal(self.put(&secret, &signed, &body).await?)
    }

    async fn lift(&self, from: &str, to: &str) -> anyhow::Result<String> {
        let (victim, attacker) = (key("VICTIM_KEY")?, key("ATTACKER_KEY")?);
        let (from, to) = (SecretId::Asset(from.parse()?), SecretId::Asset(to.parse()?));
        let (signed, body) = self.seal(&from, &victim)?;
        self.accepted(&from, &signed, &body).await?;
        let mut update = self.update(&to, &attacker)?;
        update.sealedDigest = keccak256(&body);
        let signature = attacker.sign_hash(self.domain.signing_hash(&update));
        refusal(self.put(&to, &SignedUpdate::new(update, signature), &body).await?)
    }

    fn seal(&self, secret: &SecretId, owner: &Signer) -> anyhow::Result<(SignedUpdate, Vec<u8>)> {
        let update = self.update(secret, owner)?;
        Ok(SignedUpdate::seal(update, b"overheard", &self.domain, owner)?)
    }

    /// The first version of a secret in the first epoch.
    fn update(&self, secret: &SecretId, owner: &Signer) -> anyhow::Result<SecretUpdate> {
        let deadline = now()? + 60;
        Ok(SecretUpdate::new(secret, owner.address(), 0, 1, self.keys.sealing.key, deadline))
    }

    async fn accepted(
        &self,
        secret: &SecretId,
        signed: &SignedUpdate,
        body: &[u8],
    ) -> anyhow::Result<()> {
        let response = self.put(secret, signed, body).await?;
        ensure!(response.status().is_success(), "the victim's own push: {}", refusal(response)?);
        Ok(())
    }

    async fn put(
        &self,
        secret: &SecretId,
        signed: &SignedUpdate,
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let request = self
            .client
            .put(format!("{}/v1/{secret}", self.base))
            .header(AUTHORIZATION_HEADER, signed.to_header())
            .header("content-type", SEALED_CONTENT_TYPE)
            .body(body.to_vec());
        Ok(request.send().await?)
    }
}

fn refusal(response: Response) -> anyhow::Result<String> {
    let code = response.headers().get("sesame-problem");
    let code = code.with_context(|| format!("accepted with status {}", response.status()))?;
    Ok(code.to_str()?.to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program is configured by its environment alone"
)]
fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("set {name}"))
}

fn key(name: &str) -> anyhow::Result<Signer> {
    let text = variable(name)?;
    let bytes = hex::decode(text.trim_start_matches("0x"))?;
    Ok(Signer::from_bytes(&bytes.try_into().ok().context("a key has 32 bytes")?)?)
}

#[expect(clippy::disallowed_methods, reason = "an attacker has a clock too")]
fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
