//! The tables, and how they come to be: numbered migrations, applied one after the other by whoever is first.

use super::database::{Database, Failure};
use crate::error::VaultError;

/// Applied in this order and never changed: the next change is the next file.
const MIGRATIONS: &[&str] = &[include_str!("migrations/001_records_and_facts.sql")];

/// All of ours.
const TABLES: [&str; 3] = ["vault_schema", "vault_records", "vault_facts"];

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
    apply(database, MIGRATIONS)
}

/// Applies what is missing, all of it or nothing. What an earlier version had is copied beside it first, as it is at rest.
fn apply(database: &Database, migrations: &[&'static str]) -> Result<(), VaultError> {
    let done = database.run(async |client, _| {
        Ok(exists(client).await? && missing(migrations, version(client).await?)?.is_empty())
    })?;
    if done {
        return Ok(());
    }
    // It takes as long as it takes: the tables may be large.
    let mut client = database.connection()?;
    database.step(async {
        let transaction = client.transaction().await?;
        transaction.batch_execute(LOCK).await?;
        // Once more, since another process may have been first.
        let there = exists(transaction.client()).await?;
        let at = if there { version(transaction.client()).await? } else { 0 };
        let missing = missing(migrations, at)?;
        if at > 0 && !missing.is_empty() {
            transaction.batch_execute(&copies(at)).await?;
            let kept = TABLES.map(|table| format!("{table}_v{at}")).join(", ");
            tracing::warn!(
                "the vault's tables are of version {at} and are brought up to date; as they were, they are kept in {kept}: drop \
                 those when you will not go back"
            );
        }
        for migration in missing {
            transaction.batch_execute(migration).await?;
        }
        let newest = i64::try_from(migrations.len()).map_err(|_| VaultError::Damaged)?;
        transaction.execute("UPDATE vault_schema SET version = $1", &[&newest]).await?;
        Ok(transaction.commit().await?)
    })
}

/// Copies of all tables under the name of their version.
fn copies(version: i64) -> String {
    let copy = |table| format!("CREATE TABLE {table}_v{version} AS TABLE {table};");
    TABLES.map(copy).concat()
}

async fn version(client: &tokio_postgres::Client) -> Result<i64, Failure> {
    Ok(client.query_one("SELECT version FROM vault_schema", &[]).await?.try_get(0)?)
}

/// What is still to be applied to tables of this version.
fn missing<'a>(
    migrations: &'a [&'static str],
    version: i64,
) -> Result<&'a [&'static str], VaultError> {
    let applied = usize::try_from(version).map_err(|_| VaultError::Damaged)?;
    migrations
        .get(applied..)
        .ok_or(VaultError::NewerSchema { found: applied, known: migrations.len() })
}

#[cfg(test)]
mod tests;
