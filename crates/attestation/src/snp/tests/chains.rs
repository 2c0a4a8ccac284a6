//! Chains that are not quite AMD's: each part, each way to be wrong.

use aws_lc_rs::{
    rsa::KeySize,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair},
};
use sesame_domain::TeeKind;
use x509_cert::{
    Version,
    crl::{CertificateList, RevokedCert},
    der::{Decode, Encode, asn1::Ia5StringRef, oid::ObjectIdentifier},
    ext::{Extension, pkix::BasicConstraints},
    serial_number::SerialNumber,
};

use super::{
    super::{
        endorsement::{
            BOOTLOADER, FMC, HARDWARE_ID, MICROCODE, PRODUCT_NAME, PROVIDER_ID, SNP, TEE,
        },
        issue::{Authority, Fields, extension},
    },
    *,
};

const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.3.4");

fn rsa_key() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).unwrap()
}

/// The refusal of an honest report whose collateral is this.
fn refused_with(world: &World, alter: impl FnOnce(&mut SnpCollateral)) -> SnpError {
    let mut collateral = world.collateral.clone();
    alter(&mut collateral);
    world.verifier().verify(&world.quote(), &collateral, &REPORT_DATA, NOW).unwrap_err()
}

/// The refusal of a report whose VCEK certificate says this. The key is the certificate's, so the chain alone is at fault.
fn refused_vcek(world: &World, alter: impl FnOnce(&mut Fields)) -> SnpError {
    refused_endorsement(world, MILAN.signer(SigningKey::Vcek), alter)
}

fn refused_endorsement(
    world: &World,
    signer: &Authority,
    alter: impl FnOnce(&mut Fields),
) -> SnpError {
    let (milan, key) = (Product::Milan, SigningKey::Vcek);
    let mut fields = Fields::endorsement(milan, key, &chip(milan), tcb(milan), YEARS).unwrap();
    alter(&mut fields);
    let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let certificate = signer.certify(&fields, &key).unwrap();
    let evidence = SnpEvidence::from_report(world.quote().report(), Some(certificate)).unwrap();
    world.verify(&evidence).unwrap_err()
}

/// The refusal of a report below a signer that says this.
fn refused_signer(world: &World, alter: impl FnOnce(&mut Fields)) -> SnpError {
    let mut fields = Fields::authority("SEV-Milan", 2, YEARS).unwrap();
    alter(&mut fields);
    let signer = Authority::issue(&fields, rsa_key(), Some(MILAN.root())).unwrap();
    let collateral =
        SnpCollateral { signer: signer.certificate().to_vec(), ..world.collateral.clone() };
    refused_endorsement(&World { collateral, ..World::milan() }, &signer, |_| {})
}

macro_rules! assert_part {
    ($result:expr, $part:ident, $problem:pat $(if $guard:expr)?) => {
        assert_refused!(
            $result,
            SnpError::Chain { part: Part::$part, problem: $problem } $(if $guard)?
        )
    };
}

fn set(fields: &mut Fields, id: ObjectIdentifier, content: Option<Vec<u8>>) {
    fields.extensions.retain(|found| found.extn_id != id);
    fields.extensions.extend(content.map(|content| extension(id, false, content).unwrap()));
}

#[test]
fn a_simulated_chain_is_nobodys_where_nobody_trusts_it() {
    let world = World { roots: Roots::amd(), ..World::milan() };
    assert_refused!(world.verify(&world.quote()), Err(SnpError::UnknownRoot));
    let other =
        Roots::insecure_trusting_simulated(Product::Milan, amd(Product::Milan).root_certificate());
    let world = World { roots: other, ..World::milan() };
    assert_refused!(world.verify(&world.quote()), Err(SnpError::UnknownRoot));
}

