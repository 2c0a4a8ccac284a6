//! Between the launcher and its host: answers the launcher's requests for quotes, passes everything else on.

use std::{
    io::{self, BufReader, Write},
    process::{Child, ChildStdin, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use sesame_attestation::simulated::{Imitated, Root};

use crate::channel::{FromHost, FromQuoter, ToQuoter, read_line, write_line};

/// How long a launcher whose host is gone may tidy up.
const GRACE: Duration = Duration::from_secs(10);

/// Signs for one child.
pub(super) struct Quoter {
    pub(super) root: Root,
    pub(super) tee: Imitated,
    pub(super) measurement: [u8; 32],
}

impl Quoter {
    /// The answer to a line of the child, if the line asks for a quote.
    fn answer(&self, line: &[u8]) -> Option<FromQuoter> {
        let ToQuoter::Quote { report_data } = serde_json::from_slice(line).ok()?;
        let evidence = self.root.evidence(self.tee, &self.measurement, report_data.0);
        Some(FromQuoter::Evidence(evidence))
    }
}

/// The child's standard input, until the host is gone.
type Input = Arc<Mutex<Option<ChildStdin>>>;

/// Relays until the child ends.
pub(super) fn relay(mut child: Child, quoter: &Quoter) -> io::Result<ExitStatus> {
    let input: Input = Arc::new(Mutex::new(child.stdin.take()));
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let for_host = Arc::clone(&input);
    thread::spawn(move || {
        // Whatever ends the host's side ends the run.
        let _ = pass_on_from_host(&for_host);
        drop(lock(&for_host).take());
        thread::sleep(GRACE);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    });
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output);
        let mut host = io::stdout();
        while let Some(line) = read_line(&mut output)? {
            match quoter.answer(&line) {
                Some(answer) => {
                    if let Some(input) = lock(&input).as_mut() {
                        write_line(input, &answer)?;
                    }
                }
                // A host that does not listen is noticed where its lines are read.
                None => {
                    let _ = host.write_all(&line).and_then(|()| host.write_all(b"\n"));
                    let _ = host.flush();
                }
            }
        }
    }
    child.wait()
}

/// Passes on what a host may say, and nothing else: evidence comes from the quoting process alone.
fn pass_on_from_host(input: &Input) -> io::Result<()> {
    let mut host = BufReader::new(io::stdin());
    while let Some(line) = read_line(&mut host)? {
        let Ok(message) = serde_json::from_slice::<FromHost>(&line) else { continue };
        match lock(input).as_mut() {
            Some(input) => write_line(input, &message)?,
            None => break,
        }
    }
    Ok(())
}

fn lock(input: &Input) -> std::sync::MutexGuard<'_, Option<ChildStdin>> {
    input.lock().unwrap_or_else(PoisonError::into_inner)
}
