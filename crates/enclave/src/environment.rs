//! The environment that the app sees: all of it, and nothing of the launcher's.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use sesame_domain::{AssetId, TaskId};
use zeroize::Zeroizing;

use crate::sandbox::Folders;

/// The kernel's cap on one string of the environment, with its `NAME=` and the NUL at its end.
const MAX_STRING: usize = 131_072;

/// What all secrets together may take of the kernel's cap on the whole environment; beyond it they come as files alone.
const MAX_STRINGS: usize = 1 << 20;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What iExec's apps are told where there is no dataset.
const NO_DATASET: &str = "0x0000000000000000000000000000000000000000";

/// What anybody may know of the run.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Which task.
    pub task: TaskId,
    /// Which app.
    pub app: AssetId,
    /// Its folders, as the app sees them. The home is also where temporary files go, so that none lands on a disk.
    pub folders: Folders,
    /// The names in `IEXEC_IN` of the input files, number 1 first.
    pub input_files: Vec<String>,
    /// The names in `IEXEC_IN` of the decrypted protected data, number 1 first.
    pub data: Vec<String>,
}

/// A secret and the variable that carries it.
pub struct Secret {
    /// The variable's name.
    pub variable: String,
    /// Any bytes.
    pub value: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("variable", &self.variable).finish_non_exhaustive()
    }
}

