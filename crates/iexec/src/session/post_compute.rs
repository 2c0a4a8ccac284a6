//! What sends the result away is told.

use alloy_primitives::Address;
use sesame_domain::IexecSecret;
use zeroize::Zeroizing;

use super::{Description, Environment, Secrets, SessionError};

/// The names under which web2 secrets are looked for.
const ENCRYPTION_KEY: &str = "iexec-result-encryption-public-key";
const DROPBOX_TOKEN: &str = "iexec-result-dropbox-token";
const PROXY_TOKEN: &str = "iexec-result-iexec-ipfs-token";
const PROXY_URL: &str = "iexec-result-iexec-result-proxy-url";

const DROPBOX: &str = "dropbox";

/// Where the result goes; nowhere if the deal has a callback.
#[derive(Default)]
struct Storage<'a> {
    provider: &'a str,
    proxy: &'a str,
    token: &'a str,
}

impl Description<'_> {
    pub(super) fn post_compute(
        &self,
        challenge_key: &Zeroizing<[u8; 32]>,
        secrets: &Secrets,
    ) -> Result<Environment, SessionError> {
        let key = match self.params.result_encryption {
            true => of(secrets, self.encryption_key()).ok_or(SessionError::BeneficiaryKey)?,
            false => "",
        };
        let storage = match self.has_callback() {
            true => Storage::default(),
            false => self.storage(secrets)?,
        };
        let mut environment = self.signing(challenge_key);
        environment.set("RESULT_ENCRYPTION", self.params.result_encryption.to_string());
        environment.set("RESULT_ENCRYPTION_PUBLIC_KEY", key);
        environment.set("RESULT_STORAGE_CALLBACK", self.has_callback().to_string());
        environment.set("RESULT_STORAGE_PROVIDER", storage.provider);
        environment.set("RESULT_STORAGE_PROXY", storage.proxy);
        environment.set("RESULT_STORAGE_TOKEN", storage.token);
        Ok(environment)
    }

    /// The web2 secrets that this part may need.
    pub(super) fn of_the_result(&self) -> Vec<IexecSecret> {
        let mut wanted = Vec::new();
        if self.params.result_encryption {
            wanted.push(self.encryption_key());
        }
        if !self.has_callback() {
            wanted.extend(self.tokens());
            wanted.extend(self.proxy_url());
        }
        wanted
    }

    fn storage<'a>(&'a self, secrets: &'a Secrets) -> Result<Storage<'a>, SessionError> {
        let token = self.tokens().into_iter().find_map(|token| of(secrets, token));
        let of_the_pool = self.proxy_url().and_then(|url| of(secrets, url));
        Ok(Storage {
            provider: self.params.storage_provider.as_deref().unwrap_or_default(),
            proxy: self.params.storage_proxy.as_deref().or(of_the_pool).unwrap_or_default(),
            token: token.ok_or(SessionError::StorageToken)?,
        })
    }

    fn has_callback(&self) -> bool {
        self.deal.callback != Address::ZERO
    }

    fn is_dropbox(&self) -> bool {
        self.params.storage_provider.as_deref() == Some(DROPBOX)
    }

    fn encryption_key(&self) -> IexecSecret {
        web2(self.task.order.beneficiary, ENCRYPTION_KEY)
    }

    /// The tokens that will do, the best first.
    fn tokens(&self) -> Vec<IexecSecret> {
        let requester = self.task.requester;
        match self.is_dropbox() {
            true => vec![web2(requester, DROPBOX_TOKEN)],
            false => vec![web2(self.worker, PROXY_TOKEN), web2(requester, PROXY_TOKEN)],
        }
    }

    /// The pool's own proxy, where it is asked for.
    fn proxy_url(&self) -> Option<IexecSecret> {
        let wanted = !self.is_dropbox() && self.params.storage_proxy.is_none();
        wanted.then(|| web2(self.deal.scheduler, PROXY_URL))
    }
}

fn web2(owner: Address, name: &str) -> IexecSecret {
    IexecSecret::Web2(owner, name.parse().expect("short enough"))
}

/// A web2 secret as it is delivered: without white space around it, as no other kind is.
fn of(secrets: &Secrets, secret: IexecSecret) -> Option<&str> {
    secrets.get(&secret).map(|value| value.trim())
}
