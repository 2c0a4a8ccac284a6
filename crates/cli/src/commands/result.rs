//! `sesame task result`.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use age::x25519::Identity;
use alloy::primitives::B256;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use sesame_chain::TaskResult;
use sesame_domain::{TaskId, TaskStatus};
use sesame_enclave::{
    content::Fetcher,
    output::{self, COMPUTED, Counted},
    pack::OUTPUT,
};
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

use crate::{context::Context, failure::Misuse, output::Answer, parse};

/// How often the chain is asked for a result that is waited for.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct ResultArgs {
    /// The task.
    task: TaskId,
    /// The folder to put it into; must not exist yet. Named by the task unless given.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// A file with the age identities that may open the result, one a line. Without it, an encrypted result stays encrypted.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// The largest result to fetch, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 30)]
    max_bytes: u64,
    /// How long to wait for a task that has not ended yet; not at all unless given.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    wait: Option<Duration>,
}

pub(crate) async fn run(args: ResultArgs, context: &Context) -> anyhow::Result<()> {
    let out = args.out.unwrap_or_else(|| args.task.to_string().into());
    if out.exists() {
        let taken = format!("{} is there already", out.display());
        return Err(Misuse::new(taken, "give --out a folder that does not exist yet").into());
    }
    let identities = args.identity.as_deref().map(read_identities).transpose()?;
    let result = result_of(args.task, args.wait.unwrap_or_default(), context).await?;

    let beside = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let draft = tempfile::tempdir_in(beside.unwrap_or(Path::new(".")));
    let draft = draft.with_context(|| format!("cannot write beside {}", out.display()))?;
    let fetched = fetch(&result.uri, draft.path(), args.max_bytes).await;
    let fetched = fetched.with_context(|| format!("cannot fetch the result at {}", result.uri))?;
    let checked = check(&fetched, &result, identities.as_deref(), draft.path())?;
    fs::rename(&checked.folder, &out).with_context(|| format!("cannot write {}", out.display()))?;
    context.output.show(&Answer::Fields(fields(args.task, &result, &checked, &out)));
    Ok(())
}

