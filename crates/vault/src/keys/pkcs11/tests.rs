//! Keys stay in their token, and a token that goes away or refuses is told, and used again when it is back.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    session::UserType,
    types::AuthPin,
};
use sesame_domain::SecretId;

use super::*;
use crate::{
    error::VaultError,
    keys::KeySource,
    rotate::Rotated,
    safe::{Location, Push, Vault},
    testing::{metadata, plaintext, who},
};

const LABEL: &str = "sesame";
const PIN: &str = "428915";

/// Where distributions put SoftHSM.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// A SoftHSM with one token.
struct Scratch(PathBuf);

impl Scratch {
    fn hsm(&self) -> Hsm {
        let module = MODULES.iter().find(|path| Path::new(path).exists());
        let module = module.expect("SoftHSM is missing: script/setup installs it").into();
        Hsm { module, token: LABEL.to_owned(), pin_file: self.0.join("pin") }
    }

    fn keys(&self) -> Arc<Token> {
        Arc::new(Token::new(self.hsm()))
    }

    fn tokens(&self) -> PathBuf {
        self.0.join("tokens")
    }

    fn write_pin(&self, pin: &str) {
        fs::write(self.0.join("pin"), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.0.join("pin"), Permissions::from_mode(0o600)).unwrap();
    }

    fn init_token(&self) {
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", LABEL, "--pin", PIN]);
        command.args(["--so-pin", "12345678"]).env("SOFTHSM2_CONF", self.0.join("softhsm2.conf"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// A session of somebody else in this process.
    fn other(&self) -> Session {
        let module = Pkcs11::new(self.hsm().module).unwrap();
        let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let slot = module.get_slots_with_token().unwrap().into_iter();
        let mut slot = slot.filter(|slot| module.get_token_info(*slot).unwrap().label() == LABEL);
        let session = module.open_rw_session(slot.next().unwrap()).unwrap();
        let _ = session.login(UserType::User, Some(&AuthPin::new(PIN.into())));
        session
    }
}

/// Tells a story in a process of its own, since SoftHSM learns from the environment where its tokens are.
fn with_token(test: &str, story: impl FnOnce(&Scratch)) {
    const FOLDER: &str = "SESAME_TEST_TOKEN";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let scratch = Scratch(folder.into());
        story(&scratch);
        fs::write(scratch.0.join("told"), []).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch(folder.path().into());
    fs::create_dir(scratch.tokens()).unwrap();
    let conf = format!("directories.tokendir = {}\n", scratch.tokens().display());
    fs::write(scratch.0.join("softhsm2.conf"), conf).unwrap();
    scratch.write_pin(PIN);
    scratch.init_token();
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("{module}::{test}"), "--nocapture"]);
    command.env("SOFTHSM2_CONF", scratch.0.join("softhsm2.conf")).env(FOLDER, &scratch.0);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && scratch.0.join("told").exists(), "{text}");
}

/// What a token answers in the end.
fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it never happened");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn reason<T>(result: Result<T, KeyError>) -> String {
    match result.map(|_| ()) {
        Err(KeyError::Token { token, reason, .. }) => {
            assert_eq!(token, LABEL);
            reason
        }
        other => panic!("expected a token that cannot be used: {other:?}"),
    }
}

#[test]
fn a_key_opens_what_it_sealed_and_nothing_else() {
    with_token("a_key_opens_what_it_sealed_and_nothing_else", |scratch| {
        let keys = scratch.keys();
        let (one, two) = (keys.make().unwrap(), keys.make().unwrap());
        assert_ne!(one.id(), two.id());
        let wrapped = one.wrap(b"data key", b"bound").unwrap();
        assert_eq!(wrapped.len(), 12 + 8 + 16);
        assert_ne!(wrapped, one.wrap(b"data key", b"bound").unwrap());
        assert_eq!(*one.unwrap(&wrapped, b"bound").unwrap(), b"data key");
        let refused = |key: &dyn Kek, wrapped: &[u8], aad: &[u8]| match key.unwrap(wrapped, aad) {
            Err(KeyError::Refused) => {}
            other => panic!("{other:?}"),
        };
        refused(&*one, &wrapped, b"other");
        refused(&*two, &wrapped, b"bound");
        for length in 0..wrapped.len() {
            refused(&*one, &wrapped[..length], b"bound");
        }
        for bit in 0..wrapped.len() * 8 {
            let mut altered = wrapped.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            refused(&*one, &altered, b"bound");
        }
        // Another process, another connection, the same key.
        let id = one.id();
        drop((one, two, keys));
        let found = scratch.keys().find(id).unwrap();
        assert_eq!(*found.unwrap(&wrapped, b"bound").unwrap(), b"data key");
        let unknown = "0011223344556677".parse().unwrap();
        let missing = scratch.keys().find(unknown);
        assert!(matches!(missing, Err(KeyError::Missing { .. })), "{missing:?}");
    });
}

