//! AMD's product lines, and versions of the firmware that a report rests on.

use serde::{Deserialize, Serialize};
use sev::{Generation, firmware::host::TcbVersion};

/// A product line with its own root key. Bergamo and Siena are certified as Genoa.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Product {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// Its name in certificates and in the addresses of AMD's key distribution service.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// The product of a certificate's `productName` (AMD 57230, chapter 3), which may end in a stepping, as in `Milan-B0`.
    pub(crate) fn of_certificate(name: &str) -> Option<Self> {
        match name.split('-').next()? {
            "Milan" => Some(Self::Milan),
            "Genoa" | "Bergamo" | "Siena" => Some(Self::Genoa),
            "Turin" => Some(Self::Turin),
            _ => None,
        }
    }

    /// The product of a processor; none if crate `sev` knows it but this program no root of it.
    pub(crate) fn of_processor(family: u8, model: u8) -> Option<Self> {
        match Generation::identify_cpu(family, model).ok()? {
            Generation::Milan => Some(Self::Milan),
            Generation::Genoa => Some(Self::Genoa),
            Generation::Turin => Some(Self::Turin),
            Generation::Venice => None,
        }
    }

    /// How many bytes of a report's CHIP_ID are used; the others are zero.
    pub(crate) const fn chip_id_length(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }

    /// Whether its firmware versions have the component `fmc`.
    pub(crate) const fn has_fmc(self) -> bool {
        matches!(self, Self::Turin)
    }
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// TCB_VERSION (AMD 56860, section 2.2): the security version of each part of the firmware.
///
/// It has no order on purpose: of two versions each may be newer in one part. [`Self::covers`] compares part by part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcb {
    /// The FMC firmware; from Turin on.
    pub fmc: Option<u8>,
    /// The boot loader of the security processor.
    pub bootloader: u8,
    /// The operating system of the security processor.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// The lowest microcode patch level of all cores.
    pub microcode: u8,
}

impl Tcb {
    /// Whether every part is at least that of `minimum`.
    #[must_use]
    pub fn covers(&self, minimum: &Self) -> bool {
        self.fmc.unwrap_or(0) >= minimum.fmc.unwrap_or(0)
            && self.bootloader >= minimum.bootloader
            && self.tee >= minimum.tee
            && self.snp >= minimum.snp
            && self.microcode >= minimum.microcode
    }

    /// The older of both in each part: it covers just what both cover.
    #[must_use]
    pub fn lowest(&self, other: &Self) -> Self {
        Self {
            fmc: self.fmc.min(other.fmc),
            bootloader: self.bootloader.min(other.bootloader),
            tee: self.tee.min(other.tee),
            snp: self.snp.min(other.snp),
            microcode: self.microcode.min(other.microcode),
        }
    }
}

impl From<TcbVersion> for Tcb {
    fn from(version: TcbVersion) -> Self {
        let TcbVersion { fmc, bootloader, tee, snp, microcode } = version;
        Self { fmc, bootloader, tee, snp, microcode }
    }
}

impl std::fmt::Display for Tcb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc {fmc}, ")?;
        }
        let Self { bootloader, tee, snp, microcode, .. } = self;
        write!(f, "bootloader {bootloader}, tee {tee}, snp {snp}, microcode {microcode}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCB: Tcb = Tcb { fmc: Some(1), bootloader: 3, tee: 1, snp: 8, microcode: 115 };

    #[test]
    fn a_version_covers_itself_and_nothing_that_is_newer_in_any_part() {
        assert!(TCB.covers(&TCB) && TCB.covers(&Tcb::default()));
        for newer in [
            Tcb { fmc: Some(2), ..TCB },
            Tcb { bootloader: 4, ..TCB },
            Tcb { tee: 2, ..TCB },
            Tcb { snp: 9, ..TCB },
            Tcb { microcode: 116, ..TCB },
            // Newer in one part, far older in all others: an order by parts would get this wrong.
            Tcb { microcode: 116, ..Tcb::default() },
        ] {
            assert!(!TCB.covers(&newer), "{newer}");
        }
        assert!(!Tcb { fmc: None, ..TCB }.covers(&TCB));
    }

    #[test]
    fn the_lowest_of_two_is_the_lowest_in_each_part() {
        let one = Tcb { fmc: Some(2), bootloader: 9, snp: 7, ..TCB };
        let lowest = Tcb { snp: 7, ..TCB };
        assert_eq!((TCB.lowest(&one), one.lowest(&TCB)), (lowest, lowest));
        assert_eq!(TCB.lowest(&Tcb { fmc: None, ..TCB }).fmc, None);
    }

    #[test]
    fn products_are_known_by_certificate_and_processor() {
        for (name, product) in [
            ("Milan-B0", Some(Product::Milan)),
            ("Genoa", Some(Product::Genoa)),
            ("Siena", Some(Product::Genoa)),
            ("Turin", Some(Product::Turin)),
            ("Venice", None),
            ("milan", None),
            ("", None),
        ] {
            assert_eq!(Product::of_certificate(name), product, "{name}");
        }
        for (family, model, product) in [
            (0x19, 0x01, Some(Product::Milan)),
            (0x19, 0x11, Some(Product::Genoa)),
            (0x19, 0xA0, Some(Product::Genoa)),
            (0x1A, 0x02, Some(Product::Turin)),
            (0x1A, 0x50, None),
            (0x17, 0x31, None),
        ] {
            assert_eq!(Product::of_processor(family, model), product, "{family:x} {model:x}");
        }
    }
}