/// However it dresses up, what is below another root than AMD's is of kind 255.
#[test]
fn a_simulated_chain_cannot_pass_for_amds() {
    let world = World::milan();
    let verdict = world.verify(&world.quote()).unwrap();
    assert_eq!((verdict.kind(), verdict.measurement()[0]), (TeeKind::Simulated, 3));

    // AMD's root certificate above a simulated signer, which names another issuer.
    let amd_root =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/snp/roots/ark_milan.der"));
    let amd_root = amd_root.unwrap();
    let refused = refused_with(&world, |collateral| collateral.root.clone_from(&amd_root));
    assert_part!(refused, Signer, ChainProblem::Issuer);

    // The same with a signer that names AMD's root as its issuer, signed by somebody else's key.
    let impostor = Authority::read(rsa_key(), amd_root.clone()).unwrap();
    let fields = Fields::authority("SEV-Milan", 2, YEARS).unwrap();
    let signer = Authority::issue(&fields, rsa_key(), Some(&impostor)).unwrap();
    let refused = refused_with(&world, |collateral| {
        collateral.root.clone_from(&amd_root);
        collateral.signer = signer.certificate().to_vec();
    });
    assert_part!(refused, Signer, ChainProblem::Signature);

    // A simulated root with AMD's very name is still not AMD's root.
    let root =
        Authority::issue(&Fields::authority("ARK-Milan", 1, YEARS).unwrap(), rsa_key(), None);
    let refused =
        refused_with(&world, |collateral| collateral.root = root.unwrap().certificate().to_vec());
    assert_refused!(refused, SnpError::UnknownRoot);
}

#[test]
fn every_certificate_holds_now_or_the_chain_does_not() {
    let world = World::milan();
    for (holds, begun) in [(NOW - 9..NOW, true), (NOW + 1..NOW + 9, false)] {
        let dated = |fields: &mut Fields| fields.holds = holds.clone();
        for (refused, expected) in [
            (refused_vcek(&world, dated), Part::Endorsement),
            (refused_signer(&world, dated), Part::Signer),
        ] {
            let SnpError::Chain { part, problem } = refused else { panic!("{refused:?}") };
            assert_eq!(part, expected);
            let (expired, early) = (ChainProblem::Expired(NOW), ChainProblem::NotYetValid(NOW + 1));
            assert_eq!(problem, if begun { expired } else { early });
        }
    }
    let verifier = world.verifier();
    for (now, part, expired) in [
        (YEARS.start - 1, Part::Root, false),
        (YEARS.end, Part::Root, true),
        (MONTH.start - 1, Part::RevocationList, false),
        (MONTH.end, Part::RevocationList, true),
    ] {
        let refused = verifier.verify(&world.quote(), &world.collateral, &REPORT_DATA, now);
        let Err(SnpError::Chain { part: got, problem }) = refused else { panic!("{refused:?}") };
        assert_eq!((got, matches!(problem, ChainProblem::Expired(_))), (part, expired), "{now}");
    }
}

#[test]
fn a_revoked_signer_vouches_for_nobody() {
    for (key, serial) in [(SigningKey::Vcek, 2), (SigningKey::Vlek, 3)] {
        let mut world = World::of(&MILAN, key);
        world.collateral = MILAN.collateral(key, &[9, serial], MONTH).unwrap();
        let refused = world.verify(&world.quote()).unwrap_err();
        assert_part!(refused, Signer, ChainProblem::Revoked);
        world.collateral = MILAN.collateral(key, &[1, 9], MONTH).unwrap();
        world.verify(&world.quote()).unwrap();
    }
}

#[test]
fn a_list_that_is_not_the_roots_is_refused() {
    let world = World::milan();
    let other = amd(Product::Milan).collateral(SigningKey::Vcek, &[], MONTH).unwrap();
    let refused = refused_with(&world, |collateral| collateral.revoked.clone_from(&other.revoked));
    assert_part!(refused, RevocationList, ChainProblem::Signature);
    let signer = MILAN.signer(SigningKey::Vcek).revoke(&[], Some(MONTH.end), MONTH.start).unwrap();
    let refused = refused_with(&world, |collateral| collateral.revoked = signer);
    assert_part!(refused, RevocationList, ChainProblem::Issuer);
    let refused =
        refused_with(&world, |collateral| collateral.revoked.clone_from(&collateral.root));
    assert_part!(refused, RevocationList, ChainProblem::Malformed(_));
}

#[test]
fn a_list_without_an_end_is_refused() {
    let endless = MILAN.root().revoke(&[], None, MONTH.start).unwrap();
    let refused = refused_with(&World::milan(), |collateral| collateral.revoked = endless);
    assert_part!(refused, RevocationList, ChainProblem::NoExpiry);
}

