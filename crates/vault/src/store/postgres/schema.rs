//! The tables, and how they come to be: numbered migrations, applied one after the other by whoever is first.

use super::database::{Database, Failure};
use crate::error::VaultError;

/// Applied in this order and never changed: the next change is the next file.
const MIGRATIONS: &[&str] = &[include_str!("migrations/001_records_and_facts.sql")];

/// Held while migrations are applied, by everybody who has to do with this vault.
const LOCK: &str = "SELECT pg_advisory_xact_lock(8318825424567398757)";

/// Looked up as a row, since a name that a session did not find once it may not find for a while.
const EXISTS: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables \
    WHERE tablename = 'vault_schema' AND schemaname = ANY (current_schemas(false)))";

/// Whether there are tables of ours.
pub(super) async fn exists(client: &tokio_postgres::Client) -> Result<bool, Failure> {
    let row = client.query_one(EXISTS, &[]).await?;
    Ok(row.try_get(0)?)
}

/// Brings the tables up to date; a role that may not create any is enough where they are.
pub(super) fn migrate(database: &Database) -> Result<(), VaultError> {
    database.run(async |client, _| {
        if exists(client).await? && missing(version(client).await?)?.is_empty() {
            return Ok(());
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute(LOCK).await?;
        // Once more, since another process may have been first.
        let there = exists(transaction.client()).await?;
        let at = if there { version(transaction.client()).await? } else { 0 };
        for migration in missing(at)? {
            transaction.batch_execute(migration).await?;
        }
        let newest = i64::try_from(MIGRATIONS.len()).map_err(|_| VaultError::Damaged)?;
        transaction.execute("UPDATE vault_schema SET version = $1", &[&newest]).await?;
        Ok(transaction.commit().await?)
    })
}

async fn version(client: &tokio_postgres::Client) -> Result<i64, Failure> {
    Ok(client.query_one("SELECT version FROM vault_schema", &[]).await?.try_get(0)?)
}

/// What is still to be applied to tables of this version.
fn missing(version: i64) -> Result<&'static [&'static str], VaultError> {
    let applied = usize::try_from(version).map_err(|_| VaultError::Damaged)?;
    MIGRATIONS
        .get(applied..)
        .ok_or(VaultError::NewerSchema { found: applied, known: MIGRATIONS.len() })
}
