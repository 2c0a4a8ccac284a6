//! `/secrets/…`, `/apps/…` and `/requesters/…`: what iExec's clients push, and whether it is there.
//!
//! The order of checks: what must be there, the signature, the form of a key, the length, and only then the vault: a stranger is
//! answered 401 whether or not there is a secret. Presence is anybody's to ask, and needs no chain.

use alloy_primitives::{Address, B256};
use axum::{
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use sesame_domain::{IexecSecret, SecretId, SecretName, Web2Name};
use sesame_iexec::challenge::{self, signed_by};
use sesame_vault::Replacement;

use super::{Iexec, Kind, chain::owner_of, refusal::Refusal, value::Pushed};
use crate::{overload::blocking, public::explain::parse_address, service::Shared};

type Answer = Result<StatusCode, Refusal>;

/// The parameters of `/secrets/web3`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InWeb3 {
    secret_address: String,
}

/// The parameters of `/secrets/web2`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InWeb2 {
    owner_address: String,
    secret_name: String,
}

pub(super) async fn has_dataset(
    State(iexec): State<Iexec>,
    query: Result<Query<InWeb3>, QueryRejection>,
) -> Response {
    let there = async {
        let query = required(query)?;
        let asset = address(&query.secret_address).ok_or(Refusal::Absent)?;
        is_there(&iexec.service, IexecSecret::Dataset(asset)).await
    };
    there.await.map_or_else(Refusal::bare, IntoResponse::into_response)
}

pub(super) async fn push_dataset(
    State(iexec): State<Iexec>,
    query: Result<Query<InWeb3>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let push = async {
        let query = required(query)?;
        let pushed = Pushed::read(&headers, body).await?;
        let asset = address(&query.secret_address).ok_or(Refusal::NotSigned)?;
        let owner = owner_of(&iexec.service, asset).await?;
        check(challenge::dataset(asset, pushed.value()), &pushed, owner)?;
        create(&iexec, Kind::Web3, IexecSecret::Dataset(asset), owner, pushed).await
    };
    push.await.map_or_else(Refusal::bare, IntoResponse::into_response)
}

pub(super) async fn has_web2(
    State(iexec): State<Iexec>,
    query: Result<Query<InWeb2>, QueryRejection>,
) -> Response {
    let there = async {
        let query = required(query)?;
        let owner = address(&query.owner_address).ok_or(Refusal::Absent)?;
        let name = query.secret_name.parse().map_err(|_| Refusal::Absent)?;
        is_there(&iexec.service, IexecSecret::Web2(owner, name)).await
    };
    there.await.map_or_else(Refusal::bare, IntoResponse::into_response)
}

pub(super) async fn push_web2(
    State(iexec): State<Iexec>,
    query: Result<Query<InWeb2>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let push = async {
        let (owner, name, pushed) = web2(query, &headers, body).await?;
        create(&iexec, Kind::Web2, IexecSecret::Web2(owner, name), owner, pushed).await
    };
    push.await.map_or_else(Refusal::bare, IntoResponse::into_response)
}

/// A value takes the place of another. Who shows a signature again that did so before is a stranger.
pub(super) async fn replace_web2(
    State(iexec): State<Iexec>,
    query: Result<Query<InWeb2>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let replace = async {
        let (owner, name, pushed) = web2(query, &headers, body).await?;
        pushed.check_length()?;
        let service = iexec.service.clone();
        let replaced = blocking(service.place().await?, move || {
            service.reserve.check()?;
            let signed = pushed.signed(owner);
            let replace = || service.vault.replace(&name, &signed);
            service.metrics.vault.time("replace", replace).map_err(super::refusal::unavailable)
        });
        match replaced.await? {
            Replacement::Done | Replacement::Unchanged => Ok(StatusCode::NO_CONTENT),
            Replacement::Replayed => {
                tracing::info!(%owner, "a signature is shown again that replaced a secret before");
                Err(Refusal::NotSigned)
            }
            Replacement::Absent => Err(Refusal::Absent),
        }
    };
    replace.await.map_or_else(Refusal::bare, IntoResponse::into_response)
}

