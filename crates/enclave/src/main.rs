//! What runs inside the TEE.

use std::{io, process::ExitCode};

use sesame_enclave::{
    HOST_ARGS, Launch, LaunchError,
    channel::{Channel, ToHost},
    harden, run,
};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
sesame-enclave run --tee simulated-sgx|simulated-tdx|simulated-snp --sms-identity ADDRESS --app-fd N
                   --task ID --sms-url URL --deadline SECONDS --work-dir DIR [--sandbox bubblewrap|user|none] [LIMITS]
sesame-enclave run --tee auto|gramine|tdx|snp --sms-identity ADDRESS --app FILE [--evidence-root DIR] …the same
    What is on the first line is measured; the rest comes from the host.
LIMITS, of the app:
    --app-memory-mib N      of each of its processes, and of all together in a cgroup (4096)
    --app-processes N       processes and threads at a time (1024)
    --app-output-mib N      what it may leave in IEXEC_OUT (1024)
    --app-cpu-seconds N     processor time of each of its processes
    --app-seconds N         from its start; the task's deadline holds in any case
    --app-cpus N            processors that all of it together may use, in a cgroup
    --app-cgroup DIR        delegated folder of cgroup v2 to make its group in";

fn main() -> ExitCode {
    let mut channel = Channel::new(io::stdin(), io::stdout());
    let ended = match launch() {
        Ok(launch) => until_stopped(&launch, &mut channel),
        Err(error) => {
            eprintln!("{USAGE}");
            Err(error)
        }
    };
    let (message, code) = match ended {
        Ok(result) => (result, ExitCode::SUCCESS),
        Err(error) => (ToHost::Failed(error.to_failure()), ExitCode::FAILURE),
    };
    // A host that is gone learns nothing, and needs nothing.
    let _ = channel.tell(&message);
    code
}

fn launch() -> Result<Launch, LaunchError> {
    let mut args = std::env::args().skip(1);
    if args.next().is_none_or(|verb| verb != "run") {
        return Err(LaunchError::NoVerb);
    }
    let host = std::env::var_os(HOST_ARGS).map(|words| words.to_string_lossy().into_owned());
    let launch = Launch::parse(args, host.as_deref())?;
    let kernel = launch.platform.kernel();
    harden::harden(kernel)?;
    harden::end_with_parent(kernel)?;
    Ok(launch)
}

/// Runs the task until it ends, the host is gone or a signal comes. Whatever was decrypted goes with the future.
fn until_stopped(
    launch: &Launch,
    channel: &mut Channel<io::Stdout>,
) -> Result<ToHost, LaunchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(LaunchError::Runtime)?.block_on(async {
        let closed = channel.closed();
        let mut terminate = signal(SignalKind::terminate()).map_err(LaunchError::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(LaunchError::Runtime)?;
        tokio::select! {
            result = run(launch, channel) => result,
            () = closed => Err(LaunchError::Stopped),
            _ = terminate.recv() => Err(LaunchError::Stopped),
            _ = interrupt.recv() => Err(LaunchError::Stopped),
        }
    })
}
