//! The TEE that a PoCo deal asks for.

use alloy_primitives::B256;

/// What an SGX app was built with, or TDX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framework {
    /// SGX by SCONE.
    Scone,
    /// SGX by Gramine.
    Gramine,
    /// TDX.
    Tdx,
}

impl Framework {
    /// As the wire writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scone => "SCONE",
            Self::Gramine => "GRAMINE",
            Self::Tdx => "TDX",
        }
    }

    /// The framework of this name, in whatever case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Scone, Self::Gramine, Self::Tdx];
        all.into_iter().find(|framework| framework.as_str().eq_ignore_ascii_case(name))
    }

    /// Which framework a tag asks for: of its 256 bits the low four are `0x3`, `0x5` or `0x9`, and anything else is no TEE task.
    #[must_use]
    pub fn of_tag(tag: B256) -> Option<Self> {
        match tag.0[31] & 0xf {
            0x3 => Some(Self::Scone),
            0x5 => Some(Self::Gramine),
            0x9 => Some(Self::Tdx),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;

    fn of(tag: U256) -> Option<Framework> {
        Framework::of_tag(tag.into())
    }

    #[test]
    fn three_of_sixteen_values_name_a_framework() {
        for low in 0..16u64 {
            let expected = match low {
                3 => Some(Framework::Scone),
                5 => Some(Framework::Gramine),
                9 => Some(Framework::Tdx),
                _ => None,
            };
            assert_eq!(of(U256::from(low)), expected, "{low}");
            // The other bits, that of a GPU among them, say nothing about it.
            assert_eq!(of(U256::from(low | 0x100)), expected, "{low}");
            assert_eq!(of(U256::from(low) | (U256::MAX << 4)), expected, "{low}");
            // Nor do the same bits elsewhere.
            assert_eq!(of(U256::from(low) << 4), None, "{low}");
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        for (name, expected) in [
            ("TDX", Some(Framework::Tdx)),
            ("tdx", Some(Framework::Tdx)),
            ("Scone", Some(Framework::Scone)),
            ("gramine", Some(Framework::Gramine)),
            ("", None),
            ("sgx", None),
            ("TDX ", None),
        ] {
            assert_eq!(Framework::named(name), expected, "{name}");
        }
    }
}
