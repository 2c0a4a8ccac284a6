//! A hardware security module in software: SoftHSM, with tokens of the story's own.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{FlockOperation, fcntl_lock};

/// Where distributions put it.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// SoftHSM with a token. Programs have to be told of it, since it is in nobody's environment.
#[derive(Debug)]
pub struct SoftHsm(PathBuf);

impl SoftHsm {
    /// The PIN of its tokens.
    pub const PIN: &str = "4289156604";

    /// A module with one token in a new folder.
    ///
    /// # Panics
    /// When SoftHSM is not installed.
    #[must_use]
    pub fn with_token(folder: &Path, label: &str) -> Self {
        let hsm = Self(folder.to_owned());
        fs::create_dir_all(hsm.tokens()).expect("a folder can be made");
        let settings = format!("directories.tokendir = {}\n", hsm.tokens().display());
        fs::write(hsm.0.join("softhsm2.conf"), settings).expect("a file can be written");
        hsm.write_pin(Self::PIN);
        hsm.add_token(label);
        hsm
    }

    /// One more token.
    ///
    /// # Panics
    /// When SoftHSM is not installed.
    pub fn add_token(&self, label: &str) {
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", label, "--pin", Self::PIN]);
        command.args(["--so-pin", "12345678"]).env("SOFTHSM2_CONF", self.0.join("softhsm2.conf"));
        let output = command.output().expect("SoftHSM is there: script/setup installs it");
        assert!(output.status.success(), "{output:?}");
    }

    /// What is in the file that holds the PIN.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_pin(&self, pin: &str) {
        fs::write(self.pin_file(), format!("{pin}\n")).expect("a file can be written");
        let own = Permissions::from_mode(0o600);
        fs::set_permissions(self.pin_file(), own).expect("it is ours");
    }

    /// The file that holds the PIN.
    #[must_use]
    pub fn pin_file(&self) -> PathBuf {
        self.0.join("pin")
    }

    /// The folder of all tokens, a folder each.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.0.join("tokens")
    }

    /// The files of the objects in all tokens.
    ///
    /// # Panics
    /// When they cannot be listed.
    #[must_use]
    pub fn objects(&self) -> Vec<PathBuf> {
        let is_object = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".object") && name != "token.object"
        };
        self.files().filter(is_object).collect()
    }

    /// All files of all tokens.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let list = |folder: &Path| {
            let files = fs::read_dir(folder).expect("it can be listed");
            files.map(|file| file.expect("it can be listed").path()).collect::<Vec<_>>()
        };
        list(&self.tokens()).into_iter().flat_map(move |token| list(&token))
    }

    /// Has every call hang that looks at an object or a token, until what it gives is dropped: SoftHSM waits for whoever else locks
    /// its files, for ever.
    ///
    /// # Panics
    /// When there are none, or somebody locks one just now.
    #[must_use]
    pub fn hang(&self) -> Vec<File> {
        let lock = |path: PathBuf| {
            let file = File::options().read(true).write(true).open(path).expect("it is ours");
            fcntl_lock(&file, FlockOperation::LockExclusive).expect("nobody has it locked");
            file
        };
        let held: Vec<_> = self.files().map(lock).collect();
        assert!(!held.is_empty(), "there is a token");
        held
    }

    /// Pulls all tokens out.
    ///
    /// # Panics
    /// When they are out.
    pub fn pull_out(&self) {
        fs::rename(self.tokens(), self.0.join("away")).expect("they are in");
        fs::create_dir(self.tokens()).expect("a folder can be made");
    }

    /// Puts them in again.
    ///
    /// # Panics
    /// When they are in.
    pub fn put_in(&self) {
        fs::remove_dir(self.tokens()).expect("none are in");
        fs::rename(self.0.join("away"), self.tokens()).expect("they are out");
    }

    /// Tells a program of the token.
    ///
    /// # Panics
    /// When SoftHSM is not installed.
    pub fn give<'a>(&self, command: &'a mut Command, label: &str) -> &'a mut Command {
        let module = MODULES.iter().find(|path| Path::new(path).exists());
        let module = module.expect("SoftHSM is there: script/setup installs it");
        command.env("SOFTHSM2_CONF", self.0.join("softhsm2.conf"));
        command.args(["--hsm-module", module, "--hsm-token", label, "--hsm-pin-file"]);
        command.arg(self.pin_file())
    }
}
