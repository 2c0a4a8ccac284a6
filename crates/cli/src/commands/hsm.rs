//! Where a vault's keys live, as `sesame serve` and `sesame vault` are told.

use std::path::PathBuf;

use clap::Args;
use sesame_sms::vault::{Hsm, Places};

/// The hardware security module, if there is one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for an HSM")]
pub(crate) struct HsmArgs {
    /// Make the vault's key in a hardware security module, through this PKCS#11 library of its vendor. Keys in files are still
    /// found: `sesame vault rotate-key` moves a vault that has one.
    #[arg(long, value_name = "FILE", requires_all = ["hsm_token", "hsm_pin_file"])]
    hsm_module: Option<PathBuf>,
    /// The label of the HSM's token.
    #[arg(long, value_name = "LABEL", requires = "hsm_module")]
    hsm_token: Option<String>,
    /// A file with the PIN of the token's user on its first line, readable by its owner alone.
    #[arg(long, value_name = "FILE", requires = "hsm_module")]
    hsm_pin_file: Option<PathBuf>,
    /// Make new keys in files again, and only find the vault's key in the HSM: `sesame vault rotate-key` moves the vault out.
    #[arg(long, requires = "hsm_module")]
    leave_hsm: bool,
}

impl HsmArgs {
    /// A vault with its keys where these options say.
    pub(crate) fn within(&self, places: Places) -> Places {
        let (Some(module), Some(token), Some(pin_file)) =
            (&self.hsm_module, &self.hsm_token, &self.hsm_pin_file)
        else {
            return places;
        };
        let hsm = Hsm { module: module.clone(), token: token.clone(), pin_file: pin_file.clone() };
        if self.leave_hsm { places.leaving(hsm) } else { places.moving_to(hsm) }
    }
}
