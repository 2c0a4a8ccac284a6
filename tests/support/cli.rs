//! `sesame` as people use it: the command line alone, in a world that is there already.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{Person, World, program};

/// The command line in a world.
#[derive(Debug)]
pub struct Cli<'w> {
    world: &'w World,
    manifest: PathBuf,
}

impl<'w> Cli<'w> {
    /// In this world.
    ///
    /// # Panics
    /// When the world's folder cannot be written.
    #[must_use]
    pub fn of(world: &'w World) -> Self {
        let manifest = world.folder().join("deployment.json");
        let text = serde_json::to_string(&world.deployment).expect("a manifest is JSON");
        fs::write(&manifest, text).expect("the folder can be written");
        Self { world, manifest }
    }

    /// `sesame --json …` with somebody's account; gives what it prints, or what it says on its error output.
    ///
    /// # Errors
    /// When it does not end with zero.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn ask(&self, who: &Person, arguments: &[&str]) -> Result<Value, String> {
        let mut command = self.command(who);
        command.arg("--json").args(arguments);
        let ended = tokio::task::spawn_blocking(move || command.output()).await;
        let ended = ended.expect("no panic").expect("it can be started");
        if ended.status.success() {
            Ok(serde_json::from_slice(&ended.stdout).expect("it prints JSON"))
        } else {
            Err(String::from_utf8_lossy(&ended.stderr).into_owned())
        }
    }

    /// The same, where it is expected to succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn run(&self, who: &Person, arguments: &[&str]) -> Value {
        let done = self.ask(who, arguments).await;
        done.unwrap_or_else(|said| panic!("sesame {} failed: {said}", arguments.join(" ")))
    }

    fn command(&self, who: &Person) -> Command {
        let mut command = Command::new(program());
        command
            .env("SESAME_PRIVATE_KEY", who.private_key())
            .env("SESAME_RPC_URL", self.world.node.url())
            .env("SESAME_DEPLOYMENT", &self.manifest)
            .env("SESAME_SMS_URL", self.world.sms.base())
            .env("SESAME_SMS_IDENTITY", self.world.sms.identity.to_string());
        command
    }
}
