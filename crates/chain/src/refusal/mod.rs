//! The contracts' custom errors in words, each with what mends it.

mod assets;
mod currency;
mod tasks;
mod whitelist;

use std::fmt;

use alloy::sol_types::{Revert, SolError, SolInterface};

use crate::abi::{
    assets::{IAssetRegistry::IAssetRegistryErrors, IERC721::IERC721Errors},
    currency::IERC20::IERC20Errors,
    tasks::ITaskRegistry::ITaskRegistryErrors,
    whitelist::IEnclaveWhitelist::IEnclaveWhitelistErrors,
};

/// A contract said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The custom error's name.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Its arguments, by name.
    pub arguments: Vec<(&'static str, String)>,
    /// What a person can do about it.
    pub hint: &'static str,
}

impl Refused {
    fn new(name: &'static str, meaning: &'static str, hint: &'static str) -> Self {
        Self { name, meaning, arguments: Vec::new(), hint }
    }

    fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.arguments.push((name, value.to_string()));
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.meaning, self.name)?;
        for (name, value) in &self.arguments {
            write!(f, ", {name} {value}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Refused {}

/// What the data of a revert says, if it is one of the contracts' errors.
#[must_use]
pub fn refusal_of(data: &[u8]) -> Option<Refused> {
    if let Ok(error) = ITaskRegistryErrors::abi_decode(data) {
        return Some(tasks::refused(error));
    }
    if let Ok(error) = IEnclaveWhitelistErrors::abi_decode(data) {
        return Some(whitelist::refused(error));
    }
    if let Ok(error) = IAssetRegistryErrors::abi_decode(data) {
        return Some(assets::refused(error));
    }
    if let Ok(error) = IERC721Errors::abi_decode(data) {
        return Some(assets::refused_as_token(error));
    }
    if let Ok(error) = IERC20Errors::abi_decode(data) {
        return Some(currency::refused(error));
    }
    let text = Revert::abi_decode(data).ok()?.reason;
    Some(Refused::new("Error", "the contract gave a reason in words", "").with("reason", text))
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U256};

    use super::*;
    use crate::abi::{assets, currency, tasks, whitelist};

    fn check(error: impl SolError, expected: &str) {
        let refused = refusal_of(&error.abi_encode()).unwrap();
        assert_eq!(refused.to_string(), expected);
        assert!(!refused.hint.is_empty());
    }

    #[test]
    fn every_registrys_errors_are_told_in_words() {
        let one = "0x0000000000000000000000000000000000000000000000000000000000000001";
        check(
            tasks::ITaskRegistry::NotWhitelisted { assetId: U256::from(1), enclaveId: B256::ZERO },
            &format!(
                "an owner does not let this enclave near the asset (NotWhitelisted, asset {one}, enclave {})",
                B256::ZERO
            ),
        );
        check(
            whitelist::IEnclaveWhitelist::NotAuthorizedFor {
                assetId: U256::from(1),
                caller: Address::ZERO,
            },
            &format!(
                "the account neither owns the asset nor may act for its owner (NotAuthorizedFor, asset {one}, account {})",
                Address::ZERO
            ),
        );
        check(
            assets::IERC721::ERC721NonexistentToken { tokenId: U256::from(1) },
            &format!("there is no such asset (ERC721NonexistentToken, asset {one})"),
        );
        check(
            assets::IAssetRegistry::UriLengthInvalid { length: U256::from(3000) },
            "the uri is empty or too long (UriLengthInvalid, length 3000)",
        );
        check(
            tasks::ITaskRegistry::WrongCurrency { assetId: U256::from(1), expected: Address::ZERO },
            &format!(
                "an owner asks for a price in another currency than the order's (WrongCurrency, asset {one}, expected the native coin)"
            ),
        );
        check(
            currency::IERC20::ERC20InsufficientAllowance {
                spender: Address::ZERO,
                allowance: U256::from(1),
                needed: U256::from(2),
            },
            &format!(
                "the account has not approved the cost (ERC20InsufficientAllowance, spender {}, allowance 1, needed 2)",
                Address::ZERO
            ),
        );
    }

    #[test]
    fn a_reason_in_words_is_passed_on() {
        let data = Revert { reason: "paused".to_owned() }.abi_encode();
        assert!(refusal_of(&data).unwrap().to_string().contains("paused"));
    }

    #[test]
    fn strange_data_is_no_refusal() {
        assert_eq!(refusal_of(&[]), None);
        assert_eq!(refusal_of(&[1, 2, 3, 4]), None);
    }
}
