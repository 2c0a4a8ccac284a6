//! From a bundle to what the app sees: decrypted data, environment, arguments.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Seek},
    path::Path,
    time::Duration,
};

use rustix::fs::MemfdFlags;
use sesame_domain::{AssetId, AssetSnapshot, Resource};
use sesame_protocol::bundle::{Bundle, BundledSecret};
use zeroize::Zeroizing;

use crate::{
    LaunchError,
    content::{self, ContentError},
    decrypt::decrypt,
    environment::{Environment, Facts, Secret},
    params::{InputFile, Params},
    scratch::{Scratch, new_file},
};

/// No protected data and no input file is larger.
const MAX_CONTENT: u64 = 1 << 30;

/// How long to wait before a server is asked again.
const PAUSE: Duration = Duration::from_secs(2);

/// All that the app sees.
#[derive(Debug)]
pub struct Prepared {
    /// Its environment.
    pub environment: Environment,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where it starts.
    pub home: std::path::PathBuf,
    /// The memory that holds it all, until it is dropped.
    pub scratch: Scratch,
}

/// Decrypts protected data into memory and builds the app's environment.
///
/// # Errors
/// When data cannot be had, is not the registered one, or does not open with the key that its owner pushed.
pub async fn prepare(bundle: &Bundle, output: &Path) -> Result<Prepared, LaunchError> {
    let scratch = Scratch::create()?;
    let (input, secrets, home) =
        (scratch.folder("in")?, scratch.folder("secrets")?, scratch.folder("home")?);
    let http = content::http().map_err(|source| LaunchError::Content { n: 0, source })?;
    let params = Params::parse(&bundle.order.params)?;
    let input_files = fetch_inputs(&http, &params.input_files, &input).await?;
    let mut data = Vec::new();
    for ((asset, snapshot), n) in bundle.order.data.iter().zip(&bundle.data).zip(1..) {
        let key = bundle
            .secrets
            .iter()
            .find(|secret| secret.resource == Resource::ProtectedData(n))
            .ok_or(LaunchError::KeyMissing { n })?;
        let name = file_name(*asset);
        let encrypted = fetch(&http, snapshot, n).await?;
        let mut plain = new_file(&input.join(&name)).map_err(LaunchError::Memory)?;
        decrypt(&key.value, encrypted, &mut plain)
            .map_err(|source| LaunchError::Decrypt { n, source })?;
        data.push(name);
    }
    let facts = Facts {
        task: bundle.task,
        app: bundle.order.app,
        input,
        output: output.to_owned(),
        home: home.clone(),
        input_files,
        data,
    };
    let mut environment = Environment::new(&facts);
    environment
        .add_secrets(&secrets, &app_secrets(&bundle.secrets))
        .map_err(LaunchError::Memory)?;
    Ok(Prepared { environment, args: params.args, home, scratch })
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
    http: &reqwest::Client,
    files: &[InputFile],
    input: &Path,
) -> Result<Vec<String>, LaunchError> {
    for (InputFile { url, name }, n) in files.iter().zip(1..) {
        let path = input.join(name);
        while !path.exists() {
            let draft = input.join("draft");
            let mut file = new_file(&draft).map_err(LaunchError::Memory)?;
            let fetched = content::download(http, url.clone(), MAX_CONTENT, &mut file).await;
            let kept = match &fetched {
                Ok(_) => fs::rename(&draft, &path),
                Err(_) => fs::remove_file(&draft),
            };
            kept.map_err(LaunchError::Memory)?;
            match fetched {
                Ok(_) => {}
                // The caller's time limit ends this.
                Err(error) if error.is_retryable() => tokio::time::sleep(PAUSE).await,
                Err(source) => return Err(LaunchError::InputFile { n, source }),
            }
        }
    }
    Ok(files.iter().map(|file| file.name.clone()).collect())
}

/// Fetches encrypted content into memory that nobody else sees, so that it stays what was checked.
async fn fetch(
    http: &reqwest::Client,
    snapshot: &AssetSnapshot,
    n: u32,
) -> Result<File, LaunchError> {
    loop {
        let mut memory = memory().map_err(LaunchError::Memory)?;
        let fetched =
            content::fetch(http, &snapshot.uri, snapshot.digest, MAX_CONTENT, &mut memory).await;
        match fetched {
            Ok(_) => {
                memory.rewind().map_err(LaunchError::Memory)?;
                return Ok(memory);
            }
            // The caller's time limit ends this.
            Err(error) if ContentError::is_retryable(&error) => tokio::time::sleep(PAUSE).await,
            Err(source) => return Err(LaunchError::Content { n, source }),
        }
    }
}

fn memory() -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("content", MemfdFlags::CLOEXEC)?))
}

/// A protected data's name in the input folder: its id.
fn file_name(asset: AssetId) -> String {
    asset.to_string()
}
