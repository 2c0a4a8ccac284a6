//! The folder of one task: the app's copy while it runs, what it put out, and a result that the chain may not know yet.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use sesame_domain::TaskId;
use sesame_protocol::results::SignedResult;

/// The folder of one task.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn of(work_dir: &Path, task: TaskId) -> Self {
        Self(work_dir.join(task.to_string()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn app(&self) -> PathBuf {
        self.0.join("app")
    }

    /// Removes what an earlier attempt left and makes the folder anew.
    pub(crate) fn renew(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    pub(crate) fn new_file(&self, name: &str) -> io::Result<fs::File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.0.join(name))
    }

    /// The result of an earlier attempt, if it got that far.
    pub(crate) fn result(&self) -> io::Result<Option<SignedResult>> {
        match fs::read(self.0.join("result.json")) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn keep_result(&self, result: &SignedResult) -> io::Result<()> {
        let (new, path) = (self.0.join("result.json.new"), self.0.join("result.json"));
        fs::write(&new, serde_json::to_vec(result)?)?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(new, path)
    }

    /// Removes what nobody needs after a run: its output and its logs stay.
    pub(crate) fn tidy(&self) {
        for name in ["app", "result.json", "result.json.new"] {
            // What cannot be removed now is removed by the next attempt, or by the operator.
            let _ = fs::remove_file(self.0.join(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    #[test]
    fn a_result_survives_and_a_new_attempt_forgets() {
        let work_dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(work_dir.path(), TaskId::default());
        assert_eq!(folder.result().unwrap(), None);
        folder.renew().unwrap();
        let result = SignedResult {
            digest: B256::repeat_byte(7),
            uri: "file:///x".into(),
            key: Default::default(),
            enclave_signature: Default::default(),
            sms_signature: Default::default(),
        };
        folder.keep_result(&result).unwrap();
        assert_eq!(Folder::of(work_dir.path(), TaskId::default()).result().unwrap(), Some(result));
        fs::write(folder.app(), "app").unwrap();
        fs::write(folder.path().join("stdout.txt"), "said").unwrap();
        folder.tidy();
        assert!(!folder.app().exists() && folder.path().join("stdout.txt").exists());
        assert_eq!(folder.result().unwrap(), None);
        folder.renew().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
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
}
