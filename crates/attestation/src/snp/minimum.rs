//! An operator's minimum of firmware, as it is written in a configuration.

use std::str::FromStr;

use super::product::{Product, Tcb};

/// The firmware that platforms of one product must have at least.
///
/// Written `PRODUCT:PART=VERSION,…` with every part of the product's firmware:
/// `Milan:bootloader=4,tee=0,snp=24,microcode=219`, and `fmc` too for Turin. No part has a default, since a forgotten one
/// would admit every platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minimum {
    /// The product.
    pub product: Product,
    /// Its firmware.
    pub tcb: Tcb,
}

/// A text is no [`Minimum`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no minimum of firmware: write Milan, Genoa or Turin, then `:` and each of \
     bootloader=, tee=, snp= and microcode= once (for Turin also fmc=), with a version up to 255"
)]
pub struct MinimumError(pub String);

impl FromStr for Minimum {
    type Err = MinimumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| MinimumError(text.to_owned()))
    }
}

fn read(text: &str) -> Option<Minimum> {
    let (name, parts) = text.split_once(':')?;
    let product = Product::ALL.into_iter().find(|product| product.name() == name)?;
    let parts: Vec<(&str, u8)> = parts.split(',').map(part).collect::<Option<_>>()?;
    let version = |name| {
        let mut found = parts.iter().filter(|(part, _)| *part == name);
        let first = found.next().map(|(_, version)| *version);
        if found.next().is_some() { None } else { first }
    };
    let fmc = if product.has_fmc() { Some(version("fmc")?) } else { None };
    let tcb = Tcb {
        fmc,
        bootloader: version("bootloader")?,
        tee: version("tee")?,
        snp: version("snp")?,
        microcode: version("microcode")?,
    };
    let expected = 4 + usize::from(product.has_fmc());
    (parts.len() == expected).then_some(Minimum { product, tcb })
}

fn part(text: &str) -> Option<(&str, u8)> {
    let (name, version) = text.split_once('=')?;
    Some((name.trim(), version.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, product: Product, tcb: Tcb) {
        assert_eq!(text.parse(), Ok(Minimum { product, tcb }), "{text}");
    }

    #[test]
    fn a_minimum_names_every_part() {
        let tcb = Tcb { fmc: None, bootloader: 4, tee: 0, snp: 24, microcode: 219 };
        check("Milan:bootloader=4,tee=0,snp=24,microcode=219", Product::Milan, tcb);
        check("Genoa: microcode=219, snp=24, tee=0, bootloader=4", Product::Genoa, tcb);
        let tcb = Tcb { fmc: Some(1), ..tcb };
        check("Turin:fmc=1,bootloader=4,tee=0,snp=24,microcode=219", Product::Turin, tcb);
    }

    #[test]
    fn what_is_missing_twice_there_or_unknown_is_refused() {
        for text in [
            "",
            "Milan",
            "Milan:",
            "Rome:bootloader=4,tee=0,snp=24,microcode=219",
            "milan:bootloader=4,tee=0,snp=24,microcode=219",
            "Milan:bootloader=4,tee=0,snp=24",
            "Milan:bootloader=4,tee=0,snp=24,microcode=219,snp=24",
            "Milan:bootloader=4,tee=0,snp=24,microcode=219,fmc=1",
            "Milan:bootloader=4,tee=0,snp=24,microcode=219,other=1",
            "Milan:bootloader=4,tee=0,snp=24,microcode=256",
            "Milan:bootloader=4,tee=0,snp=24,microcode=-1",
            "Milan:bootloader=4,tee=0,snp=24,microcode=",
            "Milan:bootloader=4,tee=0,snp=24,microcode",
            "Milan:bootloader=4,tee=0,snp=24,microcode=219,",
            "Turin:bootloader=4,tee=0,snp=24,microcode=219",
        ] {
            assert_eq!(text.parse::<Minimum>(), Err(MinimumError(text.to_owned())));
        }
    }
}
