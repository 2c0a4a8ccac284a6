//! Tells the derive of schemas how types of other crates, and those with a form of their own, look on the wire.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "openapi")]
    utoipa_config::Config::new()
        .alias_for("Address", "crate::schema::EthereumAddress")
        .alias_for("B256", "crate::schema::Word")
        .alias_for("Bytes", "crate::schema::Hex")
        .alias_for("Signature65", "crate::schema::Signature")
        .alias_for("Jwk", "crate::schema::JsonWebKey")
        .write_to_file();
}
