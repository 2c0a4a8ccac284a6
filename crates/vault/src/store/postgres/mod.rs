//! Records in PostgreSQL, or what speaks its protocol, for any number of processes.
//!
//! Every write is one serializable transaction, and acknowledged once it is committed. What it depends on (the fact that names the
//! vault's keys, the newest version) it reads itself; the row of the keys it locks against those who change them, since being
//! serializable alone would let it commit after them as if it had been before. Where a connection dies while a write is being
//! committed, the next attempt looks whether this very record is there.

mod database;
mod moment;
mod schema;
mod tls;
mod url;

use alloy_primitives::Address;
use futures::future::{try_join, try_join_all};
use sesame_domain::{SecretId, SecretName};
use tokio_postgres::{IsolationLevel, Row};

pub use self::url::{DatabaseUrl, UrlError};
use self::{
    database::{Client, Database, Failure},
    moment::{Contents, Then},
};
use super::{
    Draft, Entry, Fact, Found, KEYS, Moment, Record, Rewrapped, Store, Values, Write, Written,
    codec,
};
use crate::{error::VaultError, record::Metadata};

/// Rows of a walk that are in memory at a time: values may have 4 MiB each.
const WITH_VALUES: i32 = 8;
const WITHOUT_VALUES: i32 = 1024;

const FACT: &str = "SELECT value FROM vault_facts WHERE name = $1";
const FACT_TO_CHANGE: &str = "SELECT value FROM vault_facts WHERE name = $1 FOR UPDATE";
const FACT_TO_REST_ON: &str = "SELECT value FROM vault_facts WHERE name = $1 FOR SHARE";
const SET_FACT: &str = "INSERT INTO vault_facts (name, value) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const REMOVE_FACT: &str = "DELETE FROM vault_facts WHERE name = $1";

const ENTRIES: &str =
    "SELECT version, header FROM vault_records WHERE secret = $1 ORDER BY version DESC";
const NEWEST: &str =
    "SELECT version, header FROM vault_records WHERE secret = $1 ORDER BY version DESC LIMIT 1";
const NAMED: &str = "SELECT secret, version, header FROM \
    (SELECT DISTINCT ON (secret) secret, version, header FROM vault_records \
        WHERE secret > $1 AND secret < $2 ORDER BY secret, version DESC) AS newest \
    WHERE header <> $3 ORDER BY secret LIMIT $4";
const RECORD: &str = "SELECT header, value FROM vault_records WHERE secret = $1 AND version = $2";
const PUT: &str =
    "INSERT INTO vault_records (secret, version, header, value) VALUES ($1, $2, $3, $4)";
const FORGET: &str = "DELETE FROM vault_records WHERE secret = $1 AND version = ANY($2)";
const REWRAP: &str = "UPDATE vault_records SET header = $4 \
    WHERE secret = $1 AND version = $2 AND header = $3";
const WALK: &str = "SELECT secret, version, header, value FROM vault_records \
    ORDER BY secret, version DESC";
const WALK_HEADERS: &str = "SELECT secret, version, header, NULL::bytea FROM vault_records \
    ORDER BY secret, version DESC";

/// The store of many processes.
#[derive(Debug)]
pub(crate) struct Postgres(Database);

impl Postgres {
    /// Opens the store, and makes its tables or brings them up to date.
    pub(crate) fn open(url: &DatabaseUrl) -> Result<Self, VaultError> {
        let database = Database::at(url)?;
        schema::migrate(&database)?;
        Ok(Self(database))
    }

    /// Whether there is a fact of this name; nothing is made.
    pub(crate) fn has_fact(url: &DatabaseUrl, name: &str) -> Result<bool, VaultError> {
        Database::at(url)?.run(async |client, _| {
            Ok(schema::exists(client).await? && !client.query(FACT, &[&name]).await?.is_empty())
        })
    }

    /// Other contents for the place of everything.
    pub(crate) fn draft(url: &DatabaseUrl) -> Result<impl Draft + use<>, VaultError> {
        let database = Database::at(url)?;
        schema::migrate(&database)?;
        Contents::begin(database)
    }

    /// The rows that a query finds, at one moment.
    fn read(
        &self,
        query: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>, VaultError> {
        self.0.run(async |client, _| {
            let query = client.prepare_cached(query).await?;
            Ok(client.query(&query, parameters).await?)
        })
    }
}

impl Store for Postgres {
    fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, VaultError> {
        self.read(FACT, &[&name])?.first().map(|row| get(row, 0)).transpose()
    }

