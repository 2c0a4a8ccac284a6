//! A platform that is known costs less and may do no more.
//!
//! That each part of a *report* is judged behind a warm cache is asserted with each refusal of `reports`; here it is the
//! rest.

use super::*;

#[test]
fn a_platform_is_verified_once_and_so_is_each_other() {
    let (one, other) = (World::milan(), World::milan());
    let verifier = one.verifier();
    for (world, remembered) in [(&one, 1), (&one, 1), (&other, 2), (&one, 2)] {
        verifier.verify(&world.quote(), &one.collateral, &REPORT_DATA, NOW).unwrap();
        assert_eq!(verifier.remembered(), remembered);
    }
}

#[test]
fn what_does_not_verify_is_not_remembered() {
    let world = World { roots: Roots::amd(), ..World::milan() };
    let verifier = world.verifier();
    verifier.verify(&world.quote(), &world.collateral, &REPORT_DATA, NOW).unwrap_err();
    assert_eq!(verifier.remembered(), 0);
}

#[test]
fn the_cache_is_bounded() {
    let first = World::milan();
    let verifier = first.verifier();
    for _ in 0..6 {
        let world = World::milan();
        verifier.verify(&world.quote(), &first.collateral, &REPORT_DATA, NOW).unwrap();
    }
    assert_eq!(verifier.remembered(), 4);
}

#[test]
fn a_known_platform_is_forgotten_when_its_time_is_over() {
    let world = World::milan();
    let verifier = world.verifier();
    let verify = |now| verifier.verify(&world.quote(), &world.collateral, &REPORT_DATA, now);
    let until = verify(NOW).unwrap().verified_until();
    verify(until - 1).unwrap();
    for now in [until, until + 1, MONTH.start - 1, 0, u64::MAX] {
        verify(NOW).unwrap();
        assert_refused!(verify(now), Err(SnpError::Chain { .. }));
        assert_eq!(verifier.remembered(), 0, "{now}");
    }
}

#[test]
fn a_newer_list_bites_at_once() {
    let world = World::milan();
    let verifier = world.verifier();
    verifier.verify(&world.quote(), &world.collateral, &REPORT_DATA, NOW).unwrap();
    let newer = MILAN.collateral(SigningKey::Vcek, &[2], MONTH).unwrap();
    let refused = verifier.verify(&world.quote(), &newer, &REPORT_DATA, NOW);
    assert_refused!(
        refused,
        Err(SnpError::Chain { part: Part::Signer, problem: ChainProblem::Revoked })
    );
}

#[test]
fn every_byte_of_chain_and_list_is_part_of_what_is_remembered() {
    let world = World::milan();
    let verifier = world.verifier();
    verifier.verify(&world.quote(), &world.collateral, &REPORT_DATA, NOW).unwrap();
    let parts: [fn(&mut SnpCollateral) -> &mut Vec<u8>; 3] =
        [|it| &mut it.signer, |it| &mut it.root, |it| &mut it.revoked];
    for part in parts {
        let length = part(&mut world.collateral.clone()).len();
        for byte in 0..length {
            let mut other = world.collateral.clone();
            part(&mut other)[byte] ^= 1;
            verifier.verify(&world.quote(), &other, &REPORT_DATA, NOW).unwrap_err();
        }
    }
    let certificate = world.platform.certificate();
    for byte in 0..certificate.len() {
        let mut other = certificate.to_vec();
        other[byte] ^= 1;
        let evidence = SnpEvidence::from_report(world.quote().report(), Some(other)).unwrap();
        verifier.verify(&evidence, &world.collateral, &REPORT_DATA, NOW).unwrap_err();
    }
    assert_eq!(verifier.remembered(), 1);
}

#[test]
fn a_known_platform_does_not_vouch_for_anothers_report() {
    let (known, other) = (World::milan(), World::milan());
    let verifier = known.verifier();
    verifier.verify(&known.quote(), &known.collateral, &REPORT_DATA, NOW).unwrap();
    let certificate = Some(known.platform.certificate().to_vec());
    let lifted = SnpEvidence::from_report(other.quote().report(), certificate).unwrap();
    let refused = verifier.verify(&lifted, &known.collateral, &REPORT_DATA, NOW);
    assert_refused!(refused, Err(SnpError::Signature));
}