#[test]
fn a_key_cannot_be_taken_out() {
    with_token("a_key_cannot_be_taken_out", |scratch| {
        let keys = scratch.keys();
        let key = keys.make().unwrap();
        let session = scratch.other();
        let [handle] = session.find_objects(&named(key.id())).unwrap().try_into().unwrap();
        let value = session.get_attributes(handle, &[AttributeType::Value]).unwrap_or_default();
        assert!(value.is_empty(), "the token gives the key away");
        let sealing = key.wrap(b"it is used all the same", b"").unwrap();
        key.unwrap(&sealing, b"").unwrap();
    });
}

#[test]
fn a_key_that_could_leave_its_token_is_refused() {
    with_token("a_key_that_could_leave_its_token_is_refused", |scratch| {
        let keys = scratch.keys();
        let session = scratch.other();
        let made = |change: &dyn Fn(&mut Vec<Attribute>), imported: bool| {
            let id = KeyId(rand::random::<[u8; 8]>().into());
            let mut template = template(id);
            change(&mut template);
            if imported {
                template.retain(|one| !matches!(one, Attribute::ValueLen(_)));
                template.push(Attribute::Value(vec![7; 32]));
                session.create_object(&template).unwrap();
            } else {
                session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
            }
            match keys.find(id) {
                Err(KeyError::Unfit { reason, .. }) => reason,
                other => panic!("{other:?}"),
            }
        };
        let set = |attribute: Attribute| {
            move |template: &mut Vec<Attribute>| {
                template.retain(|other| other.attribute_type() != attribute.attribute_type());
                template.push(attribute.clone());
            }
        };
        let extractable = made(&set(Attribute::Extractable(true)), false);
        assert!(extractable.contains("CKA_EXTRACTABLE"), "{extractable}");
        let readable = made(&set(Attribute::Sensitive(false)), false);
        assert!(readable.contains("CKA_SENSITIVE"), "{readable}");
        let short = made(&set(Attribute::ValueLen(16.into())), false);
        assert!(short.contains("256 bits"), "{short}");
        let imported = made(&|_| {}, true);
        assert!(imported.contains("CKA_ALWAYS_SENSITIVE"), "{imported}");
        // One that was taken out, and locked up afterwards.
        let id = KeyId(rand::random::<[u8; 8]>().into());
        let mut early = template(id);
        set(Attribute::Extractable(true))(&mut early);
        let handle = session.generate_key(&Mechanism::AesKeyGen, &early).unwrap();
        session.update_attributes(handle, &[Attribute::Extractable(false)]).unwrap();
        let refused = keys.find(id);
        assert!(
            matches!(&refused, Err(KeyError::Unfit { reason, .. }) if reason.contains("NEVER")),
            "{refused:?}"
        );
        // Two of one name.
        session.generate_key(&Mechanism::AesKeyGen, &template(id)).unwrap();
        let refused = keys.find(id);
        assert!(
            matches!(&refused, Err(KeyError::Unfit { reason, .. }) if reason.contains("several")),
            "{refused:?}"
        );
    });
}

#[test]
fn a_wrong_pin_is_told_and_not_tried_again() {
    with_token("a_wrong_pin_is_told_and_not_tried_again", |scratch| {
        let wrong = "999111";
        scratch.write_pin(wrong);
        let keys = scratch.keys();
        for _ in 0..3 {
            let said = reason(keys.make());
            assert!(said.contains("refuses the PIN") && said.contains("/pin"), "{said}");
            assert!(!said.contains(wrong));
        }
        // Nor if it would be right by now.
        let session = scratch.other();
        session.set_pin(&AuthPin::new(PIN.into()), &AuthPin::new(wrong.into())).unwrap();
        drop(session);
        assert!(reason(keys.make()).contains("not tried again"));
        scratch.keys().make().unwrap();
        assert!(!format!("{keys:?}").contains(wrong));
    });
}

#[test]
fn the_right_pin_mends_a_wrong_one() {
    with_token("the_right_pin_mends_a_wrong_one", |scratch| {
        for wrong in ["", "1", "999111", &"9".repeat(300)] {
            scratch.write_pin(wrong);
            let keys = scratch.keys();
            assert!(reason(keys.make()).contains("refuses the PIN"), "{wrong}");
            scratch.write_pin(PIN);
            keys.make().unwrap();
        }
    });
}

