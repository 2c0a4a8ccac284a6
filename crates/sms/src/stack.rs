//! What work leaves on a thread's stack: ciphers keep their last blocks there, up to a KiB of a secret in the clear.

use std::hint::black_box;

/// Deeper than anything that handles secrets goes below its caller, in bytes.
const DEPTH: usize = 64 << 10;

/// Does the work and overwrites the stack that it used, even if it panics.
pub(crate) fn wiped<T>(work: impl FnOnce() -> T) -> T {
    let _wipes = Wipe;
    out_of_line(work)
}

/// Its frames must not be part of the caller's, which is not wiped.
#[inline(never)]
fn out_of_line<T>(work: impl FnOnce() -> T) -> T {
    work()
}

struct Wipe;

impl Drop for Wipe {
    #[inline(never)]
    fn drop(&mut self) {
        // Seen from outside, so that it is not left out.
        black_box(&mut [0_u8; DEPTH]);
    }
}
