//! What iExec's clients, schedulers and workers sign: 32-byte hashes, by EIP-191 over the raw bytes.
//!
//! They hold no nonce, no expiry and no chain: a signature is good for ever, wherever the same service answers.
//! Web2 and requester secrets have one formula, so a signature for the one is one for the other.

use alloy_primitives::{Address, B256, b256, eip191_hash_message, keccak256};
use sesame_domain::TaskId;
use sesame_protocol::signature::recover;

/// `keccak256("IEXEC_SMS_DOMAIN")`, with which every secret's challenge begins.
const DOMAIN: B256 = b256!("0a26923d45a019b77e856d0001681f98ab9707ec15b2b98048cc91eed00b6793");

/// The only name under which an app has a secret.
const APP_SECRET_INDEX: &str = "1";

/// The owner of a dataset pushes its key: `keccak256(DOMAIN ‖ asset ‖ keccak256(value))`.
#[must_use]
pub fn dataset(asset: Address, value: &[u8]) -> B256 {
    unnamed(asset.as_slice(), value)
}

/// Somebody pushes a secret of their own under a name, which is taken as it was written:
/// `keccak256(DOMAIN ‖ owner ‖ keccak256(name) ‖ keccak256(value))`.
#[must_use]
pub fn web2(owner: Address, name: &str, value: &[u8]) -> B256 {
    named(owner.as_slice(), name, value)
}

/// A requester pushes a secret for apps: the same hash as that of a [`web2`] secret.
#[must_use]
pub fn requester(requester: Address, key: &str, value: &[u8]) -> B256 {
    named(requester.as_slice(), key, value)
}

/// The owner of an app pushes its secret, whose name is `1`.
#[must_use]
pub fn app(app: Address, value: &[u8]) -> B256 {
    named(app.as_slice(), APP_SECRET_INDEX, value)
}

/// A scheduler asks for the enclave challenge of a task: `keccak256(task)`.
#[must_use]
pub fn task(task: TaskId) -> B256 {
    keccak256(task.0)
}

/// A worker asks for a session, and its scheduler vouches for the run: `keccak256(worker ‖ task ‖ enclave challenge)`.
#[must_use]
pub fn session(worker: Address, task: TaskId, enclave_challenge: Address) -> B256 {
    hash(&[worker.as_slice(), task.0.as_slice(), enclave_challenge.as_slice()])
}

/// Whether `signature` is that of `expected` over a challenge (EIP-191 over its 32 bytes).
///
/// A signature is `0x` and 65 bytes in hexadecimal: r, s in the lower half of the group's order, v 27 or 28.
/// Whatever else the text is, it is nobody's.
#[must_use]
pub fn signed_by(challenge: B256, signature: &str, expected: Address) -> bool {
    let signer =
        parse(signature).and_then(|signature| signer(eip191_hash_message(challenge), &signature));
    signer == Some(expected)
}

fn parse(text: &str) -> Option<[u8; 65]> {
    let mut signature = [0; 65];
    hex::decode_to_slice(text.strip_prefix("0x")?, &mut signature).ok()?;
    Some(signature)
}

/// Whose key signed a hash, if v is 27 or 28, as PoCo and its clients write it.
pub(crate) fn signer(hash: B256, signature: &[u8; 65]) -> Option<Address> {
    let [.., v] = signature;
    recover(hash, signature).ok().filter(|_| matches!(v, 27 | 28))
}

fn unnamed(address: &[u8], value: &[u8]) -> B256 {
    hash(&[DOMAIN.as_slice(), address, keccak256(value).as_slice()])
}

fn named(address: &[u8], name: &str, value: &[u8]) -> B256 {
    let (name, value) = (keccak256(name), keccak256(value));
    hash(&[DOMAIN.as_slice(), address, name.as_slice(), value.as_slice()])
}

