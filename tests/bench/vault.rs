//! What the stores take and give without a service around them: pushes a second, bytes a secret, one look.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use sesame_domain::SecretId;
use sesame_tests::Postgres;
use sesame_vault::{KeySource, Location, Metadata, Plaintext, Push, Vault};
use zeroize::Zeroizing;

use crate::figures::{Figures, Samples};

pub(crate) const NAMES: &[&str] = &[
    "pushes_per_s_folder",
    "pushes_per_s_postgres",
    "pushes_folder_vs_postgres",
    "look_us_folder",
    "look_us_postgres",
    "secret_1k_postgres_bytes",
];

const THREADS: usize = 16;
const SIZE: usize = 1024;
const REQUESTER: Address = Address::repeat_byte(2);

/// On the file system of temporary files, both.
pub(crate) fn measure(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    let secrets = if figures.quick { 1_000 } else { 8_000 };
    let folder = folder.join("stores");
    fs::create_dir_all(&folder)?;
    let keys = KeySource::Folder(folder.clone());
    let open = |at| Vault::open(&at, &keys, 31337, Address::repeat_byte(1));

    let vault = open(Location::Folder(folder.join("vault")))?;
    let in_folder = fill(&vault, secrets)?;
    figures.print("pushes_per_s_folder", in_folder, "/s");
    figures.print("look_us_folder", look(&vault, secrets)?.p50(), "us");

    let server = Postgres::start();
    let vault = open(Location::Postgres(Box::new(server.database("vault").parse()?)))?;
    let in_postgres = fill(&vault, secrets)?;
    figures.print("pushes_per_s_postgres", in_postgres, "/s");
    figures.print("pushes_folder_vs_postgres", in_folder / in_postgres, "x");
    figures.print("look_us_postgres", look(&vault, secrets)?.p50(), "us");
    let bytes = server.query_in("vault", "SELECT pg_total_relation_size('vault_records')");
    let bytes: f64 = bytes.map_err(anyhow::Error::msg)?.parse()?;
    figures.print("secret_1k_postgres_bytes", bytes / secrets as f64, "B");
    Ok(())
}

/// Pushes as many secrets, one version each; gives how many a second.
fn fill(vault: &Vault, secrets: usize) -> anyhow::Result<f64> {
    let start = Instant::now();
    thread::scope(|scope| {
        let push = |thread: usize| -> anyhow::Result<()> {
            for number in (thread..secrets).step_by(THREADS) {
                let value = Zeroizing::new(rand::random::<[u8; 32]>().repeat(SIZE / 32));
                let (secret, value) = (secret(number)?, Plaintext::from(value));
                vault.push(Push { secret, metadata: metadata(), value })?;
            }
            Ok(())
        };
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || push(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    Ok(secrets as f64 / start.elapsed().as_secs_f64())
}

/// Looks for what there is of each, one after the other.
fn look(vault: &Vault, secrets: usize) -> anyhow::Result<Samples> {
    let look = |number| -> anyhow::Result<Duration> {
        let secret = secret(number)?;
        let start = Instant::now();
        anyhow::ensure!(vault.newest(&secret)?.is_some(), "{secret} is not there");
        Ok(start.elapsed())
    };
    Ok(Samples::new((0..secrets).map(look).collect::<Result<_, _>>()?))
}

fn secret(number: usize) -> anyhow::Result<SecretId> {
    Ok(SecretId::Requester(REQUESTER, format!("n{number}").parse()?))
}

const fn metadata() -> Metadata {
    Metadata {
        owner: REQUESTER,
        epoch: 0,
        version: 1,
        transferable: false,
        content_digest: B256::ZERO,
        sealed_digest: B256::repeat_byte(3),
        updated_at: 1_800_000_000,
        size: 0,
    }
}
