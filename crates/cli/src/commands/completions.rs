//! `sesame completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{args::Cli, context::Context};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sesame completions bash > ~/.local/share/bash-completion/completions/sesame")]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, context: &Context) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sesame", &mut script);
    context.output.raw(&String::from_utf8_lossy(&script));
}
