//! `sesame manual`.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, CommandFactory};
use serde_json::json;

use crate::{args::Cli, context::Context, output::Answer};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sesame manual --out ~/.local/share/man/man1 && man sesame-serve")]
pub(crate) struct ManualArgs {
    /// Where the pages go; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

pub(crate) fn run(args: &ManualArgs, context: &Context) -> anyhow::Result<()> {
    let out = args.out.display();
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {out}"))?;
    clap_mangen::generate_to(Cli::command(), &args.out)
        .with_context(|| format!("cannot write into {out}"))?;
    context.output.show(&Answer::Fields(vec![("folder", json!(args.out))]));
    Ok(())
}
