//! The folder of one task: the app's copy while it runs, what it put out, and a result that the chain may not have for good yet.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sesame_domain::TaskId;
use sesame_enclave::scratch;
use sesame_protocol::results::SignedResult;
use tokio::time::{Instant, sleep};

const APP: &str = "app";
const LOG: &str = "launcher.log";
const TEE: &str = "tee";
const OUT: &str = "out";
const RESULT: &str = "result.json";
const NEW_RESULT: &str = "result.json.new";

/// How often to ask whether an earlier run has ended.
const POLL: Duration = Duration::from_millis(50);

/// The folder of one task.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn of(work_dir: &Path, task: TaskId) -> Self {
        Self(work_dir.join(task.to_string()))
    }

    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What the TEE writes to, and all of the folder that it is shown.
    pub(crate) fn tee(&self) -> PathBuf {
        self.0.join(TEE)
    }

    fn out(&self) -> PathBuf {
        self.tee().join(OUT)
    }

    pub(crate) fn app(&self) -> PathBuf {
        self.0.join(APP)
    }

    /// The app's copy, still empty. In a container it is run by another user than this one; here nobody else gets to it.
    pub(crate) fn new_app(&self) -> io::Result<File> {
        let app = OpenOptions::new().write(true).create_new(true).mode(0o700).open(self.app())?;
        app.set_permissions(Permissions::from_mode(0o755))?;
        Ok(app)
    }

    /// Waits until the TEE of an earlier run has ended: it ends by itself when its worker does, but not at that moment. A
    /// TEE holds its log, which is locked for as long.
    ///
    /// # Errors
    /// When it has not ended in this time, or the log cannot be looked at.
    pub(crate) async fn vacated(&self, patience: Duration) -> io::Result<()> {
        let log = match File::open(self.0.join(LOG)) {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let begun = Instant::now();
        loop {
            match log.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(TryLockError::WouldBlock) => sleep(POLL).await,
            }
        }
    }

    /// Removes what an earlier attempt left and makes the folder anew.
    pub(crate) fn renew(&self) -> io::Result<()> {
        scratch::remove(&self.0)?;
        DirBuilder::new().recursive(true).mode(0o700).create(self.tee())?;
        self.0.parent().map_or(Ok(()), sync)
    }

    /// A new file, locked until all have closed it who were given it.
    pub(crate) fn new_file(&self, name: &str) -> io::Result<File> {
        let file = self.create(name)?;
        file.lock()?;
        Ok(file)
    }

    /// A new file: whatever has this name, a link to elsewhere included, is an error.
    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.0.join(name))
    }

    /// The result of an earlier attempt, if it got that far.
    pub(crate) fn result(&self) -> io::Result<Option<SignedResult>> {
        match fs::read(self.0.join(RESULT)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a result so that it outlives this process and a loss of power, with the output that it is about.
    pub(crate) fn keep_result(&self, result: &SignedResult) -> io::Result<()> {
        missing_is_fine(sync_all(&self.out()))?;
        let (new, path) = (self.0.join(NEW_RESULT), self.0.join(RESULT));
        missing_is_fine(fs::remove_file(&new))?;
        let mut file = self.create(NEW_RESULT)?;
        file.write_all(&serde_json::to_vec(result)?)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        sync(&self.0)
    }

    /// Removes what nobody needs once a run has ended: the app's copy, and what is half written.
    pub(crate) fn sweep(&self) {
        for name in [APP, NEW_RESULT] {
            // What cannot be removed now is removed by the next attempt, or by the operator.
            let _ = fs::remove_file(self.0.join(name));
        }
    }

    /// The run gave no result: its logs stay, what it put out does not.
    pub(crate) fn give_up(&self) {
        self.sweep();
        let _ = scratch::remove(&self.out());
    }

    /// The chain has the result for good: its output and its logs stay.
    pub(crate) fn settle(&self) {
        self.sweep();
        let _ = fs::remove_file(self.0.join(RESULT));
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whatever is below a folder reaches the disk. What is neither file nor folder is none of a result.
fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_all(&entry.path())?;
        } else if kind.is_file() {
            sync(&entry.path())?;
        }
    }
    sync(folder)
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    fn result() -> SignedResult {
        SignedResult {
            digest: B256::repeat_byte(7),
            uri: "file:///x".into(),
            key: Default::default(),
            enclave_signature: Default::default(),
            sms_signature: Default::default(),
        }
    }

    #[test]
    fn a_result_survives_and_a_new_attempt_forgets() {
        let work_dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(work_dir.path(), TaskId::default());
        assert_eq!(folder.result().unwrap(), None);
        folder.renew().unwrap();
        fs::create_dir_all(folder.out().join("deep")).unwrap();
        fs::write(folder.out().join("deep/file"), "42").unwrap();
        folder.keep_result(&result()).unwrap();
        let again = Folder::of(work_dir.path(), TaskId::default());
        assert_eq!(again.result().unwrap(), Some(result()));
        fs::write(folder.app(), "app").unwrap();
        fs::write(folder.tee().join("stdout.txt"), "said").unwrap();
        folder.sweep();
        assert!(!folder.app().exists() && folder.tee().join("stdout.txt").exists());
        assert_eq!(folder.result().unwrap(), Some(result()));
        folder.settle();
        assert!(folder.out().join("deep/file").exists());
        assert_eq!(folder.result().unwrap(), None);
        folder.renew().unwrap();
        assert_eq!(fs::read_dir(folder.tee()).unwrap().count(), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_that_waits_for_the_result_is_not_followed() {
        let work_dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(work_dir.path(), TaskId::default());
        folder.renew().unwrap();
        let elsewhere = work_dir.path().join("elsewhere");
        fs::write(&elsewhere, "the host's").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.path().join(NEW_RESULT)).unwrap();
        folder.keep_result(&result()).unwrap();
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "the host's");
        assert_eq!(folder.result().unwrap(), Some(result()));
        std::os::unix::fs::symlink(work_dir.path(), folder.path().join("launcher.log")).unwrap();
        assert!(folder.new_file("launcher.log").is_err());
    }

    #[test]
    fn the_apps_copy_can_be_executed_and_is_shown_to_nobody_else() {
        let work_dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(work_dir.path(), TaskId::default());
        folder.renew().unwrap();
        let mode = |file: File| file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.new_app().unwrap()), 0o755);
        assert_eq!(mode(File::open(folder.path()).unwrap()), 0o700);
        assert_eq!(mode(File::open(folder.tee()).unwrap()), 0o700);
    }

    #[test]
    fn half_a_result_is_none() {
        let work_dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(work_dir.path(), TaskId::default());
        folder.renew().unwrap();
        for half in ["", "{", "{}", "{\"digest\": \"0x07\", \"uri\": \"\"}"] {
            fs::write(folder.path().join("result.json"), half).unwrap();
            assert_eq!(folder.result().unwrap(), None, "{half}");
        }
    }

    #[test]
    fn a_run_without_a_result_leaves_its_logs_alone() {
        let work_dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(work_dir.path(), TaskId::default());
        folder.renew().unwrap();
        fs::create_dir(folder.out()).unwrap();
        fs::write(folder.out().join("partial"), "4").unwrap();
        fs::write(folder.tee().join("stderr.txt"), "said").unwrap();
        folder.give_up();
        assert!(!folder.out().exists() && folder.tee().join("stderr.txt").exists());
    }

    /// The lock goes where the open file goes, so what a run's children hold counts.
    #[tokio::test]
    async fn a_folder_is_taken_as_long_as_a_child_of_the_last_run_lives() {
        let work_dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(work_dir.path(), TaskId::default());
        let short = Duration::from_millis(100);
        folder.vacated(short).await.unwrap();
        folder.renew().unwrap();
        folder.vacated(short).await.unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stderr(folder.new_file("launcher.log").unwrap())
            .spawn()
            .unwrap();
        let error = folder.vacated(short).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        child.kill().unwrap();
        child.wait().unwrap();
        folder.vacated(Duration::from_secs(20)).await.unwrap();
    }
}