fn hash(parts: &[&[u8]]) -> B256 {
    keccak256(parts.concat())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{U256, address, uint};
    use sesame_protocol::signature::Signer;

    use super::*;

    const A: Address = address!("1a642f0E3c3aF545E7AcBD38b07251B3990914F1");
    const B: Address = address!("5050A4F4b3f9338C3472dcC01A87C76A144b3c9c");
    const ASSET: Address = address!("00000000000000000000000000000000000a55e7");
    const TASK: TaskId = TaskId(B256::repeat_byte(0x11));
    const ENCLAVE: Address = Address::repeat_byte(0x22);
    const VALUE: &[u8] = b"s3cret";

    const WEB3_SIGNATURE: &str = "0x83ead5993fe4a361cf4d5d69a66c53690a713bc6320c931f37157cc244612bc11ff588ca742d72fe68a62cbf6bf5bb90d8019e6e64baadf96823df2662504ad71c";

    /// What is signed, by whom, the hash, and the signature.
    fn vectors() -> [(B256, Address, &'static str, &'static str); 7] {
        [
            (
                dataset(ASSET, VALUE),
                A,
                "0x118244f72cea49f69a8025941288b30fde08424d60a6d43f43c631bab27682ce",
                WEB3_SIGNATURE,
            ),
            (
                web2(A, "iexec-result-dropbox-token", VALUE),
                A,
                "0x320e7b2d69dcc8d058ae4aa1183a4e13213252966e0f888d0c806f0c20a4455c",
                "0xbb433dc4690aa72c5c8299925bd1204fcff692a4986538ec299378d1af340506548fc0b56dae06d6d54f3b86e8aa83323be79843fc0ebe092fdc0c30921d474e1b",
            ),
            (
                requester(A, "my-key", VALUE),
                A,
                "0x03684f0984598c23474154bbc580eb7dd8fae1c3589ec7bb283d9f2d4f67b451",
                "0x2ea1b6dd5b839ca7dc09b61b2e56a0dc76453ed346feb2a6972a4d1a8a08e3142d4a924d079ac20f24fda6660fc8425dff4b5f09ce8fe62d3d9860c1471a14611c",
            ),
            (
                app(ASSET, VALUE),
                A,
                "0x857d5e54b88cb19d5d1b39ae09aeb313434e366286cc327817e1f9354b70639a",
                "0xda01bd1e50b8b5259ea487efd7e71eb6bed4ba801b3d25934b993adb6ad39204519177790af33a8b7ab34e9975c0826f53e2ab1656ff2fb2233cc08d7286afcf1b",
            ),
            (
                task(TASK),
                B,
                "0xb569321de72d0af89c2fb48a484de3fc9343f31600ae1f3e13d633cb48cbf816",
                "0x640cedde3695fcb4f2632cb1d94c96f33046a1aa900c3ab72e86b969c93d3daf0c6959e6d40b243d0c03b66c5fc7887eeae669a4e1fa832454d0b06a1c8c3bd81c",
            ),
            (
                session(A, TASK, ENCLAVE),
                A,
                "0xe7f24dfde56d905509ffc71e03315eb3f9329004107f72d516d1864fae4d8962",
                "0x9cd870b7a81035761c7df1b6d9463d195780e934705d05d1214df8a5260a6f29192fc5b87b970d863f4905f9c3251b54d6e9ddf719ccefa6b3c496affe8b57501c",
            ),
            (
                session(A, TASK, ENCLAVE),
                B,
                "0xe7f24dfde56d905509ffc71e03315eb3f9329004107f72d516d1864fae4d8962",
                "0x2d70cdfe6ad5190bdf8115ed081d16bf8a3cc52ff30bdda112a14b6f61527f000c6e8a5e577545d2aebf756cdce954e53add253f90ae7b83bdb327487e2d8efc1c",
            ),
        ]
    }

    #[test]
    fn challenges_and_signatures_are_those_of_the_original() {
        assert_eq!(keccak256("IEXEC_SMS_DOMAIN"), DOMAIN);
        for (challenge, signer, expected, signature) in vectors() {
            assert_eq!(challenge.to_string(), expected);
            assert!(signed_by(challenge, signature, signer), "{expected}");
        }
    }

    #[test]
    fn our_signer_makes_the_same_signatures() {
        let keys = [[1; 32], [2; 32]].map(|key| Signer::from_bytes(&key).unwrap());
        assert_eq!(keys.each_ref().map(Signer::address), [A, B]);
        for (challenge, signer, _, expected) in vectors() {
            let key = keys.iter().find(|key| key.address() == signer).unwrap();
            assert_eq!(key.sign_hash(eip191_hash_message(challenge)).to_string(), expected);
        }
    }

    #[test]
    fn the_formulas_take_what_the_originals_own_tests_give_them() {
        assert_eq!(
            named(&[], "0", b""),
            b256!("31991eefc2731228bdd25dbc5a242722eda3869f9b06536dbd96a774e5228509")
        );
        assert_eq!(
            unnamed(&[0x01, 0x23], b"ghijk"),
            b256!("8d0b92aaf96f66f172d7615b81f257ebdece2278b7da6c60127cad45852eaaf6")
        );
    }

    #[test]
    fn a_signature_is_good_for_its_own_challenge_and_signer_alone() {
        let all = vectors();
        for (challenge, signer, _, signature) in &all {
            let other = if *signer == A { B } else { A };
            assert!(!signed_by(*challenge, signature, other));
            for (foreign, ..) in all.iter().filter(|(foreign, ..)| foreign != challenge) {
                assert!(!signed_by(*foreign, signature, *signer));
            }
        }
        // One formula for two kinds, which nothing can mend here.
        assert_eq!(web2(A, "key", VALUE), requester(A, "key", VALUE));
        assert_ne!(app(A, VALUE), dataset(A, VALUE));
        assert_ne!(web2(A, "Key", VALUE), web2(A, "key", VALUE));
        assert_ne!(web2(A, "key", b"s3cret "), web2(A, "key", VALUE));
    }

    #[test]
    fn what_is_no_signature_is_nobodys() {
        let challenge = dataset(ASSET, VALUE);
        let digits = &WEB3_SIGNATURE[2..];
        let refused = [
            String::new(),
            "0x".to_owned(),
            digits.to_owned(),
            format!("0X{digits}"),
            format!(" {WEB3_SIGNATURE}"),
            format!("{WEB3_SIGNATURE} "),
            format!("Bearer {WEB3_SIGNATURE}"),
            format!("{WEB3_SIGNATURE}00"),
            WEB3_SIGNATURE[..130].to_owned(),
            WEB3_SIGNATURE[..131].to_owned(),
            format!("0x0x{}", &digits[2..]),
            format!("0xg{}", &digits[1..]),
            format!("0xé{}", &digits[2..]),
            format!("0x{}", "00".repeat(65)),
            format!("0x{}1b", "ff".repeat(64)),
        ];
        for text in refused {
            assert!(!signed_by(challenge, &text, A), "{text}");
            assert!(!signed_by(challenge, &text, Address::ZERO), "{text}");
        }
        assert!(signed_by(challenge, &format!("0x{}", digits.to_uppercase()), A));
    }

    #[test]
    fn v_is_27_or_28() {
        let challenge = dataset(ASSET, VALUE);
        let head = WEB3_SIGNATURE.strip_suffix("1c").unwrap();
        for v in 0..=u8::MAX {
            let taken = signed_by(challenge, &format!("{head}{v:02x}"), A);
            assert_eq!(taken, v == 28, "{v}");
        }
    }

    #[test]
    fn the_malleable_twin_is_nobodys() {
        let order = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
        let mut twin = parse(WEB3_SIGNATURE).unwrap();
        let s = U256::from_be_slice(&twin[32..64]);
        twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        twin[64] = 27 + 28 - twin[64];
        assert!(!signed_by(dataset(ASSET, VALUE), &format!("0x{}", hex::encode(twin)), A));
    }
}
