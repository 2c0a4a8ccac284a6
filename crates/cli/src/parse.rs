//! Small texts of the command line, parsed.

use std::time::Duration;

use alloy::primitives::{Address, B256, U256, utils::parse_units};
use sesame_domain::Grant;

/// A text of the command line is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// Not `INDEX=NAME`.
    #[error("expected INDEX=NAME with an index from 1, such as 1=db-password")]
    NotAGrant,
    /// The name cannot be a secret's.
    #[error(transparent)]
    Name(#[from] sesame_domain::ParseIdError),
    /// Not a number with a unit.
    #[error("expected a number and s, m, h or d, such as 90s, 10m, 2h or 1d")]
    NotADuration,
    /// Not an amount of money.
    #[error(
        "expected a whole number of the smallest unit, or one of ether or gwei, such as 0.25ether"
    )]
    NotAnAmount,
    /// Not a currency.
    #[error("expected `native`, or the address of an ERC-20")]
    NotACurrency,
    /// Not 32 bytes.
    #[error("expected 0x and 64 hexadecimal digits")]
    NotBytes32,
}

/// `INDEX=NAME`: which of the requester's secrets the app sees as number `INDEX`.
pub(crate) fn grant(text: &str) -> Result<Grant, ParseError> {
    let (index, name) = text.split_once('=').ok_or(ParseError::NotAGrant)?;
    let digits = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    let index = index.parse().ok().filter(|index| digits && *index > 0);
    Ok(Grant { index: index.ok_or(ParseError::NotAGrant)?, name: name.parse()? })
}

/// A number and its unit: `90s`, `10m`, `2h`, `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, ParseError> {
    let split = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(split).ok_or(ParseError::NotADuration)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(ParseError::NotADuration),
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| digits);
    let number = number.and_then(|number| number.checked_mul(seconds));
    number.map(Duration::from_secs).ok_or(ParseError::NotADuration)
}

/// An amount of money: `1500` of the currency's smallest unit, or `0.25ether`, `3gwei`.
pub(crate) fn amount(text: &str) -> Result<U256, ParseError> {
    let units =
        ["ether", "gwei"].into_iter().find_map(|unit| Some((text.strip_suffix(unit)?, unit)));
    let (number, unit) = units.unwrap_or((text, "wei"));
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number.ends_with(|c: char| c.is_ascii_digit());
    let whole = unit != "wei" || !number.contains('.');
    let decimals = match unit {
        "ether" => 18,
        "gwei" => 9,
        _ => 0,
    };
    // More decimals than the unit has would be cut off without a word.
    let exact = number.split_once('.').is_none_or(|(_, fraction)| fraction.len() <= decimals);
    if !(plain && whole && exact) {
        return Err(ParseError::NotAnAmount);
    }
    let parsed = parse_units(number, unit).map_err(|_| ParseError::NotAnAmount)?;
    Ok(parsed.get_absolute())
}

/// `native`, or the address of an ERC-20; the contracts write zero for the native coin.
pub(crate) fn currency(text: &str) -> Result<Address, ParseError> {
    if text == "native" {
        return Ok(Address::ZERO);
    }
    text.parse().map_err(|_| ParseError::NotACurrency)
}

/// `0x` and 64 hexadecimal digits: a digest or a salt.
pub(crate) fn bytes32(text: &str) -> Result<B256, ParseError> {
    let digits = text.strip_prefix("0x").ok_or(ParseError::NotBytes32)?;
    digits.parse().map_err(|_| ParseError::NotBytes32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_an_index_from_one_and_a_name() {
        let parsed = grant("2=db-password").unwrap();
        assert_eq!((parsed.index, parsed.name.as_str()), (2, "db-password"));
        for bad in
            ["", "=", "1", "0=a", "+1=a", "-1=a", "x=a", "4294967296=a", "1=", "1=a b", "1=a=b"]
        {
            assert!(grant(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in
            ["", "s", "10", "+1s", "-1s", "1.5h", "10 m", "1w", "1é", "99999999999999999999d"]
        {
            assert_eq!(duration(bad), Err(ParseError::NotADuration), "{bad}");
        }
    }

    #[test]
    fn amounts_are_whole_or_have_a_unit() {
        let (gwei, ether) = (10_u64.pow(9), 10_u64.pow(18));
        for (text, wei) in [
            ("0", 0),
            ("1500", 1500),
            ("3gwei", 3 * gwei),
            ("0.25ether", ether / 4),
            ("1.000000001gwei", gwei + 1),
        ] {
            assert_eq!(amount(text), Ok(U256::from(wei)), "{text}");
        }
        let greatest = U256::MAX.to_string();
        assert_eq!(amount(&greatest), Ok(U256::MAX));
        for bad in [
            "",
            "ether",
            "-1",
            "+1",
            "1.5",
            ".5ether",
            "5.ether",
            "1.2.3ether",
            "1 ether",
            "0x10",
            "1e3",
            "1_000",
            "1.0000000001gwei",
            &format!("{greatest}0"),
            &format!("{greatest}gwei"),
        ] {
            assert_eq!(amount(bad), Err(ParseError::NotAnAmount), "{bad}");
        }
    }

    #[test]
    fn a_currency_is_native_or_an_address() {
        assert_eq!(currency("native"), Ok(Address::ZERO));
        let token = Address::repeat_byte(7);
        assert_eq!(currency(&token.to_string()), Ok(token));
        for bad in ["", "ether", "0x07"] {
            assert_eq!(currency(bad), Err(ParseError::NotACurrency), "{bad}");
        }
    }

    #[test]
    fn digests_are_prefixed() {
        let digest = format!("0x{}", "ab".repeat(32));
        assert_eq!(bytes32(&digest), Ok(B256::repeat_byte(0xab)));
        assert_eq!(bytes32(&"ab".repeat(32)), Err(ParseError::NotBytes32));
        assert_eq!(bytes32("0xab"), Err(ParseError::NotBytes32));
    }
}
