//! A small SMS: it verifies quotes and answers the bundle that a test prepared.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use alloy_primitives::{Address, B256};
use sesame_attestation::{
    Collateral, Evidence, Policy, Verifier,
    simulated::{Imitated, Published},
};
use sesame_domain::{Resource, TaskId};
use sesame_protocol::{
    bundle::{self, Bundle},
    denial::DenialBody,
    jwe::encrypt,
    jwk::Jwk,
    rcar::{self, Attestation, ErrorBody},
    results::{ResultKeyCertificate, ResultKeyRequest, TaskDomain},
    signature::Signer,
    typed::Domain,
    voucher::{SignedVoucher, VOUCHER_HEADER},
};

pub(crate) const TASKS: TaskDomain =
    TaskDomain { chain_id: 31337, task_registry: Address::repeat_byte(0x44) };
pub(crate) const DOMAIN: Domain =
    Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };
pub(crate) const TASK: TaskId = TaskId(B256::repeat_byte(0x22));
const NONCE: &str = "bm9uY2U=";

/// What a test has the SMS do.
pub(crate) struct Script {
    pub(crate) identity: Signer,
    pub(crate) bundle: Bundle,
    /// Refusals before the bundle is released; an empty one is a 503.
    pub(crate) refusals: Vec<Vec<DenialBody>>,
    /// Whether the refusals are followed by silence: requests for resources are read, and never answered.
    pub(crate) silent: bool,
    /// Secrets that are listed as omitted, and answered alone.
    pub(crate) alone: Vec<(Resource, Vec<u8>)>,
    /// What the TEE imitates.
    pub(crate) tee: Imitated,
    /// The root of the simulated TEE that is trusted.
    pub(crate) root: Published,
}

#[derive(Default)]
struct State {
    key: Option<Jwk>,
    refused: usize,
}

/// Serves until the test ends; gives the base URL.
pub(crate) fn start(script: Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (script, state) = (Arc::new(script), Arc::new(Mutex::new(State::default())));
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), &script, &mut state.lock().unwrap());
        }
    });
    base
}

fn serve(stream: TcpStream, script: &Script, state: &mut State) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    // A launcher whose time is up leaves in the middle of a request.
    let Some(path) = first.split(' ').nth(1).map(str::to_owned) else { return };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();

    let exhausted = state.refused == script.refusals.len();
    if script.silent && exhausted && path.starts_with("/kbs/v0/resource/") {
        // The connection stays open until the process ends.
        std::mem::forget(reader);
        return;
    }
    let (status, reply) = answer(script, state, &path, &headers, &body);
    let head = format!(
        "HTTP/1.1 {status} x\r\nconnection: close\r\nset-cookie: kbs-session-id=s; Path=/\r\ncontent-length: {}\r\n\r\n",
        reply.len()
    );
    let mut stream = reader.into_inner();
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(reply.as_bytes()));
}

fn answer(
    script: &Script,
    state: &mut State,
    path: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> (u16, String) {
    let error = |status, error: &ErrorBody| (status, serde_json::to_string(error).unwrap());
    let resources = format!("/kbs/v0/resource/{TASK}/");
    match path {
        "/kbs/v0/auth" => (200, format!(r#"{{"nonce":"{NONCE}","extra-params":{{}}}}"#)),
        "/kbs/v0/attest" => match attest(script, headers, body) {
            Some(key) => {
                state.key = Some(key);
                (200, r#"{"token":"a.b.c"}"#.to_owned())
            }
            None => error(401, &ErrorBody::new("attestation_refused", "no")),
        },
        "/kbs/v0/result-key" => {
            let request: ResultKeyRequest = serde_json::from_slice(body).unwrap();
            request.verify(NONCE, state.key.as_ref().unwrap()).unwrap();
            let signature = TASKS.certify(TaskId(request.task), request.key, &script.identity);
            (200, serde_json::to_string(&ResultKeyCertificate { signature }).unwrap())
        }
        _ => {
            let Some(key) = &state.key else {
                return error(401, &ErrorBody::new("no_session", "attest first"));
            };
            let resource: Resource = path.strip_prefix(&resources).unwrap().parse().unwrap();
            if let Some(reasons) = script.refusals.get(state.refused) {
                state.refused += 1;
                return match reasons.is_empty() {
                    true => error(503, &ErrorBody::new("behind", "later")),
                    false => error(403, &ErrorBody::denied(reasons.clone())),
                };
            }
            let content = match resource {
                Resource::Bundle => {
                    let nonce = rcar::nonce_digest(NONCE);
                    bundle::sign(&script.bundle, key.thumbprint(), nonce, &DOMAIN, &script.identity)
                        .unwrap()
                        .to_vec()
                }
                Resource::AppSecret | Resource::RequesterSecret(_) | Resource::ProtectedData(_) => {
                    script.alone.iter().find(|(known, _)| *known == resource).unwrap().1.clone()
                }
            };
            (200, serde_json::to_string(&encrypt(key, &content).unwrap()).unwrap())
        }
    }
}

fn attest(script: &Script, headers: &BTreeMap<String, String>, body: &[u8]) -> Option<Jwk> {
    let body: Attestation = serde_json::from_slice(body).unwrap();
    let key = Jwk::try_from(&body.runtime_data.tee_pubkey).unwrap();
    let voucher = SignedVoucher::parse(headers.get(VOUCHER_HEADER)?).unwrap();
    let evidence = &body.tee_evidence.primary_evidence;
    let evidence = Evidence::parse(&script.tee.to_string(), evidence).unwrap();
    let verifier = Verifier::new(Policy::insecure_trusting_simulated(script.root.clone()));
    verifier.verify(&evidence, &Collateral::Nothing, NONCE, key.clone(), crate::now()).ok()?;
    (voucher.enclave_key == key.thumbprint()).then_some(key)
}