/// What is pushed under a name, by the very owner. The name was signed as it stands in the request, and is kept without case.
async fn web2(
    query: Result<Query<InWeb2>, QueryRejection>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Address, Web2Name, Pushed), Refusal> {
    let query = required(query)?;
    let pushed = Pushed::read(headers, body).await?;
    let owner = address(&query.owner_address).ok_or(Refusal::NotSigned)?;
    check(challenge::web2(owner, &query.secret_name, pushed.value()), &pushed, owner)?;
    let name = query.secret_name.parse().map_err(|_| Refusal::Malformed)?;
    Ok((owner, name, pushed))
}

pub(super) async fn has_app(State(iexec): State<Iexec>, Path(app): Path<String>) -> Response {
    let there = async {
        let app = address(&app).ok_or(Refusal::Absent)?;
        is_there(&iexec.service, IexecSecret::App(app)).await
    };
    there.await.map_or_else(Refusal::in_words, IntoResponse::into_response)
}

pub(super) async fn push_app(
    State(iexec): State<Iexec>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let push = async {
        let pushed = Pushed::read(&headers, body).await?;
        let app = address(&app).ok_or(Refusal::NotSigned)?;
        let owner = owner_of(&iexec.service, app).await?;
        check(challenge::app(app, pushed.value()), &pushed, owner)?;
        create(&iexec, Kind::Compute, IexecSecret::App(app), owner, pushed).await
    };
    push.await.map_or_else(Refusal::in_words, IntoResponse::into_response)
}

pub(super) async fn has_requester(
    State(iexec): State<Iexec>,
    Path((requester, key)): Path<(String, String)>,
) -> Response {
    let there = async {
        let key = key.parse().map_err(|_| Refusal::NotAKey)?;
        let requester = address(&requester).ok_or(Refusal::Absent)?;
        is_there(&iexec.service, IexecSecret::Requester(requester, key)).await
    };
    there.await.map_or_else(Refusal::of_a_requester, IntoResponse::into_response)
}

pub(super) async fn push_requester(
    State(iexec): State<Iexec>,
    Path((requester, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let push = async {
        let pushed = Pushed::read(&headers, body).await?;
        let requester = address(&requester).ok_or(Refusal::NotSigned)?;
        check(challenge::requester(requester, &key, pushed.value()), &pushed, requester)?;
        let key: SecretName = key.parse().map_err(|_| Refusal::NotAKey)?;
        let secret = IexecSecret::Requester(requester, key);
        create(&iexec, Kind::Compute, secret, requester, pushed).await
    };
    push.await.map_or_else(Refusal::of_a_requester, IntoResponse::into_response)
}

fn required<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query.map(|Query(query)| query).map_err(|_| Refusal::Malformed)
}

/// What is no address has no secret, and nobody signs for it.
fn address(text: &str) -> Option<Address> {
    parse_address(text).ok()
}

fn check(challenge: B256, pushed: &Pushed, owner: Address) -> Result<(), Refusal> {
    let signed = signed_by(challenge, &pushed.signature, owner);
    if signed { Ok(()) } else { Err(Refusal::NotSigned) }
}

async fn is_there(service: &Shared, secret: IexecSecret) -> Answer {
    let (place, service) = (service.place().await?, service.clone());
    let newest = blocking(place, move || {
        let look = || service.vault.newest(&SecretId::Iexec(secret));
        service.metrics.vault.time("look_up", look).map_err(super::refusal::unavailable)
    });
    if newest.await?.is_some() { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::Absent) }
}

/// Keeps the first value of a secret. There is no second one.
async fn create(
    iexec: &Iexec,
    kind: Kind,
    secret: IexecSecret,
    owner: Address,
    pushed: Pushed,
) -> Answer {
    pushed.check_length()?;
    let service = iexec.service.clone();
    let made = blocking(service.place().await?, move || {
        service.reserve.check()?;
        let push = || service.vault.create(secret, pushed.signed(owner));
        service.metrics.vault.time("push", push).map_err(super::refusal::unavailable)
    });
    if !made.await? {
        return Err(Refusal::Exists);
    }
    iexec.counts.added(kind);
    Ok(StatusCode::NO_CONTENT)
}
