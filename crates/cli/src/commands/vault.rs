//! `sesame vault`: the secrets and keys of a service, looked after, whether it runs or not.

use std::{
    fs::File,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sesame_protocol::operator::{BackedUp, Checked, KeyRotated, SealingKeyRotated};
use sesame_sms::vault::{Backup, Change, KeyId, Restored, Upkeep};
use tempfile::NamedTempFile;

use super::hsm::HsmArgs;
use crate::{context::Context, database::DatabaseArgs, iexec::FamilyArgs, output::Answer};

/// How often a person is told how far it is.
const TOLD: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Read every record again and authenticate it.
    #[command(after_help = "\
Example:
  sesame vault check --data-dir /var/lib/sesame

Exit code 2 when anything is damaged; it is named by its secret and version. No value is shown or kept.")]
    Check(VaultArgs),
    /// Make a new key-encryption key; no value is touched.
    #[command(after_help = "\
Example:
  sesame vault rotate-key --data-dir /var/lib/sesame

Killed in the middle, the vault opens all the same, as long as both keys are kept; run it again to finish. The key before stays
where it is: older copies of the vault open with it alone. Move it away when you keep none.

A key moves into an HSM with the options that name one, and out again with --leave-hsm. A service that runs has been started with
these options itself; then they are not needed here:
  sesame serve … --hsm-module /usr/lib/softhsm/libsofthsm2.so --hsm-token sesame --hsm-pin-file pin
  sesame vault rotate-key --data-dir /var/lib/sesame")]
    RotateKey(RotateArgs),
    /// Make a key-encryption key and use it for nothing yet.
    #[command(after_help = "\
Example:
  sesame vault make-key --data-dir /var/lib/sesame
  (copy keys/vault-<name>.key to every replica)
  sesame vault rotate-key --to <name> --data-dir /var/lib/sesame")]
    MakeKey(VaultArgs),
    /// Make another key for owners to seal to.
    #[command(after_help = "\
Example:
  sesame vault rotate-sealing-key --data-dir /var/lib/sesame
  sesame vault rotate-sealing-key --overlap-h 0        # the key was stolen

Owners ask for the key before they seal, so they notice nothing. Keys of before stay in /v1/keys as a record. An owner's client
refuses an answer of /v1/keys that is older than a day: that is how long a stolen key can be shown to owners after all.")]
    RotateSealingKey(RotateSealingArgs),
    /// Write everything that the vault holds into one encrypted file; a service that runs goes on meanwhile.
    #[command(after_help = "\
Examples:
  sesame vault backup --data-dir /var/lib/sesame --out vault-2031-01-31.backup
  sesame vault backup --data-dir /var/lib/sesame --out - | ssh elsewhere 'cat > vault.backup'

What to keep where: a backup opens with the vault's key-encryption key alone, which is not in it, so it may lie wherever it is not
lost. Keep keys/ apart from it, offline, in two places. It rarely changes; after rotate-key, keep the key of before for as long as
backups that were made under it. receipts.log is a file to copy as it is; index/ is made again from the chain.

A drill, every now and then, on another machine: put keys/ into an empty data folder, then
  sesame vault restore vault-2031-01-31.backup --data-dir drill --dry-run
reads every record as a restore would. A backup that was never restored is a hope.")]
    Backup(BackupArgs),
    /// Put a backup in the place of the vault; the service must be stopped.
    #[command(after_help = "\
Examples:
  sesame vault restore vault.backup --data-dir /var/lib/sesame --dry-run     # only verify it, to its end
  sesame vault restore vault.backup --data-dir /var/lib/sesame

Put keys/ back first: a backup holds no keys. Everything is verified before anything is changed: the file to its end, and that every
record opens. Killed at any moment, the vault is the one before or the restored one; run it again, and it goes on.

Secrets that were pushed or removed after the backup are lost, and their versions fall: owners have to push them again. A vault that
holds anything else is replaced with --replace alone; without it, the refusal says what would be lost. The vault that was replaced
is kept beside the new one as vault.before until you remove it.")]
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// The file to write, readable by you alone; one that is there stays. `-` is the standard output.
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    vault: VaultArgs,
    /// Only verify the backup, and change nothing.
    #[arg(long, conflicts_with = "replace")]
    dry_run: bool,
    /// Replace the vault that is there, even if it is newer.
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    /// The service's data folder. A service that runs does the work itself; be the user that it runs as.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data_dir: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    hsm: HsmArgs,
    #[command(flatten)]
    family: FamilyArgs,
}

