//! From a bundle to what the app sees: decrypted data, environment, arguments.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::Rng;
use sesame_domain::{AssetId, AssetSnapshot, Resource};
use sesame_protocol::bundle::{Bundle, BundledSecret};
use zeroize::Zeroizing;

use crate::{
    LaunchError,
    content::{Ciphertext, ContentError, Fetcher},
    decrypt::decrypt_checked,
    environment::{Environment, Facts, Secret},
    harden::Kernel,
    host::HostOptions,
    params::{InputFile, Params},
    sandbox::{Folders, Sandbox},
    scratch::{self, Scratch, new_file},
    seal::ResultKey,
};

/// The longest pause before a server is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// All that the app sees.
#[derive(Debug)]
pub struct Prepared {
    /// Its environment.
    pub environment: Environment,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What it finds as files.
    pub secrets: Vec<Secret>,
    /// Its folders, as they are outside of its sandbox; its output is in memory if that will be encrypted.
    pub folders: Folders,
    /// Where it sees its output.
    pub seen_output: PathBuf,
    /// Whether it may open network connections.
    pub network: bool,
    /// Where what it says goes: in memory, too, if its output does.
    pub logs: PathBuf,
    /// Whom its output will be encrypted to.
    pub result_key: Option<ResultKey>,
    /// Where the requester wants the result.
    pub result_proxy: Option<url::Url>,
    /// The memory that holds it all, until it is dropped.
    pub scratch: Scratch,
}

/// Decrypts protected data into memory and builds the app's environment.
///
/// # Errors
/// When data cannot be had, is not the registered one, or does not open with the key that its owner pushed; when an input file
/// cannot be had; when the params ask for what cannot be given; when there is no room.
pub async fn prepare(
    bundle: &Bundle,
    options: &HostOptions,
    (kernel, sandbox): (Kernel, &Sandbox),
    work_dir: &Path,
) -> Result<Prepared, LaunchError> {
    let params = Params::parse(&bundle.order.params)?;
    params.check(&bundle.order.grants, options.allow_network)?;
    let scratch = Scratch::create(kernel)?;
    let (output, logs) = if params.result_key.is_some() {
        (scratch.folder("out")?, scratch.folder("logs")?)
    } else {
        (output_folder(work_dir).map_err(LaunchError::WorkDir)?, work_dir.to_owned())
    };
    let folders = Folders {
        input: scratch.folder("in")?,
        output,
        home: scratch.folder("home")?,
        secrets: scratch.folder("secrets")?,
    };
    let fetcher = Fetcher::new(&options.ipfs_gateways);
    let fetcher = fetcher.map_err(|source| LaunchError::Content { n: 0, source })?;
    let input_files = fetch_inputs(&fetcher, &params.input_files, options, &folders.input).await?;
    let mut data = Vec::new();
    for ((asset, snapshot), n) in bundle.order.data.iter().zip(&bundle.data).zip(1..) {
        let key = bundle
            .secrets
            .iter()
            .find(|secret| secret.resource == Resource::ProtectedData(n))
            .ok_or(LaunchError::KeyMissing { n })?;
        let name = file_name(*asset);
        let encrypted = fetch(&fetcher, snapshot, options, work_dir, n).await?;
        let mut plain = new_file(&folders.input.join(&name)).map_err(LaunchError::memory)?;
        decrypt_checked(&key.value, encrypted, &mut plain)
            .await
            .map_err(|source| LaunchError::decrypt(n, source))?;
        data.push(name);
    }
    let facts = Facts {
        task: bundle.task,
        app: bundle.order.app,
        folders: sandbox.seen(&folders),
        input_files,
        data,
    };
    let mut environment = Environment::new(&facts);
    let secrets = app_secrets(&bundle.secrets);
    environment.add_secrets(&facts.folders.secrets, &secrets);
    let seen_output = facts.folders.output;
    let Params { args, network, result_key, result_proxy, .. } = params;
    Ok(Prepared {
        environment,
        args,
        secrets,
        folders,
        seen_output,
        network,
        logs,
        result_key,
        result_proxy,
        scratch,
    })
}

