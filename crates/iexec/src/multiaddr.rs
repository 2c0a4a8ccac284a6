//! Where the content of a dataset is, as its contract has it: a multiaddr, or text.

use multihash::Multihash;

/// The number of the protocol `ipfs`, 421, as an unsigned varint.
const IPFS: [u8; 2] = [0xa5, 0x03];

/// What a session tells an enclave about bytes that a dataset's contract holds.
///
/// Bytes that are a multiaddr of IPFS are written as `/ipfs/…` and the content's hash in base58, as every gateway serves it (and
/// not as `/p2p/…`, as libraries of multiaddrs write it). Anything else is text, as an app's bytes always are, and what is no UTF-8
/// of it is replaced; other multiaddrs are among that, since no content can be fetched from them.
#[must_use]
pub fn content_uri(bytes: &[u8]) -> String {
    ipfs(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}

/// `421 ‖ length ‖ multihash`; a hash is shorter than the 128 bytes from which on its length would take two.
fn ipfs(bytes: &[u8]) -> Option<String> {
    let (length, hash) = bytes.strip_prefix(&IPFS)?.split_first()?;
    let whole = usize::from(*length) == hash.len() && Multihash::<64>::from_bytes(hash).is_ok();
    whole.then(|| format!("/ipfs/{}", bs58::encode(hash).into_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &str =
        "a5032212207237a7f4091a74ae95514890fa86a2e8a36037c350ea71c06a34c8cbe25a5057";

    #[test]
    fn ipfs_is_written_as_gateways_have_it() {
        let bytes = hex::decode(CONTENT).unwrap();
        assert_eq!(content_uri(&bytes), "/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ");
    }

    #[test]
    fn text_stays_what_it_is() {
        for text in [
            "",
            " ",
            "https://files.example.org/one.zip",
            "http://x/y?z=ä",
            "/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ",
            "docker.io/library/app:1.0",
            "QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ",
        ] {
            assert_eq!(content_uri(text.as_bytes()), text);
        }
    }

    #[test]
    fn what_is_neither_is_text_that_leads_nowhere() {
        let whole = hex::decode(CONTENT).unwrap();
        let mut longer = whole.clone();
        longer.push(0xff);
        let mut other_length = whole.clone();
        other_length[2] = 0x21;
        for bytes in [&whole[..whole.len() - 1], &whole[..2], &longer, &other_length, &[0xff; 4]] {
            let uri = content_uri(bytes);
            assert!(!uri.starts_with('/') && uri.contains('\u{fffd}'), "{uri:?}");
        }
    }
}
