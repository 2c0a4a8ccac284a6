//! Evidence that counts, and much more that does not.

mod cache;
mod chains;
mod documents;
mod published;
mod reports;

use std::{num::NonZeroUsize, ops::Range, sync::LazyLock};

use sev::{firmware::guest::AttestationReport, parser::ByteParser};

use super::{
    issue::{SimulatedAmd, SimulatedPlatform},
    *,
};

/// What certificates of the simulation hold for, and a time within it.
const YEARS: Range<u64> = 1_700_000_000..1_900_000_000;
const NOW: u64 = 1_800_000_000;
/// What its revocation lists hold for.
const MONTH: Range<u64> = 1_799_000_000..1_801_000_000;

const REPORT_DATA: [u8; 64] = [5; 64];
const MEASUREMENT: [u8; 48] = [3; 48];
const HOST_DATA: [u8; 32] = [4; 32];

/// Keys are slow to make, so every test uses these.
static MILAN: LazyLock<SimulatedAmd> = LazyLock::new(|| amd(Product::Milan));

fn amd(product: Product) -> SimulatedAmd {
    SimulatedAmd::generate(product, YEARS).unwrap()
}

fn tcb(product: Product) -> Tcb {
    let fmc = (product == Product::Turin).then_some(1);
    Tcb { fmc, bootloader: 3, tee: 1, snp: 8, microcode: 115 }
}

/// A chip id as long as the product has it.
fn chip(product: Product) -> [u8; 64] {
    let used = if product == Product::Turin { 8 } else { 64 };
    std::array::from_fn(|at| if at < used { 9 } else { 0 })
}

/// A simulated platform with all that a verification of its reports takes.
struct World {
    platform: SimulatedPlatform,
    collateral: SnpCollateral,
    roots: Roots,
    policy: SnpPolicy,
}

impl World {
    fn milan() -> Self {
        Self::of(&MILAN, SigningKey::Vcek)
    }

    fn of(amd: &SimulatedAmd, key: SigningKey) -> Self {
        let product = amd.product();
        Self {
            platform: amd.platform(key, chip(product), tcb(product), YEARS).unwrap(),
            collateral: amd.collateral(key, &[], MONTH).unwrap(),
            roots: Roots::insecure_trusting_simulated(product, amd.root_certificate()),
            policy: SnpPolicy::admitting_none().insecure_admit_simulated(product, tcb(product)),
        }
    }

    fn verifier(&self) -> SnpVerifier {
        let capacity = NonZeroUsize::new(4).unwrap();
        SnpVerifier::new(self.roots.clone(), self.policy.clone(), capacity)
    }

    fn quote(&self) -> SnpEvidence {
        self.platform.quote(MEASUREMENT, HOST_DATA, REPORT_DATA).unwrap()
    }

    /// A report of the platform, genuine but for what `alter` does to it before it is signed.
    fn altered(&self, alter: impl FnOnce(&mut AttestationReport)) -> SnpEvidence {
        let mut report = AttestationReport::from_bytes(self.quote().report()).unwrap();
        alter(&mut report);
        self.signed(report.to_bytes().unwrap())
    }

    /// A report of these bytes, signed by the platform.
    fn signed(&self, bytes: [u8; REPORT_LENGTH]) -> SnpEvidence {
        let certificate = Some(self.platform.certificate().to_vec());
        SnpEvidence::from_report(&self.platform.sign(bytes).unwrap(), certificate).unwrap()
    }

    fn verify(&self, evidence: &SnpEvidence) -> Result<SnpVerdict, SnpError> {
        self.verifier().verify(evidence, &self.collateral, &REPORT_DATA, NOW)
    }

    /// The refusal of evidence whose platform nobody knows yet, which must be that of one behind a warm cache.
    fn refusal(&self, evidence: &SnpEvidence) -> SnpError {
        let cold = self.verify(evidence).unwrap_err();
        let verifier = self.verifier();
        verifier.verify(&self.quote(), &self.collateral, &REPORT_DATA, NOW).unwrap();
        assert_eq!(verifier.remembered(), 1);
        let warm = verifier.verify(evidence, &self.collateral, &REPORT_DATA, NOW).unwrap_err();
        assert_eq!(cold.to_string(), warm.to_string());
        cold
    }
}

/// Asserts that this is the refusal, whose shape is given.
macro_rules! assert_refused {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            $pattern $(if $guard)? => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern $(if $guard)?)),
        }
    };
}
use assert_refused;
