//! What a service is asked on an ordinary day: of a hundred requests 90 are for a secret, 8 attest, one pushes a secret and one
//! asks why a task would be refused.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use alloy_primitives::{Address, B256};
use rand::{Rng, rngs::StdRng};
use sesame_domain::SecretId;
use sesame_protocol::{
    owner::{AUTHORIZATION_HEADER, SEALED_CONTENT_TYPE, SignedUpdate},
    signature::Signer,
    typed::{Domain, SecretUpdate},
};
use sesame_tests::{Scene, World, now};

use crate::{
    pace::{Answer, Traffic},
    rcar::{Requests, SECRET},
};

/// More than connections, so that there is always one that nobody is pushing.
const NAMES: usize = 1024;
/// For how long a signed push is good, in seconds; it waits for its turn meanwhile.
const LIFE: u64 = 3000;
/// One answer in so many is opened and compared.
const LOOKED_AT: usize = 500;

/// The requests, prepared.
pub(crate) struct Mix {
    pub(crate) address: SocketAddr,
    /// Of an attested enclave; a session does not last, so another takes its place now and then.
    enclave: RwLock<Arc<Requests>>,
    explain: Vec<u8>,
    owner: Owner,
    pushes: Mutex<VecDeque<Push>>,
    answers: AtomicUsize,
}

/// Who pushes, and to whom.
struct Owner {
    signer: Signer,
    address: Address,
    key: B256,
    domain: Domain,
}

/// The next version of a secret, sealed and signed.
pub(crate) struct Push {
    secret: SecretId,
    version: u64,
    request: Vec<u8>,
}

/// What was asked for.
pub(crate) enum Sent {
    Resource(Arc<Requests>),
    Push(Push),
    Other,
}

impl Mix {
    pub(crate) async fn new(world: &World, scene: &Scene) -> anyhow::Result<Self> {
        let enclave = Requests::new(&world.sms, world, scene).await;
        let owner = Owner {
            signer: world.requester.signer(),
            address: world.requester.address(),
            key: world.sms.keys().await.sealing(),
            domain: world.sms.domain(),
        };
        let first = |number| owner.push(world.requester.secret(&format!("load-{number}")), 1);
        let pushes = (0..NAMES).map(first).collect::<anyhow::Result<_>>()?;
        let explain =
            format!("GET /v1/tasks/{}/explain HTTP/1.1\r\nhost: sesame\r\n\r\n", scene.task);
        Ok(Self {
            address: enclave.address,
            enclave: RwLock::new(Arc::new(enclave)),
            explain: explain.into_bytes(),
            pushes: Mutex::new(pushes),
            owner,
            answers: AtomicUsize::new(0),
        })
    }

    /// Another enclave asks from now on.
    pub(crate) async fn attest_anew(&self, world: &World, scene: &Scene) {
        let next = Arc::new(Requests::new(&world.sms, world, scene).await);
        *self.enclave.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn enclave(&self) -> Arc<Requests> {
        self.enclave.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pushes(&self) -> std::sync::MutexGuard<'_, VecDeque<Push>> {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic for Mix {
    type Sent = Sent;

    fn next(&self, chance: &mut StdRng) -> (Vec<u8>, Sent) {
        match chance.random_range(0..100) {
            0 => (self.explain.clone(), Sent::Other),
            1 => match self.pushes().pop_front() {
                Some(push) => (push.request.clone(), Sent::Push(push)),
                // So many were never answered that no name is left.
                None => (self.explain.clone(), Sent::Other),
            },
            2..10 => (self.enclave().attest.clone(), Sent::Other),
            _ => {
                let enclave = self.enclave();
                (enclave.resource.clone(), Sent::Resource(enclave))
            }
        }
    }

    fn answered(&self, sent: Sent, answer: &Answer<'_>) -> anyhow::Result<()> {
        let granted = (200..=299).contains(&answer.status);
        match sent {
            Sent::Resource(enclave) if granted => {
                if self.answers.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOKED_AT) {
                    let jwe = serde_json::from_slice(answer.body)?;
                    anyhow::ensure!(*enclave.key.decrypt(&jwe)? == SECRET, "not the secret");
                }
            }
            Sent::Push(push) => {
                let next = push.version + u64::from(granted);
                let push = self.owner.push(push.secret, next)?;
                self.pushes().push_back(push);
            }
            Sent::Resource(_) | Sent::Other => {}
        }
        Ok(())
    }
}

impl Owner {
    fn push(&self, secret: SecretId, version: u64) -> anyhow::Result<Push> {
        let deadline = now() + LIFE;
        let update = SecretUpdate::new(&secret, self.address, 0, version, self.key, deadline);
        let (signed, body) = SignedUpdate::seal(update, &SECRET, &self.domain, &self.signer)?;
        let head = format!(
            "PUT /v1/{secret} HTTP/1.1\r\nhost: sesame\r\ncontent-type: {SEALED_CONTENT_TYPE}\r\n{AUTHORIZATION_HEADER}: {}\r\ncontent-length: {}\r\n\r\n",
            signed.to_header(),
            body.len()
        );
        Ok(Push { secret, version, request: [head.as_bytes(), &body].concat() })
    }
}