#[test]
fn a_pin_that_others_can_read_or_that_is_missing_is_refused() {
    with_token("a_pin_that_others_can_read_or_that_is_missing_is_refused", |scratch| {
        let file = scratch.hsm().pin_file;
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let refused = scratch.keys().make();
        assert!(matches!(refused, Err(KeyError::Exposed { .. })), "{refused:?}");
        fs::remove_file(file).unwrap();
        let refused = scratch.keys().make();
        assert!(matches!(refused, Err(KeyError::File { .. })), "{refused:?}");
    });
}

#[test]
fn a_module_or_token_that_is_not_there_is_named() {
    with_token("a_module_or_token_that_is_not_there_is_named", |scratch| {
        let with = |change: &dyn Fn(&mut Hsm)| {
            let mut hsm = scratch.hsm();
            change(&mut hsm);
            keys(hsm).make().map(|_| ()).unwrap_err().to_string()
        };
        let said = with(&|hsm| hsm.module = "/nowhere/pkcs11.so".into());
        assert!(said.contains("cannot use /nowhere/pkcs11.so as a PKCS#11 module"), "{said}");
        let text = scratch.0.join("softhsm2.conf");
        let said = with(&|hsm| hsm.module = text.clone());
        assert!(said.contains("as a PKCS#11 module"), "{said}");
        let said = with(&|hsm| hsm.token = "another".to_owned());
        assert!(said.contains("another") && said.contains("no token has that label"), "{said}");
        scratch.init_token();
        let said = with(&|_| {});
        assert!(said.contains("several tokens have that label"), "{said}");
    });
}

#[test]
fn a_token_that_was_gone_is_used_again() {
    with_token("a_token_that_was_gone_is_used_again", |scratch| {
        let keys = scratch.keys();
        let key = keys.make().unwrap();
        let wrapped = key.wrap(b"data key", b"bound").unwrap();
        let away = scratch.0.join("away");
        for _ in 0..3 {
            fs::rename(scratch.tokens(), &away).unwrap();
            fs::create_dir(scratch.tokens()).unwrap();
            let gone = eventually(|| key.unwrap(&wrapped, b"bound").err());
            assert!(reason(Err::<(), _>(gone)).contains("no token has that label"));
            assert!(reason(key.wrap(b"data key", b"bound")).contains("no token"));
            fs::remove_dir(scratch.tokens()).unwrap();
            fs::rename(&away, scratch.tokens()).unwrap();
            let opened = eventually(|| key.unwrap(&wrapped, b"bound").ok());
            assert_eq!(*opened, b"data key");
        }
    });
}

#[test]
fn a_user_who_was_logged_out_is_logged_in_again() {
    with_token("a_user_who_was_logged_out_is_logged_in_again", |scratch| {
        let keys = scratch.keys();
        let key = keys.make().unwrap();
        let wrapped = key.wrap(b"data key", b"bound").unwrap();
        for _ in 0..3 {
            scratch.other().logout().unwrap();
            assert_eq!(*key.unwrap(&wrapped, b"bound").unwrap(), b"data key");
        }
        for _ in 0..3 {
            Pkcs11::new(scratch.hsm().module).unwrap().finalize().unwrap();
            assert_eq!(*key.unwrap(&wrapped, b"bound").unwrap(), b"data key");
        }
    });
}

#[test]
fn a_key_that_was_destroyed_is_missing() {
    with_token("a_key_that_was_destroyed_is_missing", |scratch| {
        let keys = scratch.keys();
        let key = keys.make().unwrap();
        let wrapped = key.wrap(b"data key", b"bound").unwrap();
        let session = scratch.other();
        let [handle] = session.find_objects(&named(key.id())).unwrap().try_into().unwrap();
        session.destroy_object(handle).unwrap();
        for _ in 0..3 {
            let missing = key.unwrap(&wrapped, b"bound");
            assert!(
                matches!(&missing, Err(KeyError::Missing { id, .. }) if *id == key.id()),
                "{missing:?}"
            );
        }
        keys.make().unwrap();
    });
}

/// Twice as many threads as sessions, two vaults of one process, and somebody who logs everybody out all the while.
#[test]
fn many_threads_ask_at_once() {
    with_token("many_threads_ask_at_once", |scratch| {
        let (one, two) = (scratch.keys(), scratch.keys());
        let key = one.make().unwrap();
        let same = two.find(key.id()).unwrap();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16_u8)
                .map(|number| {
                    let key = if number % 2 == 0 { &key } else { &same };
                    scope.spawn(move || {
                        for round in 0..50_u8 {
                            let (value, aad) = ([number; 32], [round]);
                            let wrapped = key.wrap(&value, &aad).unwrap();
                            assert_eq!(*key.unwrap(&wrapped, &aad).unwrap(), value);
                            let refused = key.unwrap(&wrapped, &[round, round]);
                            assert!(matches!(refused, Err(KeyError::Refused)), "{refused:?}");
                        }
                    })
                })
                .collect();
            while !threads.iter().all(|thread| thread.is_finished()) {
                drop(scratch.keys().make().unwrap());
            }
        });
    });
}

