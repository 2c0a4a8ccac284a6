//! All that is there at one moment, and other contents in its place: a transaction on a connection of its own each.

use deadpool_postgres::Object;
use sesame_domain::SecretId;

use super::{
    PUT, SET_FACT, WALK, WALK_HEADERS, WITH_VALUES, WITHOUT_VALUES, database::Database, get,
    number, show,
};
use crate::{
    error::VaultError,
    record::Header,
    store::{Draft, Facts, Found, Moment, Values, codec},
};

const ALL_FACTS: &str = "SELECT name, value FROM vault_facts";
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Readers go on with what was there; writers wait.
const REPLACE: &str = "BEGIN; LOCK TABLE vault_records, vault_facts IN EXCLUSIVE MODE; \
    DELETE FROM vault_records; DELETE FROM vault_facts";

/// A connection that nobody else gets, whatever state it is left in.
struct Own(Option<Object>);

impl Own {
    /// Begins a transaction with these commands.
    fn begin(database: &Database, commands: &str) -> Result<Self, VaultError> {
        let own = Self(Some(database.connection()?));
        database.step(async { Ok(own.client().batch_execute(commands).await?) })?;
        Ok(own)
    }

    fn client(&self) -> &Object {
        self.0.as_ref().expect("it is there until this ends")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Closed, a transaction that was not committed never was.
        drop(self.0.take().map(Object::take));
    }
}

/// What the store holds while others go on.
pub(super) struct Then<'a> {
    database: &'a Database,
    own: Own,
}

impl<'a> Then<'a> {
    pub(super) fn begin(database: &'a Database) -> Result<Self, VaultError> {
        Ok(Self { database, own: Own::begin(database, READ)? })
    }
}

impl Moment for Then<'_> {
    fn facts(&mut self) -> Result<Facts, VaultError> {
        let client = self.own.client();
        let rows = self.database.step(async { Ok(client.query(ALL_FACTS, &[]).await?) })?;
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }

    fn walk(
        &mut self,
        values: Values,
        each: &mut dyn FnMut(Found) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let (query, rows) = match values {
            Values::Read => (WALK, WITH_VALUES),
            Values::Left => (WALK_HEADERS, WITHOUT_VALUES),
        };
        let client = self.own.client();
        let declare = format!("DECLARE everything NO SCROLL CURSOR FOR {query}");
        self.database.step(async { Ok(client.batch_execute(&declare).await?) })?;
        let fetch = format!("FETCH FORWARD {rows} FROM everything");
        loop {
            let found = self.database.step(async { Ok(client.query(&fetch, &[]).await?) })?;
            if found.is_empty() {
                break;
            }
            for row in &found {
                show(row, each)?;
            }
        }
        self.database.step(async { Ok(client.batch_execute("CLOSE everything").await?) })
    }
}

/// What is to take the place of everything.
pub(super) struct Contents {
    own: Own,
    database: Database,
}

impl Contents {
    pub(super) fn begin(database: Database) -> Result<Self, VaultError> {
        Ok(Self { own: Own::begin(&database, REPLACE)?, database })
    }
}

impl Draft for Contents {
    fn add(
        &mut self,
        secret: &SecretId,
        version: u64,
        record: Option<(&Header, &[u8])>,
    ) -> Result<(), VaultError> {
        let (secret, version) = (codec::secret(secret), number(version)?);
        let header = codec::encode(record.map(|(header, _)| header));
        let value = record.map(|(_, value)| value);
        let client = self.own.client();
        self.database.step(async {
            let put = client.prepare_cached(PUT).await?;
            client.execute(&put, &[&secret, &version, &header, &value]).await?;
            Ok(())
        })
    }

    fn publish(self: Box<Self>, facts: &Facts) -> Result<(), VaultError> {
        let client = self.own.client();
        self.database.step(async {
            for (name, value) in facts {
                client.execute(SET_FACT, &[name, value]).await?;
            }
            Ok(client.batch_execute("COMMIT").await?)
        })
    }
}