/// A new, empty folder for results on the host's disk.
pub(crate) fn output_folder(work_dir: &Path) -> io::Result<PathBuf> {
    let output = work_dir.join("out");
    scratch::remove(&output)?;
    fs::DirBuilder::new().mode(0o700).create(&output)?;
    Ok(output)
}

/// The variables of the secrets that apps see. Keys of protected data are the launcher's own.
fn app_secrets(secrets: &[BundledSecret]) -> Vec<Secret> {
    let named = |variable: &str, value: &Zeroizing<Vec<u8>>| Secret {
        variable: variable.to_owned(),
        value: value.clone(),
    };
    let mut variables = Vec::new();
    for BundledSecret { resource, value, .. } in secrets {
        match resource {
            Resource::AppSecret => {
                variables.push(named("IEXEC_APP_DEVELOPER_SECRET", value));
                variables.push(named("IEXEC_APP_DEVELOPER_SECRET_1", value));
            }
            Resource::RequesterSecret(i) => {
                variables.push(named(&format!("IEXEC_REQUESTER_SECRET_{i}"), value));
            }
            Resource::Bundle | Resource::ProtectedData(_) => {}
        }
    }
    variables
}

/// Fetches public files into the input folder, each address once. Gives their names.
async fn fetch_inputs(
    fetcher: &Fetcher,
    files: &[InputFile],
    options: &HostOptions,
    input: &Path,
) -> Result<Vec<String>, LaunchError> {
    for (file, n) in files.iter().zip(1..) {
        let path = input.join(&file.name);
        if !path.exists() {
            let limit = options.input_time;
            let fetched = tokio::time::timeout(limit, fetch_input(fetcher, file, options, &path));
            let fetched = fetched.await.unwrap_or(Err(ContentError::Slow { limit }));
            fetched.map_err(|source| LaunchError::input_file(n, source))?;
        }
    }
    Ok(files.iter().map(|file| file.name.clone()).collect())
}

/// Tries until the caller's time limit.
async fn fetch_input(
    fetcher: &Fetcher,
    file: &InputFile,
    options: &HostOptions,
    path: &Path,
) -> Result<(), ContentError> {
    let mut sink = new_file(path).map_err(ContentError::Keep)?;
    let mut attempts = 0;
    loop {
        match fetcher.download(file.url.clone(), options.max_input, &mut sink).await {
            Err(error) if error.is_retryable() => pause(&mut attempts).await,
            ended => return ended.map(drop),
        }
    }
}

/// Has encrypted content at hand, checked. Tries until the caller's time limit.
async fn fetch(
    fetcher: &Fetcher,
    snapshot: &AssetSnapshot,
    options: &HostOptions,
    folder: &Path,
    n: u32,
) -> Result<Ciphertext, LaunchError> {
    let AssetSnapshot { uri, digest, .. } = snapshot;
    let mut attempts = 0;
    loop {
        match fetcher.ciphertext(uri, *digest, options.max_content, folder).await {
            Err(error) if error.is_retryable() => pause(&mut attempts).await,
            ended => return ended.map_err(|source| LaunchError::content(n, source)),
        }
    }
}

/// Waits a second, then two, four and so on up to [`LONGEST_PAUSE`], jittered so that many launchers do not come at once.
async fn pause(attempts: &mut u32) {
    let pause = Duration::from_secs(2_u64.saturating_pow(*attempts)).min(LONGEST_PAUSE);
    *attempts = attempts.saturating_add(1);
    tokio::time::sleep(pause.mul_f64(rand::rng().random_range(0.5..=1.0))).await;
}

/// A protected data's name in the input folder: its id.
fn file_name(asset: AssetId) -> String {
    asset.to_string()
}