/// What the chain says of the task's result, as soon as it has one.
async fn result_of(
    task: TaskId,
    patience: Duration,
    context: &Context,
) -> anyhow::Result<TaskResult> {
    let (reader, begun) = (context.reader().await?, Instant::now());
    loop {
        let status = reader.task_status(task).await?;
        let status = status.with_context(|| format!("there is no task {task}"))?;
        if status == TaskStatus::Completed {
            let result = reader.result_of(task).await?;
            return result.with_context(|| format!("the result of task {task} is in no log"));
        }
        let name = status.as_str();
        ensure!(!status.is_final(), "task {task} has no result and gets none: it is {name}");
        if begun.elapsed() >= patience {
            let none = format!("task {task} has no result yet: it is {name}");
            return Err(match patience.is_zero() {
                true => Misuse::new(none, "give --wait 10m to wait for it").into(),
                false => anyhow::anyhow!(none),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn fields(
    task: TaskId,
    result: &TaskResult,
    checked: &Checked,
    out: &Path,
) -> Vec<(&'static str, Value)> {
    vec![
        ("task", json!(task.0)),
        ("digest", json!(result.digest)),
        ("uri", json!(result.uri)),
        ("covers", json!(checked.covers)),
        ("encrypted", json!(checked.encrypted)),
        ("files", json!(checked.files)),
        ("left_out", json!(checked.left_out)),
        ("folder", json!(out.display().to_string())),
    ]
}

/// A result as it lay where the chain says, copied so that it stays what is checked.
#[derive(Debug)]
enum Fetched {
    /// The files of the output folder itself.
    Folder,
    /// A tar of it.
    Tar(PathBuf),
    /// A tar that is encrypted to an age recipient.
    Age(PathBuf),
    /// iExec's encrypted form.
    Zip(PathBuf),
}

async fn fetch(uri: &str, draft: &Path, max_bytes: u64) -> anyhow::Result<Fetched> {
    let url = Url::parse(uri)?;
    let name = url.path().rsplit('/').next().unwrap_or_default();
    let local = (url.scheme() == "file").then(|| url.to_file_path());
    let local = local.transpose().map_err(|()| anyhow::anyhow!("it is on another machine"))?;
    if let Some(folder) = local.as_deref().filter(|path| path.is_dir()) {
        let copy = draft.join("all").join(OUTPUT);
        copy_folder(folder, &copy)?;
        return Ok(Fetched::Folder);
    }
    let kind = match name {
        "result.tar" => Fetched::Tar,
        "result.tar.age" => Fetched::Age,
        "result.zip" => Fetched::Zip,
        _ => bail!("it is neither a folder here nor a file that Sesame's launchers write"),
    };
    let copy = draft.join(name);
    if let Some(path) = local {
        fs::copy(path, &copy)?;
    } else {
        ensure!(matches!(url.scheme(), "http" | "https"), "such an address is not known here");
        let mut file = File::create_new(&copy)?;
        Fetcher::new(&[])?.download(url, max_bytes, &mut file).await?;
    }
    Ok(kind(copy))
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for file in output::files(from)? {
        let copy = to.join(&file);
        fs::create_dir_all(copy.parent().unwrap_or(to))?;
        fs::copy(from.join(&file), copy)?;
    }
    Ok(())
}

/// What the chain's digest vouches for, in a folder of its own.
#[derive(Debug)]
struct Checked {
    folder: PathBuf,
    covers: String,
    encrypted: bool,
    files: usize,
    left_out: usize,
}

fn check(
    fetched: &Fetched,
    result: &TaskResult,
    identities: Option<&[Identity]>,
    draft: &Path,
) -> anyhow::Result<Checked> {
    let all = draft.join("all");
    match fetched {
        Fetched::Folder => keep_counted(&all, result.digest, draft),
        Fetched::Tar(path) => {
            unpack(File::open(path)?, &all)?;
            keep_counted(&all, result.digest, draft)
        }
        Fetched::Age(path) | Fetched::Zip(path) => {
            let whole = sha256(path)? == result.digest;
            let opens = matches!(fetched, Fetched::Age(_));
            let Some(identities) = identities.filter(|_| opens) else {
                ensure!(
                    whole,
                    "the result is encrypted, and its SHA-256 is not the digest on the chain; if the digest is of callback data, it can be checked with --identity alone"
                );
                return keep_sealed(path, draft);
            };
            unpack(open(path, identities)?, &all)?;
            if whole { keep_all(&all, draft) } else { keep_counted(&all, result.digest, draft) }
        }
    }
}

/// The encrypted file as it is.
fn keep_sealed(path: &Path, draft: &Path) -> anyhow::Result<Checked> {
    let folder = draft.join("kept");
    fs::create_dir(&folder)?;
    fs::rename(path, folder.join(path.file_name().unwrap_or_default()))?;
    let covers = "the encrypted file".to_owned();
    Ok(Checked { folder, covers, encrypted: true, files: 1, left_out: 0 })
}

/// All that was in an encrypted file which is the one on the chain.
fn keep_all(all: &Path, draft: &Path) -> anyhow::Result<Checked> {
    let folder = draft.join("kept");
    let files = output::files(all)?.len();
    fs::rename(all, &folder)?;
    let covers = "everything".to_owned();
    Ok(Checked { folder, covers, encrypted: false, files, left_out: 0 })
}

/// What of the output has the digest on the chain; the rest could be anybody's.
fn keep_counted(all: &Path, digest: B256, draft: &Path) -> anyhow::Result<Checked> {
    let put_out = all.join(OUTPUT);
    fs::create_dir_all(&put_out)?;
    let counted = Counted::with_digest(&put_out, digest)?;
    let counted = counted.context("nothing in the result has the digest that is on the chain")?;
    let before = output::files(all)?.len();
    let folder = draft.join("kept");
    let kept = folder.join(OUTPUT);
    let covers = match &counted {
        Counted::Folder => "everything".to_owned(),
        Counted::Path(path) if path.as_os_str().is_empty() => "everything".to_owned(),
        Counted::Path(path) => path.display().to_string(),
        Counted::Callback(_) => "callback data".to_owned(),
    };
    match counted {
        Counted::Folder => move_to(&put_out, &kept)?,
        Counted::Path(path) => move_to(&put_out.join(&path), &kept.join(&path))?,
        Counted::Callback(data) => {
            fs::create_dir_all(&kept)?;
            let computed = json!({"callback-data": data}).to_string();
            fs::write(kept.join(COMPUTED), computed)?;
        }
    }
    let files = output::files(&folder)?.len();
    let left_out = before.saturating_sub(files);
    Ok(Checked { folder, covers, encrypted: false, files, left_out })
}

fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    // A path of no components ends in a slash.
    fs::rename(from.components().as_path(), to.components().as_path())
}

fn sha256(path: &Path) -> io::Result<B256> {
    let mut digest = Sha256::new();
    io::copy(&mut File::open(path)?, &mut digest)?;
    Ok(B256::from_slice(&digest.finalize()))
}

fn open(path: &Path, identities: &[Identity]) -> anyhow::Result<impl Read + use<>> {
    let sealed = age::Decryptor::new_buffered(io::BufReader::new(File::open(path)?))
        .and_then(|sealed| sealed.decrypt(identities.iter().map(|identity| identity as _)));
    sealed.context("the result does not open with this identity")
}

/// Writes the files of a tar below `into`: plain names alone, nothing twice, nothing that is no file.
fn unpack(tar: impl Read, into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into)?;
    let mut tar = tar::Archive::new(tar);
    for entry in tar.entries()? {
        let mut entry = entry.context("the result's archive is damaged")?;
        let name = entry.path()?.into_owned();
        let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            plain && entry.header().entry_type().is_file(),
            "the result's archive holds {}, which is no plain file inside it",
            name.display()
        );
        let path = into.join(&name);
        fs::create_dir_all(path.parent().unwrap_or(into))?;
        let mut file =
            File::create_new(&path).with_context(|| format!("cannot unpack {}", name.display()))?;
        io::copy(&mut entry, &mut file).context("the result's archive is damaged")?;
    }
    // Only at its end does an encrypted stream say that it is whole.
    io::copy(&mut tar.into_inner(), &mut io::sink()).context("the result's archive is damaged")?;
    Ok(())
}

fn read_identities(path: &Path) -> anyhow::Result<Vec<Identity>> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let identities: Vec<_> = lines.map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
    if identities.is_empty() {
        let wrong = format!("{} holds no age identities", path.display());
        return Err(
            Misuse::new(wrong, "one a line, AGE-SECRET-KEY-1…, as age-keygen writes them").into()
        );
    }
    Ok(identities)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, keccak256};
    use sesame_enclave::{
        pack::Package,
        seal::{ResultKey, in_the_clear},
    };
    use tempfile::TempDir;

    use super::*;

    const PATH: &str = r#"{"deterministic-output-path":"/dev/shm/sesame-1/out/table/rows"}"#;
    const CALLBACK: &str = r#"{"callback-data":"0x07"}"#;

    /// What an app put out.
    struct Put {
        folder: TempDir,
        digest: B256,
    }

    impl Put {
        fn out(computed: Option<&str>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("out");
            fs::create_dir_all(out.join("table")).unwrap();
            fs::write(out.join("table/rows"), "one").unwrap();
            fs::write(out.join("more"), "two").unwrap();
            fs::write(folder.path().join("said"), "three").unwrap();
            if let Some(computed) = computed {
                fs::write(out.join(COMPUTED), computed).unwrap();
            }
            let seen = Path::new("/dev/shm/sesame-1/out");
            let digest = Counted::find(&out, seen).unwrap().digest(&out).unwrap();
            Self { folder, digest }
        }

        fn package(&self) -> Package {
            let said = ("stdout.txt", self.folder.path().join("said"));
            Package::of(&self.folder.path().join("out"), &[said]).unwrap()
        }

        fn uri(&self, name: &str) -> String {
            Url::from_file_path(self.folder.path().join(name)).unwrap().into()
        }

        fn sealed(&self, name: &str, key: &str) -> (String, B256) {
            let key: ResultKey = key.parse().unwrap();
            let file = File::create(self.folder.path().join(name)).unwrap();
            (self.uri(name), key.seal(&self.package(), file).unwrap().digest)
        }
    }

    type Found = (String, Vec<PathBuf>, usize);

    async fn get(uri: &str, digest: B256, identity: Option<&Identity>) -> anyhow::Result<Found> {
        let draft = tempfile::tempdir()?;
        let fetched = fetch(uri, draft.path(), 1 << 20).await?;
        let result = TaskResult { digest, uri: uri.to_owned(), enclave_key: Address::ZERO };
        let identities = identity.map(std::slice::from_ref);
        let checked = check(&fetched, &result, identities, draft.path())?;
        Ok((checked.covers, output::files(&checked.folder)?, checked.left_out))
    }

    fn paths(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    async fn refused(uri: &str, digest: B256, identity: Option<&Identity>) -> String {
        format!("{:#}", get(uri, digest, identity).await.unwrap_err())
    }

    #[tokio::test]
    async fn what_the_digest_covers_is_kept_and_nothing_else() {
        for (computed, covers, kept, left_out) in [
            (None, "everything", vec!["iexec_out/more", "iexec_out/table/rows"], 0),
            (Some(PATH), "table/rows", vec!["iexec_out/table/rows"], 2),
            (Some(CALLBACK), "callback data", vec!["iexec_out/computed.json"], 2),
        ] {
            let put = Put::out(computed);
            let expected = (covers.to_owned(), paths(&kept), left_out);
            assert_eq!(get(&put.uri("out"), put.digest, None).await.unwrap(), expected);
            let file = File::create(put.folder.path().join("result.tar")).unwrap();
            in_the_clear(&Package::of(&put.folder.path().join("out"), &[]).unwrap(), file).unwrap();
            assert_eq!(get(&put.uri("result.tar"), put.digest, None).await.unwrap(), expected);

            for uri in [put.uri("out"), put.uri("result.tar")] {
                let other = refused(&uri, B256::ZERO, None).await;
                assert!(other.contains("nothing in the result has the digest"), "{other}");
            }
        }
    }

    #[tokio::test]
    async fn an_encrypted_result_opens_with_its_identity_alone() {
        let (put, identity) = (Put::out(Some(PATH)), Identity::generate());
        let (uri, digest) = put.sealed("result.tar.age", &identity.to_public().to_string());
        let all = ["computed.json", "more", "table/rows"].map(|name| format!("iexec_out/{name}"));
        let all: Vec<_> = all.iter().map(PathBuf::from).chain(paths(&["stdout.txt"])).collect();
        let opened = get(&uri, digest, Some(&identity)).await.unwrap();
        assert_eq!(opened, ("everything".to_owned(), all, 0));
        let closed = get(&uri, digest, None).await.unwrap();
        assert_eq!(closed.1, paths(&["result.tar.age"]));

        let other = refused(&uri, digest, Some(&Identity::generate())).await;
        assert!(other.contains("does not open with this identity"), "{other}");
        let unchecked = refused(&uri, B256::ZERO, None).await;
        assert!(unchecked.contains("not the digest on the chain"), "{unchecked}");
        // Whoever knows the recipient can encrypt to it: that it opens proves nothing.
        let forged = refused(&uri, B256::ZERO, Some(&identity)).await;
        assert!(forged.contains("nothing in the result has the digest"), "{forged}");
    }

    #[tokio::test]
    async fn callback_data_is_checked_inside_an_encrypted_result() {
        let (put, identity) = (Put::out(Some(CALLBACK)), Identity::generate());
        let (uri, _) = put.sealed("result.tar.age", &identity.to_public().to_string());
        let (covers, files, _) = get(&uri, keccak256([7]), Some(&identity)).await.unwrap();
        assert_eq!(
            (covers.as_str(), files),
            ("callback data", paths(&["iexec_out/computed.json"]))
        );
        assert!(refused(&uri, keccak256([7]), None).await.contains("--identity"));
    }

    #[tokio::test]
    async fn a_place_that_no_launcher_writes_is_refused() {
        for (uri, why) in [
            ("nowhere", "relative URL"),
            ("file://elsewhere/out", "another machine"),
            ("ftp://x/result.tar", "not known here"),
            ("https://x/index.html", "neither a folder here nor a file"),
            ("file:///nowhere/at/all/result.tar", "No such file"),
        ] {
            let error = refused(uri, B256::ZERO, None).await;
            assert!(error.contains(why), "{uri}: {error}");
        }
    }

    #[test]
    fn an_archive_writes_nothing_but_plain_files_inside() {
        let folder = tempfile::tempdir().unwrap();
        let tar = |name: &str, kind: tar::EntryType| {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o644);
            header.set_cksum();
            let mut tar = tar::Builder::new(Vec::new());
            tar.append(&header, io::empty()).unwrap();
            tar.append(&header, io::empty()).unwrap();
            tar.into_inner().unwrap()
        };
        for (n, (name, kind)) in [
            ("../out", tar::EntryType::Regular),
            ("/etc/out", tar::EntryType::Regular),
            ("a/../../out", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("link", tar::EntryType::Link),
            ("pipe", tar::EntryType::Fifo),
            ("folder", tar::EntryType::Directory),
        ]
        .into_iter()
        .enumerate()
        {
            let error = unpack(tar(name, kind).as_slice(), &folder.path().join(n.to_string()));
            let error = format!("{:#}", error.unwrap_err());
            assert!(error.contains("no plain file inside it"), "{name}: {error}");
        }
        let twice =
            unpack(tar("same", tar::EntryType::Regular).as_slice(), &folder.path().join("x"));
        assert!(format!("{:#}", twice.unwrap_err()).contains("cannot unpack same"));
        assert!(!folder.path().join("out").exists());
    }

    #[test]
    fn identities_come_from_a_file_that_holds_them() {
        use age::secrecy::ExposeSecret;

        let file = tempfile::NamedTempFile::new().unwrap();
        let identity = Identity::generate();
        let line = identity.to_string();
        let text = format!("# created: today\n\n{}\n", line.expose_secret());
        fs::write(file.path(), text).unwrap();
        assert_eq!(read_identities(file.path()).unwrap().len(), 1);
        for bad in ["", "# nothing", "age1x", &format!("{}\nmore", line.expose_secret())] {
            fs::write(file.path(), bad).unwrap();
            let error = format!("{:#}", read_identities(file.path()).err().unwrap());
            assert!(!error.contains("SECRET"), "{error}");
        }
    }
}