/// Variables with their values; the debug form shows the names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(OsString, OsString)>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Environment {
    /// The public facts as iExec apps expect them.
    #[must_use]
    pub fn new(facts: &Facts) -> Self {
        let mut environment = Self::default();
        environment.set("PATH", PATH);
        environment.set("LANG", "C.UTF-8");
        environment.set("HOME", &facts.folders.home);
        environment.set("TMPDIR", &facts.folders.home);
        environment.set("IEXEC_IN", &facts.folders.input);
        environment.set("IEXEC_OUT", &facts.folders.output);
        environment.set("IEXEC_INPUT_FILES_NUMBER", facts.input_files.len().to_string());
        if !facts.input_files.is_empty() {
            environment.set("IEXEC_INPUT_FILES_FOLDER", &facts.folders.input);
        }
        for (file, n) in facts.input_files.iter().zip(1..) {
            environment.set(format!("IEXEC_INPUT_FILE_NAME_{n}"), file);
        }
        environment.set("IEXEC_TASK_ID", facts.task.to_string());
        environment.set("IEXEC_APP_ADDRESS", facts.app.to_string());
        // A purchase is a deal of one task.
        environment.set("IEXEC_DEAL_ID", facts.task.to_string());
        for (name, value) in [
            ("TASK_INDEX", "0"),
            ("BOT_TASK_INDEX", "0"),
            ("BOT_FIRST_INDEX", "0"),
            ("BOT_SIZE", "1"),
        ] {
            environment.set(format!("IEXEC_{name}"), value);
        }
        environment.add_data(&facts.data);
        environment
    }

    /// The first protected data is iExec's dataset, whose address is zero where there is none; several are a bulk.
    fn add_data(&mut self, names: &[String]) {
        let first = names.first().map_or(NO_DATASET, String::as_str);
        self.set("IEXEC_DATASET_ADDRESS", first);
        self.set("IEXEC_DATASET_FILENAME", first);
        if names.len() > 1 {
            self.set("IEXEC_BULK_SLICE_SIZE", names.len().to_string());
        }
        for (name, n) in names.iter().zip(1..) {
            self.set(format!("IEXEC_DATASET_{n}_FILENAME"), name);
        }
    }

    /// Adds secrets: each as the file of `folder` that `<VARIABLE>_FILE` names, and in the variable itself where it fits.
    /// The files are made with the sandbox.
    pub fn add_secrets(&mut self, folder: &Path, secrets: &[Secret]) {
        let mut room = MAX_STRINGS;
        for Secret { variable, value } in secrets {
            self.set(format!("{variable}_FILE"), folder.join(variable));
            let size = variable.len() + value.len() + 2;
            if size <= MAX_STRING && size <= room && !value.contains(&0) {
                room -= size;
                self.set(variable, OsStr::from_bytes(value));
            }
        }
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// Every variable.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.0.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn facts(data: &[&str]) -> Facts {
        Facts {
            task: TaskId([7; 32].into()),
            app: AssetId([9; 32].into()),
            folders: Folders {
                input: "/in".into(),
                output: "/out".into(),
                home: "/home".into(),
                secrets: "/secrets".into(),
            },
            input_files: vec!["0xab".to_owned()],
            data: data.iter().map(ToString::to_string).collect(),
        }
    }

    fn with_secrets(secrets: &[(&str, Vec<u8>)]) -> Environment {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|(variable, value)| Secret {
                variable: (*variable).to_owned(),
                value: value.clone().into(),
            })
            .collect();
        let mut environment = Environment::new(&facts(&[]));
        environment.add_secrets(Path::new("/secrets"), &secrets);
        environment
    }

    #[test]
    fn the_public_part_is_exactly_this() {
        let environment = Environment::new(&facts(&["x", "y"]));
        let names: BTreeSet<_> =
            environment.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        let expected = [
            "HOME",
            "IEXEC_APP_ADDRESS",
            "IEXEC_BOT_FIRST_INDEX",
            "IEXEC_BOT_SIZE",
            "IEXEC_BOT_TASK_INDEX",
            "IEXEC_BULK_SLICE_SIZE",
            "IEXEC_DATASET_1_FILENAME",
            "IEXEC_DATASET_2_FILENAME",
            "IEXEC_DATASET_ADDRESS",
            "IEXEC_DATASET_FILENAME",
            "IEXEC_DEAL_ID",
            "IEXEC_IN",
            "IEXEC_INPUT_FILES_FOLDER",
            "IEXEC_INPUT_FILES_NUMBER",
            "IEXEC_INPUT_FILE_NAME_1",
            "IEXEC_OUT",
            "IEXEC_TASK_ID",
            "IEXEC_TASK_INDEX",
            "LANG",
            "PATH",
            "TMPDIR",
        ];
        assert_eq!(names, expected.into());
        assert_eq!(environment.get("IEXEC_INPUT_FILES_NUMBER").unwrap(), "1");
        assert_eq!(environment.get("IEXEC_INPUT_FILE_NAME_1").unwrap(), "0xab");
        assert_eq!(environment.get("IEXEC_DATASET_FILENAME").unwrap(), "x");
        assert_eq!(environment.get("IEXEC_DATASET_2_FILENAME").unwrap(), "y");
        assert_eq!(environment.get("IEXEC_BULK_SLICE_SIZE").unwrap(), "2");
        assert_eq!(environment.get("IEXEC_DATASET_ADDRESS").unwrap(), "x");
        assert_eq!(environment.get("IEXEC_DEAL_ID"), environment.get("IEXEC_TASK_ID"));
        assert_eq!(environment.get("IEXEC_BOT_SIZE").unwrap(), "1");
        for index in ["IEXEC_TASK_INDEX", "IEXEC_BOT_TASK_INDEX", "IEXEC_BOT_FIRST_INDEX"] {
            assert_eq!(environment.get(index).unwrap(), "0");
        }
    }

    /// Apps look at these to tell whether there is a dataset, a bulk of them, or input files.
    #[test]
    fn what_is_not_there_is_told_as_iexec_tells_it() {
        let zero = "0x0000000000000000000000000000000000000000";
        let none = Environment::new(&Facts { input_files: Vec::new(), ..facts(&[]) });
        for name in ["IEXEC_DATASET_ADDRESS", "IEXEC_DATASET_FILENAME"] {
            assert_eq!(none.get(name).unwrap(), zero);
        }
        assert_eq!(none.get("IEXEC_INPUT_FILES_NUMBER").unwrap(), "0");
        for name in
            ["IEXEC_INPUT_FILES_FOLDER", "IEXEC_BULK_SLICE_SIZE", "IEXEC_DATASET_1_FILENAME"]
        {
            assert_eq!(none.get(name), None, "{name}");
        }
        let one = Environment::new(&facts(&["x"]));
        assert_eq!(one.get("IEXEC_DATASET_1_FILENAME").unwrap(), "x");
        assert_eq!(one.get("IEXEC_BULK_SLICE_SIZE"), None, "one is no bulk");
    }

    #[test]
    fn small_secrets_get_both_forms_even_when_they_are_no_text() {
        let value = vec![0xff, 0xfe, b'\n', b'=', b'"'];
        let environment = with_secrets(&[("S", value.clone())]);
        assert_eq!(environment.get("S").unwrap().as_bytes(), value);
        assert_eq!(environment.get("S_FILE").unwrap(), "/secrets/S");
    }

    #[test]
    fn a_nul_byte_makes_a_secret_a_file() {
        for value in [vec![0], b"a\0b".to_vec(), b"trailing\0".to_vec()] {
            let environment = with_secrets(&[("S", value.clone())]);
            assert_eq!(environment.get("S"), None);
            assert_eq!(environment.get("S_FILE").unwrap(), "/secrets/S");
        }
    }

    #[test]
    fn the_kernels_cap_decides_to_the_byte() {
        let largest = MAX_STRING - "SECRET=".len() - 1;
        let environment =
            with_secrets(&[("SECRET", vec![b'x'; largest]), ("TOOBIG", vec![b'x'; largest + 1])]);
        assert_eq!(environment.get("SECRET").unwrap().len(), largest);
        assert_eq!(environment.get("TOOBIG"), None);
        assert!(environment.get("TOOBIG_FILE").is_some());
        let command = |environment: &Environment| {
            std::process::Command::new("true").env_clear().envs(environment.iter()).status()
        };
        assert!(command(&environment).unwrap().success(), "the kernel takes what is let through");
        let mut beyond = environment.clone();
        beyond.set("TOOBIG", OsStr::from_bytes(&vec![b'x'; largest + 1]));
        assert!(command(&beyond).is_err(), "and one byte more it does not");
    }

    #[test]
    fn many_large_secrets_do_not_burst_the_environment() {
        let secrets: Vec<_> = (1..=32)
            .map(|i| (format!("IEXEC_REQUESTER_SECRET_{i}"), vec![b'x'; 130_000]))
            .collect();
        let secrets: Vec<_> =
            secrets.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let environment = with_secrets(&secrets);
        assert!(environment.get("IEXEC_REQUESTER_SECRET_8").is_some());
        assert!(environment.get("IEXEC_REQUESTER_SECRET_9").is_none());
        assert!(environment.get("IEXEC_REQUESTER_SECRET_32_FILE").is_some());
        let status =
            std::process::Command::new("true").env_clear().envs(environment.iter()).status();
        assert!(status.unwrap().success());
    }

    #[test]
    fn debug_shows_names_alone() {
        let environment = with_secrets(&[("S", b"hunter2".to_vec())]);
        let secret = Secret { variable: "S".into(), value: b"hunter2".to_vec().into() };
        let shown = format!("{environment:?} {secret:?}");
        assert!(shown.contains("S_FILE"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
