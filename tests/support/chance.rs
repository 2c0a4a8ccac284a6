//! Randomness that can be repeated.

use rand::{SeedableRng, rngs::StdRng};

/// Random numbers from a new seed, which is printed.
#[must_use]
#[expect(clippy::print_stdout, reason = "who repeats a failure needs the seed")]
pub fn seeded() -> StdRng {
    let seed = rand::random();
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}
