//! Randomness that can be repeated.

use rand::{SeedableRng, rngs::StdRng};

/// Random numbers from a new seed, which is printed; from that of the environment's `SESAME_SEED` if there is one.
///
/// # Panics
/// When that is no number.
#[must_use]
#[expect(clippy::print_stdout, reason = "who repeats a failure needs the seed")]
#[expect(clippy::disallowed_methods, reason = "who repeats a failure gives the seed")]
pub fn seeded() -> StdRng {
    let given = std::env::var("SESAME_SEED").ok();
    let seed =
        given.map_or_else(rand::random, |seed| seed.parse().expect("SESAME_SEED is a number"));
    println!("seed {seed}: repeat by SESAME_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