impl VaultArgs {
    fn upkeep(&self, context: &Context) -> anyhow::Result<Upkeep> {
        Ok(Upkeep {
            places: self.hsm.within(self.database.places(&self.data_dir)?),
            data_dir: self.data_dir.clone(),
            followed: self.family.followed(context)?,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// The key to change to, as `make-key` printed it; a new one by default.
    #[arg(long, value_name = "KEY")]
    to: Option<KeyId>,
}

#[derive(Debug, Args)]
pub(crate) struct RotateSealingArgs {
    #[command(flatten)]
    vault: VaultArgs,
    /// For how long the key before still opens what was sealed to it, in hours; 0 if it was stolen: then what is on its way has to
    /// be sealed again.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    overlap_h: u64,
}

/// Runs the command; gives the exit code.
pub(crate) async fn run(command: VaultCommand, context: &Context) -> anyhow::Result<u8> {
    match command {
        VaultCommand::Check(args) => check(&args, context).await,
        VaultCommand::RotateKey(args) => rotate_key(&args, context).await,
        VaultCommand::MakeKey(args) => make_key(&args, context).await,
        VaultCommand::RotateSealingKey(args) => rotate_sealing_key(&args, context).await,
        VaultCommand::Backup(args) => backup(&args, context).await,
        VaultCommand::Restore(args) => restore(args, context).await,
    }
}

async fn check(args: &VaultArgs, context: &Context) -> anyhow::Result<u8> {
    let checked = args.upkeep(context)?.check(told_now_and_then(context)).await;
    let Checked { records, bytes, tombstones, damaged } =
        checked.context("cannot check the vault")?;
    context.output.show(&Answer::Fields(vec![
        ("records", json!(records)),
        ("bytes", json!(bytes)),
        ("tombstones", json!(tombstones)),
        ("damaged", json!(damaged)),
    ]));
    Ok(if damaged.is_empty() { 0 } else { 2 })
}

async fn rotate_key(args: &RotateArgs, context: &Context) -> anyhow::Result<u8> {
    let rotated = args.vault.upkeep(context)?.rotate_key(args.to, told_now_and_then(context)).await;
    let KeyRotated { records, key } = rotated.context("cannot change the vault's key")?;
    context.output.show(&Answer::Fields(vec![("records", json!(records)), ("key", json!(key))]));
    Ok(0)
}

async fn make_key(args: &VaultArgs, context: &Context) -> anyhow::Result<u8> {
    let made = args.upkeep(context)?.make_key().await.context("cannot make a key")?;
    context.output.show(&Answer::Fields(vec![("key", json!(made.key))]));
    Ok(0)
}

async fn rotate_sealing_key(args: &RotateSealingArgs, context: &Context) -> anyhow::Result<u8> {
    let overlap = args.overlap_h.saturating_mul(60 * 60);
    let rotated = args.vault.upkeep(context)?.rotate_sealing_key(overlap).await;
    let SealingKeyRotated { key, issued_at } = rotated.context("cannot change the sealing key")?;
    context.output.show(&Answer::Fields(vec![("key", json!(key)), ("issuedAt", json!(issued_at))]));
    Ok(0)
}

async fn backup(args: &BackupArgs, context: &Context) -> anyhow::Result<u8> {
    let (upkeep, progress) = (args.vault.upkeep(context)?, told_now_and_then(context));
    if args.out == Path::new("-") {
        let terminal = io::stdout().is_terminal();
        anyhow::ensure!(!terminal, "a backup is no text: say --out FILE, or a pipe");
        let taken = upkeep.backup(io::stdout(), progress).await.context("cannot take a backup")?;
        let keys = taken.keys.join(", ");
        context.output.note(&format!("{} records; it takes the keys {keys}", taken.records));
        return Ok(0);
    }
    let draft = Draft::beside(&args.out)?;
    let taken = upkeep.backup(draft.file()?, progress).await.context("cannot take a backup")?;
    draft.keep()?;
    let BackedUp { created_at, records, bytes, tombstones, keys } = taken;
    context.output.show(&Answer::Fields(vec![
        ("file", json!(args.out)),
        ("created_at", json!(created_at)),
        ("records", json!(records)),
        ("bytes", json!(bytes)),
        ("tombstones", json!(tombstones)),
        ("keys", json!(keys)),
    ]));
    Ok(0)
}

/// A file that is made beside the one that it will be, for its owner alone, and is gone if it never is.
struct Draft {
    draft: NamedTempFile,
    file: PathBuf,
}

impl Draft {
    fn beside(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        anyhow::ensure!(!file.exists(), "{shown} is there already: a backup overwrites nothing");
        let mut draft = tempfile::Builder::new();
        let draft = draft.prefix(".backup-").suffix(".draft").tempfile_in(folder_of(file));
        let draft = draft.with_context(|| format!("cannot write beside {shown}"))?;
        Ok(Self { draft, file: file.to_owned() })
    }

    fn file(&self) -> anyhow::Result<File> {
        self.draft.as_file().try_clone().context("cannot write the backup")
    }

    /// Durable before it has its name.
    fn keep(self) -> anyhow::Result<()> {
        let Self { draft, file } = self;
        draft.as_file().sync_all().context("cannot write the backup")?;
        let kept = draft.persist_noclobber(&file);
        kept.with_context(|| format!("cannot name the backup {}", file.display()))?;
        let folder = File::open(folder_of(&file)).and_then(|folder| folder.sync_all());
        folder.context("cannot write the backup")
    }
}

fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

async fn restore(args: RestoreArgs, context: &Context) -> anyhow::Result<u8> {
    let change = match (args.dry_run, args.replace) {
        (true, _) => Change::Nothing,
        (false, true) => Change::Replace,
        (false, false) => Change::Make,
    };
    let upkeep = args.vault.upkeep(context)?;
    let restored = upkeep.restore(args.file, change, told_now_and_then(context)).await;
    let restored = restored.context("cannot restore the backup")?;
    let (done, Backup { created_at, keys, contents }) = match &restored {
        Restored::Unchanged(backup) if change == Change::Nothing => ("verified", backup),
        Restored::Unchanged(backup) => ("unchanged", backup),
        Restored::Made(backup) => ("restored", backup),
        Restored::Replaced { backup, .. } => ("replaced", backup),
    };
    let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
    let mut fields = vec![
        ("done", json!(done)),
        ("created_at", json!(created_at)),
        ("records", json!(contents.records)),
        ("bytes", json!(contents.bytes)),
        ("tombstones", json!(contents.tombstones)),
        ("keys", json!(keys)),
    ];
    if let Restored::Replaced { there, aside, .. } = &restored {
        fields.extend([("lost", json!(there.lost)), ("before", json!(aside))]);
    }
    context.output.show(&Answer::Fields(fields));
    Ok(0)
}

/// Tells a person how far it is, every now and then.
fn told_now_and_then(context: &Context) -> impl FnMut(u64) + Send + 'static {
    let (output, mut told) = (context.output, Instant::now());
    move |records| {
        if told.elapsed() >= TOLD {
            output.note(&format!("{records} records so far"));
            told = Instant::now();
        }
    }
}
