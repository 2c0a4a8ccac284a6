//! What apps and protected data have in common.

use std::{fs::File, io, path::Path};

use alloy::primitives::{Address, B256};
use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sesame_chain::{Content, Mined};
use sesame_domain::AssetId;
use sha2::{Digest, Sha256};

use super::mined;
use crate::{context::Context, output::Answer};

#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// The asset.
    asset: AssetId,
    /// Its new owner.
    #[arg(long, value_name = "ADDRESS")]
    to: Address,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The asset.
    asset: AssetId,
}

/// Gives an asset away.
pub(crate) async fn transfer(args: &TransferArgs, context: &Context) -> anyhow::Result<()> {
    let contracts = context.contracts().await?;
    let done =
        contracts.transfer(args.asset, args.to).await.context("cannot transfer the asset")?;
    let mut fields = vec![("asset", json!(args.asset.0)), ("owner", json!(args.to))];
    fields.extend(mined(&done));
    context.output.show(&Answer::Fields(fields));
    Ok(())
}

/// Shows what the registry says about an asset.
pub(crate) async fn show(args: &ShowArgs, context: &Context) -> anyhow::Result<()> {
    let reader = context.reader().await?;
    let kind = reader.kind_of(args.asset).await.context("cannot show the asset")?;
    let content = reader.content_of(args.asset).await?;
    context.output.show(&Answer::Fields(vec![
        ("asset", json!(args.asset.0)),
        ("kind", json!(if kind == sesame_domain::AssetKind::App { "app" } else { "data" })),
        ("owner", json!(reader.owner_of(args.asset).await?)),
        ("epoch", json!(reader.epoch_of(args.asset).await?)),
        ("uri", json!(content.uri)),
        ("digest", json!(content.digest)),
    ]));
    Ok(())
}

/// The answer to a registration.
pub(crate) fn registered(asset: &Mined<AssetId>, content: &Content) -> Answer {
    let mut fields = vec![
        ("asset", json!(asset.result.0)),
        ("uri", json!(content.uri)),
        ("digest", json!(content.digest)),
    ];
    fields.extend(mined(asset));
    Answer::Fields(fields)
}

/// A file's content where it lies, unless it is published under `uri`.
pub(crate) fn content_of(path: &Path, uri: Option<String>) -> anyhow::Result<Content> {
    let digest = sha256(path).with_context(|| format!("cannot read {}", path.display()))?;
    let uri = match uri {
        Some(uri) => uri,
        None => file_uri(path)?,
    };
    Ok(Content { uri, digest })
}

fn sha256(path: &Path) -> io::Result<B256> {
    let mut digest = Sha256::new();
    io::copy(&mut File::open(path)?, &mut digest)?;
    Ok(B256::from_slice(&digest.finalize()))
}

fn file_uri(path: &Path) -> anyhow::Result<String> {
    let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
    let url = url::Url::from_file_path(&path);
    url.map(String::from).map_err(|()| anyhow::anyhow!("no uri can be made of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_content_is_its_place_and_sha256() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("an app");
        std::fs::write(&path, "abc").unwrap();
        let content = content_of(&path, None).unwrap();
        assert!(content.uri.starts_with("file:///") && content.uri.ends_with("/an%20app"));
        let expected = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(content.digest.to_string(), expected);
        let published = content_of(&path, Some("https://example.org/app".to_owned())).unwrap();
        assert_eq!(published.uri, "https://example.org/app");
    }
}
