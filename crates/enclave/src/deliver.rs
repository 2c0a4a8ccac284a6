//! From what an app put out to a result: its digest, and where it lies.
//!
//! | the order | the result | its digest |
//! | --- | --- | --- |
//! | names no key | the output folder; as `result.tar` where it is sent away | that of what counts in the folder, see [`crate::output`] |
//! | names a key | one encrypted file, see [`crate::seal`] | SHA-256 of that file, so that anybody can check it, and nobody can guess at what is in it |
//! | names a key, and the app put out callback data | the same | Keccak-256 of the callback data, which is for everybody |

use std::{fs::OpenOptions, io::BufWriter, os::unix::fs::OpenOptionsExt, path::Path};

use alloy_primitives::B256;
use sesame_domain::TaskId;
use tokio::time::Instant;
use url::Url;

use crate::{
    HostOptions, LaunchError, Prepared,
    app::LOGS,
    output::Counted,
    pack::Package,
    prepare::output_folder,
    seal::{Written, in_the_clear},
    store::Store,
};

/// What a result is called that is sent away in the clear.
const IN_THE_CLEAR: &str = "result.tar";

/// A result that lies where it should.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) digest: B256,
    pub(crate) uri: Url,
}

/// Digests, encrypts and sends away what the app put out, as the order and the operator say. What was prepared is gone then.
pub(crate) async fn deliver(
    task: TaskId,
    prepared: Prepared,
    options: &HostOptions,
    work_dir: &Path,
    until: Instant,
) -> Result<Delivered, LaunchError> {
    let counted = Counted::find(&prepared.folders.output, &prepared.seen_output)?;
    let store = store(options, prepared.result_proxy.clone())?;
    let Some(key) = prepared.result_key.clone() else {
        let output = prepared.folders.output.clone();
        drop(prepared);
        let digest = counted.digest(&output)?;
        let uri = match store {
            None => file_uri(&output)?,
            Some(store) => {
                let (package, path) = (Package::of(&output, &[])?, work_dir.join(IN_THE_CLEAR));
                let written = write(package, &path, in_the_clear).await?;
                let uri = store.put(task, IN_THE_CLEAR, &path, written, until).await?;
                std::fs::remove_file(&path).map_err(LaunchError::WorkDir)?;
                uri
            }
        };
        return Ok(Delivered { digest, uri });
    };
    let said = LOGS.map(|name| (name, prepared.logs.join(name)));
    let package = Package::of(&prepared.folders.output, &said)?;
    let (name, folder) = (key.file_name(), output_folder(work_dir).map_err(LaunchError::WorkDir)?);
    let path = folder.join(name);
    let written = write(package, &path, move |package, out| key.seal(package, out)).await?;
    let digest = match counted {
        Counted::Callback(_) => counted.digest(&prepared.folders.output)?,
        Counted::Folder | Counted::Path(_) => written.digest,
    };
    drop(prepared);
    let uri = match store {
        None => file_uri(&path)?,
        Some(store) => store.put(task, name, &path, written, until).await?,
    };
    Ok(Delivered { digest, uri })
}

/// Where results are sent: to the requester's own address if the operator allows it, else to the operator's, if there is one. What
/// authorizes to the operator's goes nowhere else.
fn store(options: &HostOptions, proxy: Option<Url>) -> Result<Option<Store>, LaunchError> {
    let proxy = proxy.filter(|_| options.allow_result_proxy);
    let store = match (proxy, &options.result_url) {
        (Some(proxy), _) => Store::at(proxy, None)?,
        (None, Some(url)) => Store::at(url.clone(), options.result_authorization.as_deref())?,
        (None, None) => return Ok(None),
    };
    Ok(Some(store))
}

/// Writes a package to a new file, in a thread that ends when nobody waits for it any more.
async fn write(
    package: Package,
    path: &Path,
    into: impl FnOnce(&Package, BufWriter<std::fs::File>) -> std::io::Result<Written> + Send + 'static,
) -> Result<Written, LaunchError> {
    let _wanted = package.wanted();
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let out = BufWriter::with_capacity(1 << 16, file.map_err(LaunchError::WorkDir)?);
    let written = tokio::task::spawn_blocking(move || into(&package, out)).await;
    let written = written.map_err(|error| LaunchError::Pack(error.into()))?;
    written.map_err(LaunchError::pack)
}

fn file_uri(path: &Path) -> Result<Url, LaunchError> {
    let relative = |()| LaunchError::WorkDir(std::io::ErrorKind::InvalidInput.into());
    Url::from_file_path(path).map_err(relative)
}