fn push(vault: &Vault, number: u64, version: u64) {
    let secret = SecretId::Requester(who(2), format!("n{number}").parse().unwrap());
    let metadata = metadata(who(2), 0, version);
    vault.push(Push { secret, metadata, value: plaintext(b"value") }).unwrap();
}

fn is_whole(vault: &Vault, records: u64) {
    let tally = vault.check(|_| {}).unwrap();
    assert_eq!((tally.records, tally.damaged), (records, Vec::new()));
}

#[test]
fn a_vault_is_made_in_a_token_and_moves_out_and_in() {
    with_token("a_vault_is_made_in_a_token_and_moves_out_and_in", |scratch| {
        let folder = scratch.0.join("keys");
        let (files, hsm) = (KeySource::Folder(folder.clone()), KeySource::Pkcs11(scratch.hsm()));
        let into = KeySource::Either(hsm.clone().into(), files.clone().into());
        let out = KeySource::Either(files.clone().into(), hsm.clone().into());
        let open = |keys: &KeySource| {
            Vault::open(&Location::Folder(scratch.0.join("vault")), keys, 31337, who(1))
        };
        let missing = |keys: &KeySource| match open(keys) {
            Err(VaultError::Key(KeyError::Missing { .. })) => {}
            other => panic!("{other:?}"),
        };

        let vault = open(&into).unwrap();
        assert!(!folder.exists(), "the key is in a file");
        for number in 0..300 {
            push(&vault, number, 1);
        }
        is_whole(&vault, 300);
        let in_use = vault.key_in_use();
        assert_eq!(in_use.place, "the HSM's token sesame");
        assert_eq!(in_use.next, in_use.place);
        drop(vault);
        missing(&files);

        let vault = open(&out).unwrap();
        assert_ne!(vault.key_in_use().place, vault.key_in_use().next);
        // Dies in the middle: both places are needed.
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            vault.rotate_key(None, |_| std::panic::resume_unwind(Box::new(())))
        }));
        assert!(died.is_err());
        drop(vault);
        missing(&hsm);
        missing(&files);
        let vault = open(&out).unwrap();
        is_whole(&vault, 300);
        push(&vault, 0, 2);
        let Rotated { records, key } = vault.rotate_key(None, |_| {}).unwrap();
        assert_eq!((records, vault.key_in_use().key), (300, key));
        drop(vault);
        is_whole(&open(&files).unwrap(), 300);
        missing(&hsm);

        let vault = open(&into).unwrap();
        vault.rotate_key(None, |_| {}).unwrap();
        drop(vault);
        fs::remove_dir_all(&folder).unwrap();
        is_whole(&open(&hsm).unwrap(), 300);
        missing(&files);
    });
}

/// A record that was altered is damaged; one that cannot be looked at for want of the token is not.
#[test]
fn a_token_that_is_gone_damages_nothing() {
    with_token("a_token_that_is_gone_damages_nothing", |scratch| {
        let at = Location::Folder(scratch.0.join("vault"));
        let vault = Vault::open(&at, &KeySource::Pkcs11(scratch.hsm()), 31337, who(1)).unwrap();
        push(&vault, 1, 1);
        let away = scratch.0.join("away");
        fs::rename(scratch.tokens(), &away).unwrap();
        fs::create_dir(scratch.tokens()).unwrap();
        let failed = eventually(|| vault.check(|_| {}).err());
        assert!(matches!(failed, VaultError::Key(KeyError::Token { .. })), "{failed:?}");
        let secret = SecretId::Requester(who(2), "n2".parse().unwrap());
        let push = || Push {
            secret: secret.clone(),
            metadata: metadata(who(2), 0, 1),
            value: plaintext(b"value"),
        };
        let failed = vault.push(push());
        assert!(matches!(failed, Err(VaultError::Key(KeyError::Token { .. }))), "{failed:?}");
        assert_eq!(vault.newest(&secret).unwrap(), None);
        fs::remove_dir(scratch.tokens()).unwrap();
        fs::rename(&away, scratch.tokens()).unwrap();
        eventually(|| vault.push(push()).ok());
        is_whole(&vault, 2);
    });
}