#[test]
fn a_list_that_asks_for_more_than_is_known_is_refused() {
    let world = World::milan();
    let list = CertificateList::from_der(&world.collateral.revoked).unwrap().tbs_cert_list;
    let critical = extension(UNKNOWN, true, vec![5, 0]).unwrap();
    let mut partial = list.clone();
    partial.crl_extensions = Some(vec![critical.clone()]);
    let mut indirect = list;
    indirect.version = Version::V2;
    indirect.revoked_certificates = Some(vec![RevokedCert {
        serial_number: SerialNumber::new(&[9]).unwrap(),
        revocation_date: indirect.this_update,
        crl_entry_extensions: Some(vec![critical]),
    }]);
    for list in [partial, indirect] {
        let list = MILAN.root().sign_list(list).unwrap();
        let refused = refused_with(&world, |collateral| collateral.revoked = list);
        assert_part!(refused, RevocationList, ChainProblem::Critical(UNKNOWN));
    }
}

#[test]
fn one_flipped_bit_anywhere_in_a_list_is_refused_and_so_is_every_part_of_it() {
    let world = World::milan();
    let list = MILAN.collateral(SigningKey::Vcek, &[7, 8, 9], MONTH).unwrap().revoked;
    for byte in 0..list.len() {
        let refused = refused_with(&world, |collateral| {
            collateral.revoked.clone_from(&list);
            collateral.revoked[byte] ^= 1 << (byte * 5 % 8);
        });
        assert_part!(refused, RevocationList, _);
        let refused = refused_with(&world, |collateral| collateral.revoked = list[..byte].to_vec());
        assert_part!(refused, RevocationList, ChainProblem::Malformed(_));
    }
}

#[test]
fn a_signer_that_may_not_sign_is_refused() {
    let world = World::milan();
    let no_authority = BasicConstraints { ca: false, path_len_constraint: None }.to_der().unwrap();
    let id = ObjectIdentifier::new_unwrap("2.5.29.19");
    let usage = ObjectIdentifier::new_unwrap("2.5.29.15");
    // A usage of digitalSignature alone.
    let no_signing = vec![3, 2, 7, 0x80];
    for (id, content) in
        [(id, Some(no_authority)), (id, None), (usage, None), (usage, Some(no_signing))]
    {
        let refused = refused_signer(&world, |fields| set(fields, id, content));
        assert_part!(refused, Signer, ChainProblem::NotAnAuthority);
    }
}

#[test]
fn each_signer_signs_its_own_kind_of_key() {
    let world = World::milan();
    let vlek_signer = MILAN.signer(SigningKey::Vlek);
    let crossed = World {
        collateral: MILAN.collateral(SigningKey::Vlek, &[], MONTH).unwrap(),
        ..World::milan()
    };
    let refused = refused_endorsement(&crossed, vlek_signer, |_| {});
    assert_part!(refused, Signer, ChainProblem::Name(name) if name == "SEV-VLEK-Milan");
    let refused = refused_endorsement(&world, vlek_signer, |_| {});
    assert_part!(refused, Endorsement, ChainProblem::Issuer);
    let refused = refused_endorsement(&world, MILAN.root(), |_| {});
    assert_part!(refused, Endorsement, ChainProblem::Issuer);
    for name in ["SEV-Genoa", "SEV", "ARK-Milan"] {
        let refused = refused_signer(&world, |fields| fields.subject = name.to_owned());
        assert_part!(refused, Signer, ChainProblem::Name(got) if got == name);
    }
}

#[test]
fn a_key_is_what_its_name_and_extensions_both_say() {
    let world = World::milan();
    let refused = refused_vcek(&world, |fields| fields.subject = "SEV-VLEK".to_owned());
    assert_part!(refused, Endorsement, ChainProblem::Extension(PROVIDER_ID));
    let refused = refused_vcek(&world, |fields| fields.subject = "SEV".to_owned());
    assert_part!(refused, Endorsement, ChainProblem::Name(_));
    let provider = Ia5StringRef::new("someone").unwrap().to_der().unwrap();
    let refused = refused_vcek(&world, |fields| set(fields, PROVIDER_ID, Some(provider)));
    assert_part!(refused, Endorsement, ChainProblem::Extension(HARDWARE_ID));
}

#[test]
fn an_extension_that_is_missing_twice_there_or_malformed_is_refused() {
    let world = World::milan();
    for id in [PRODUCT_NAME, BOOTLOADER, TEE, SNP, MICROCODE, HARDWARE_ID] {
        let twice = |fields: &mut Fields| {
            let found = fields.extensions.iter().find(|found| found.extn_id == id);
            let found: Extension = found.unwrap().clone();
            fields.extensions.push(found);
        };
        let malformed = [vec![], vec![2, 1], vec![2, 2, 1, 0], vec![4, 1, 0], vec![0x16, 0]];
        let refused = [refused_vcek(&world, twice), refused_vcek(&world, |it| set(it, id, None))];
        let malformed =
            malformed.map(|content| refused_vcek(&world, |it| set(it, id, Some(content))));
        for refused in refused.into_iter().chain(malformed) {
            assert_part!(refused, Endorsement, ChainProblem::Extension(got) if got == id);
        }
    }
}

