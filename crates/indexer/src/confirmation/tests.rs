//! Depths and tags have one spelling each.

use super::*;

#[test]
fn depths_and_tags_are_read_and_written_alike() {
    for (text, expected) in [
        ("0", Confirmation::Blocks(0)),
        ("12", Confirmation::Blocks(12)),
        ("safe", Confirmation::Safe),
        ("finalized", Confirmation::Finalized),
    ] {
        assert_eq!(text.parse(), Ok(expected));
        assert_eq!(expected.to_string(), text);
    }
}

#[test]
fn anything_else_is_refused() {
    for bad in ["", " ", "-1", "1.5", "Safe", "latest", "pending", "final", "12 ", "0x1"] {
        assert_eq!(bad.parse::<Confirmation>(), Err(ParseConfirmationError), "{bad}");
    }
}
