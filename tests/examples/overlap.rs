//! Counts what two protected tables have in common: their owners learn how many customers they share, and not which.
//!
//! Reads only what a confidential app is given: environment variables and folders. Each table has one name a line.

#![expect(clippy::disallowed_methods, reason = "an app's input is its environment")]

use std::{collections::BTreeSet, env, fs, io, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (first, second) = (table(1)?, table(2)?);
    let shared = first.intersection(&second).count();
    let out = PathBuf::from(env::var("IEXEC_OUT")?);
    let result = out.join("overlap.json");
    let counts =
        format!("{{\"first\":{},\"second\":{},\"shared\":{shared}}}\n", first.len(), second.len());
    fs::write(&result, counts)?;
    let computed = format!("{{\"deterministic-output-path\":\"{}\"}}\n", result.display());
    fs::write(out.join("computed.json"), computed)?;
    Ok(())
}

/// The lines of the protected data of this number.
fn table(number: u32) -> Result<BTreeSet<String>, Box<dyn std::error::Error>> {
    let folder = PathBuf::from(env::var("IEXEC_IN")?);
    let name = env::var(format!("IEXEC_DATASET_{number}_FILENAME"))?;
    let lines = fs::read_to_string(folder.join(name)).map_err(|error| {
        io::Error::new(error.kind(), format!("table {number} cannot be read: {error}"))
    })?;
    Ok(lines.lines().map(str::to_owned).collect())
}