    fn change_facts(&self, before: &[Fact<'_>], after: &[Fact<'_>]) -> Result<bool, VaultError> {
        self.0.run(async |client, doubt| {
            let transaction = serializable(client).await?;
            if doubt && hold(&transaction, after).await? {
                return Ok(true);
            }
            if !hold(&transaction, before).await? {
                return Ok(false);
            }
            for (name, value) in after {
                match value {
                    Some(value) => transaction.execute(SET_FACT, &[name, value]).await?,
                    None => transaction.execute(REMOVE_FACT, &[name]).await?,
                };
            }
            transaction.commit().await?;
            Ok(true)
        })
    }

    fn entries(&self, secret: &SecretId) -> Result<Vec<Entry>, VaultError> {
        self.read(ENTRIES, &[&codec::secret(secret)])?.iter().map(entry).collect()
    }

    fn newest(&self, secret: &SecretId) -> Result<Option<Entry>, VaultError> {
        self.read(NEWEST, &[&codec::secret(secret)])?.first().map(entry).transpose()
    }

    fn named_by(
        &self,
        requester: Address,
        after: Option<&SecretName>,
        limit: usize,
    ) -> Result<Vec<(SecretName, Metadata)>, VaultError> {
        let all = codec::named_by(requester);
        let end = [all.as_slice(), &[0xff]].concat();
        let start = match after {
            Some(name) => codec::secret(&SecretId::Requester(requester, name.clone())),
            None => all,
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.read(NAMED, &[&start, &end, &codec::encode(None), &limit])?;
        let named = rows.iter().map(|row| {
            let secret: Vec<u8> = get(row, 0)?;
            let header = codec::decode(&get::<Vec<u8>>(row, 2)?)?;
            match (codec::parse_secret(&secret)?, header) {
                (SecretId::Requester(_, name), Some(header)) => Ok((name, header.metadata)),
                _ => Err(VaultError::Damaged),
            }
        });
        named.collect()
    }

    fn record(&self, secret: &SecretId, version: u64) -> Result<Option<Record>, VaultError> {
        let Ok(version) = i64::try_from(version) else { return Ok(None) };
        let rows = self.read(RECORD, &[&codec::secret(secret), &version])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(header) = codec::decode(&get::<Vec<u8>>(row, 0)?)? else { return Ok(None) };
        Ok(Some(Record { header, value: get(row, 1)? }))
    }

    fn put(&self, write: &Write<'_>) -> Result<Written, VaultError> {
        self.0.run(async |client, doubt| put(client, write, doubt).await)
    }

    fn rewrap(&self, headers: &[Rewrapped]) -> Result<(), VaultError> {
        self.0.run(async |client, _| {
            let transaction = serializable(client).await?;
            let query = transaction.prepare_cached(REWRAP).await?;
            let update = async |Rewrapped { secret, version, before, after }: &Rewrapped| {
                let [before, after] = [before, after].map(|header| codec::encode(Some(header)));
                let (secret, version) = (codec::secret(secret), number(*version)?);
                transaction.execute(&query, &[&secret, &version, &before, &after]).await?;
                Ok::<_, Failure>(())
            };
            try_join_all(headers.iter().map(update)).await?;
            Ok(transaction.commit().await?)
        })
    }

    fn walk(
        &self,
        values: Values,
        each: &mut dyn FnMut(Found) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        self.moment()?.walk(values, each)
    }

    fn moment(&self) -> Result<Box<dyn Moment + '_>, VaultError> {
        Ok(Box::new(Then::begin(&self.0)?))
    }

