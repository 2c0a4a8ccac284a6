//! Randomness from the operating system, and nothing else.

use rand::{TryRngCore, rngs::OsRng};
use zeroize::Zeroizing;

/// `N` random bytes.
///
/// # Panics
///
/// If the operating system gives no randomness: no key made then would be worth having.
pub(crate) fn bytes<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    OsRng.try_fill_bytes(bytes.as_mut_slice()).expect("the operating system gives randomness");
    bytes
}
