//! A voucher is good for one SMS, one enclave key and a short while.

use alloy_primitives::FixedBytes;
use sesame_protocol::signature::Signer;

use super::*;

const NOW: u64 = 10_000;
const DOMAIN: Domain = Domain { chain_id: 31337, asset_registry: Address::repeat_byte(0x11) };
const SMS: Address = Address::repeat_byte(0x22);
const KEY: B256 = B256::repeat_byte(0x33);
const TASK: TaskId = TaskId(B256::repeat_byte(0x44));

fn worker() -> Signer {
    Signer::from_bytes(&[1; 32]).unwrap()
}

fn voucher(deadline: u64) -> SignedVoucher {
    SignedVoucher::sign(TASK, SMS, KEY, deadline, &DOMAIN, &worker())
}

fn check(voucher: &SignedVoucher) -> Result<WorkerProof, VoucherError> {
    WorkerProof::verify(voucher, &DOMAIN, SMS, KEY, NOW)
}

fn refused(change: impl FnOnce(&mut SignedVoucher)) -> VoucherError {
    let mut voucher = voucher(NOW);
    change(&mut voucher);
    check(&voucher).unwrap_err()
}

#[test]
fn an_honest_voucher_names_its_task_and_worker() {
    let proof = check(&voucher(NOW + 60)).unwrap();
    assert_eq!((proof.task(), proof.worker()), (TASK, worker().address()));
}

#[test]
fn a_voucher_for_another_sms_or_key_is_refused() {
    let other = Address::repeat_byte(9);
    assert_eq!(refused(|voucher| voucher.sms = other), VoucherError::OtherSms(other));
    let zero = Address::ZERO;
    assert_eq!(refused(|voucher| voucher.sms = zero), VoucherError::OtherSms(zero));
    assert_eq!(refused(|voucher| voucher.enclave_key = B256::ZERO), VoucherError::OtherKey);
    assert_eq!(refused(|voucher| voucher.enclave_key.0[31] ^= 1), VoucherError::OtherKey);
}

#[test]
fn a_voucher_holds_from_now_for_an_hour_at_most() {
    for good in [NOW, NOW + 1, NOW + LONGEST_AHEAD] {
        assert!(check(&voucher(good)).is_ok(), "{good}");
    }
    for bad in [0, NOW - 1, NOW + LONGEST_AHEAD + 1, u64::MAX] {
        assert_eq!(check(&voucher(bad)), Err(VoucherError::Deadline(bad)));
    }
}

#[test]
fn a_malformed_signature_is_refused() {
    let with = |signature: [u8; 65]| refused(|voucher| voucher.signature = FixedBytes(signature));
    assert_eq!(with([0; 65]), VoucherError::Signature(SignatureError::Malformed));
    assert_eq!(with([0xff; 65]), VoucherError::Signature(SignatureError::BadRecoveryId(0xff)));
    let mut odd = voucher(NOW).signature.0;
    odd[64] = 2;
    assert_eq!(with(odd), VoucherError::Signature(SignatureError::BadRecoveryId(2)));
}

#[test]
fn what_was_altered_after_signing_names_somebody_else() {
    let named = |change: fn(&mut SignedVoucher)| {
        let mut voucher = voucher(NOW);
        change(&mut voucher);
        check(&voucher).map(|proof| proof.worker())
    };
    assert_eq!(named(|_| ()), Ok(worker().address()));
    assert_ne!(named(|voucher| voucher.task.0[0] ^= 1), Ok(worker().address()));
    assert_ne!(named(|voucher| voucher.deadline += 1), Ok(worker().address()));
    for bit in 0..64 * 8 {
        let mut voucher = voucher(NOW);
        voucher.signature.0[bit / 8] ^= 1 << (bit % 8);
        let named = check(&voucher).map(|proof| proof.worker());
        assert_ne!(named, Ok(worker().address()), "bit {bit}");
    }
}

#[test]
fn a_voucher_of_another_deployment_names_somebody_else() {
    let domains = [
        Domain { chain_id: 1, ..DOMAIN },
        Domain { asset_registry: Address::repeat_byte(0x12), ..DOMAIN },
    ];
    for domain in domains {
        let proof = WorkerProof::verify(&voucher(NOW), &domain, SMS, KEY, NOW);
        assert_ne!(proof.map(|proof| proof.worker()), Ok(worker().address()), "{domain:?}");
    }
}