    #[cfg(test)]
    fn forge(
        &self,
        secret: &SecretId,
        version: u64,
        record: Option<(&crate::record::Header, &[u8])>,
    ) -> Result<(), VaultError> {
        let (secret, version) = (codec::secret(secret), number(version)?);
        let header = codec::encode(record.map(|(header, _)| header));
        let value = record.map(|(_, value)| value);
        let query = format!(
            "{PUT} ON CONFLICT (secret, version) DO UPDATE SET header = excluded.header, value = excluded.value"
        );
        self.read(&query, &[&secret, &version, &header, &value]).map(drop)
    }
}

/// One attempt at a write.
async fn put(client: &mut Client, write: &Write<'_>, doubt: bool) -> Result<Written, Failure> {
    let secret = codec::secret(write.secret);
    let header = codec::encode(write.record.map(|(header, _)| header));
    let value = write.record.map(|(_, value)| value);
    let transaction = serializable(client).await?;
    let (keys, newest) = (
        transaction.prepare_cached(FACT_TO_REST_ON).await?,
        transaction.prepare_cached(NEWEST).await?,
    );
    let (keys, newest) = try_join(
        transaction.query_opt(&keys, &[&KEYS]),
        transaction.query_opt(&newest, &[&secret]),
    )
    .await?;
    let newest = newest.as_ref().map(entry).transpose()?.map_or(0, |entry| entry.version);
    if doubt && newest >= write.version {
        // An earlier attempt may have come through.
        let there = transaction.query_opt(RECORD, &[&secret, &number(write.version)?]).await?;
        let there = there.map(|row| -> Result<(Vec<u8>, Option<Vec<u8>>), VaultError> {
            Ok((get(&row, 0)?, get(&row, 1)?))
        });
        return match there.transpose()? {
            Some((found, kept)) if found == header && kept.as_deref() == value => Ok(Written::Done),
            Some(_) => Ok(Written::NotNext { newest }),
            None => Err(Failure::Unknown),
        };
    }
    let keys = keys.map(|row| get::<Vec<u8>>(&row, 0)).transpose()?;
    if keys.as_deref() != Some(write.keys) {
        return Ok(Written::KeysChanged);
    }
    if newest.checked_add(1) != Some(write.version) {
        return Ok(Written::NotNext { newest });
    }
    let superseded =
        write.superseded.iter().map(|version| number(*version)).collect::<Result<Vec<_>, _>>()?;
    let (forget, keep) =
        (transaction.prepare_cached(FORGET).await?, transaction.prepare_cached(PUT).await?);
    try_join(
        transaction.execute(&forget, &[&secret, &superseded]),
        transaction.execute(&keep, &[&secret, &number(write.version)?, &header, &value]),
    )
    .await?;
    transaction.commit().await?;
    Ok(Written::Done)
}

async fn serializable(client: &mut Client) -> Result<deadpool_postgres::Transaction<'_>, Failure> {
    let transaction = client.build_transaction().isolation_level(IsolationLevel::Serializable);
    Ok(transaction.start().await?)
}

/// Whether all of these facts are as they are said to be; they stay so until the transaction ends.
async fn hold(
    transaction: &deadpool_postgres::Transaction<'_>,
    facts: &[Fact<'_>],
) -> Result<bool, Failure> {
    for (name, value) in facts {
        let there = transaction.query_opt(FACT_TO_CHANGE, &[name]).await?;
        if there.map(|row| get::<Vec<u8>>(&row, 0)).transpose()?.as_deref() != *value {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a row of a walk is.
fn show(
    row: &Row,
    each: &mut dyn FnMut(Found) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    let (secret, version): (Vec<u8>, i64) = (get(row, 0)?, get(row, 1)?);
    let header: Vec<u8> = get(row, 2)?;
    let value: Option<Vec<u8>> = get(row, 3)?;
    let key = [secret.as_slice(), &(!version).to_be_bytes()].concat();
    let record = codec::parse_key(&key).and_then(|(secret, version)| {
        Ok((secret, Entry { version, header: codec::decode(&header)? }))
    });
    let stray = value.is_some() && matches!(&record, Ok((_, Entry { header: None, .. })));
    each(Found { key: key.clone(), record: record.ok(), value })?;
    // A tombstone has no value.
    if stray { each(Found { key, record: None, value: None }) } else { Ok(()) }
}

fn entry(row: &Row) -> Result<Entry, VaultError> {
    let version = u64::try_from(get::<i64>(row, 0)?).map_err(|_| VaultError::Damaged)?;
    Ok(Entry { version, header: codec::decode(&get::<Vec<u8>>(row, 1)?)? })
}

fn get<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    at: usize,
) -> Result<T, VaultError> {
    row.try_get(at).map_err(|_| VaultError::Damaged)
}

fn number(version: u64) -> Result<i64, VaultError> {
    i64::try_from(version).map_err(|_| VaultError::Damaged)
}

#[cfg(test)]
mod tests;