#[test]
fn a_turin_certificate_without_its_fmc_is_refused() {
    let turin = amd(Product::Turin);
    let world = World::of(&turin, SigningKey::Vcek);
    let (product, key) = (Product::Turin, SigningKey::Vcek);
    let mut fields =
        Fields::endorsement(product, key, &chip(product), tcb(product), YEARS).unwrap();
    set(&mut fields, FMC, None);
    let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let certificate = turin.signer(SigningKey::Vcek).certify(&fields, &key).unwrap();
    let evidence = SnpEvidence::from_report(world.quote().report(), Some(certificate)).unwrap();
    let refused = world.verify(&evidence).unwrap_err();
    assert_part!(refused, Endorsement, ChainProblem::Extension(FMC));
}

#[test]
fn an_id_in_an_octet_string_counts_as_well() {
    let id = [[4, 64].as_slice(), &chip(Product::Milan)].concat();
    let refused = refused_vcek(&World::milan(), |fields| set(fields, HARDWARE_ID, Some(id)));
    // The chain is fine; the report is signed by another key.
    assert_refused!(refused, SnpError::Signature);
}

#[test]
fn what_is_critical_and_unknown_is_refused() {
    let world = World::milan();
    let add = |fields: &mut Fields| {
        fields.extensions.push(extension(UNKNOWN, true, vec![5, 0]).unwrap());
    };
    assert_part!(refused_vcek(&world, add), Endorsement, ChainProblem::Critical(UNKNOWN));
    assert_part!(refused_signer(&world, add), Signer, ChainProblem::Critical(UNKNOWN));
}

#[test]
fn a_certificate_of_another_product_is_refused() {
    let genoa = Ia5StringRef::new("Genoa").unwrap().to_der().unwrap();
    let refused = refused_vcek(&World::milan(), |fields| set(fields, PRODUCT_NAME, Some(genoa)));
    assert_refused!(
        refused,
        SnpError::WrongProduct { evidence: Product::Genoa, root: Product::Milan }
    );
}

#[test]
fn a_report_signed_by_another_key_is_refused() {
    let world = World::milan();
    assert_refused!(refused_vcek(&world, |_| {}), SnpError::Signature);
    // An RSA key where the report's key should be.
    let certificate = Some(MILAN.signer(SigningKey::Vcek).certificate().to_vec());
    let evidence = SnpEvidence::from_report(world.quote().report(), certificate).unwrap();
    assert_part!(world.verify(&evidence).unwrap_err(), Endorsement, ChainProblem::Issuer);
    let (milan, key) = (Product::Milan, SigningKey::Vcek);
    let fields = Fields::endorsement(milan, key, &chip(milan), tcb(milan), YEARS).unwrap();
    let rsa = Authority::issue(&fields, rsa_key(), Some(MILAN.signer(key))).unwrap();
    let certificate = Some(rsa.certificate().to_vec());
    let evidence = SnpEvidence::from_report(world.quote().report(), certificate).unwrap();
    assert_part!(world.verify(&evidence).unwrap_err(), Endorsement, ChainProblem::Key);
}

#[test]
fn a_saved_key_is_the_platform_of_its_certificate() {
    for amd in [&*MILAN, &amd(Product::Turin)] {
        let world = World::of(amd, SigningKey::Vcek);
        let key = world.platform.private_key().unwrap();
        let certificate = world.platform.certificate();
        let load = |key, certificate: &[u8]| SimulatedPlatform::load(key, certificate.to_vec());
        let platform = load(key.as_ref(), certificate).unwrap();
        let again = World { platform, ..World::of(amd, SigningKey::Vcek) };
        assert_eq!(again.quote().signed(), world.quote().signed());
        again.verify(&again.quote()).unwrap();

        let vlek = World::of(amd, SigningKey::Vlek).platform;
        let other = World::of(amd, SigningKey::Vcek).platform;
        load(&[], certificate).unwrap_err();
        load(key.as_ref(), &[]).unwrap_err();
        load(key.as_ref(), amd.root_certificate()).unwrap_err();
        load(key.as_ref(), other.certificate()).unwrap_err();
        load(vlek.private_key().unwrap().as_ref(), vlek.certificate()).unwrap_err();
    }
}
