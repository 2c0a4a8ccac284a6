//! Intel's extension of a PCK certificate (OID 1.2.840.113741.1.13.1): what the platform is.

use yasna::{DERWriter, models::ObjectIdentifier};

/// The extension's own identifier.
pub(super) const OID: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];

/// The platform that is simulated.
pub(super) const FMSPC: [u8; 6] = [0x5e, 0x5a, 0x3e, 0, 0, 0];
/// Its CPUSVN, one number per component.
pub(super) const CPU_SVN: [u8; 16] = [5; 16];
/// Its provisioning enclave's version.
pub(super) const PCE_SVN: u16 = 13;

const PPID: [u8; 16] = [0xab; 16];
const PCE_ID: [u8; 2] = [0; 2];
const INSTANCE: [u8; 16] = [0x11; 16];
/// Scalable: a platform with several processors.
const SGX_TYPE: i64 = 1;

/// The extension's content, DER.
pub(super) fn content() -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|fields| {
            field(fields.next(), &[1], |value| value.write_bytes(&PPID));
            field(fields.next(), &[2], tcb);
            field(fields.next(), &[3], |value| value.write_bytes(&PCE_ID));
            field(fields.next(), &[4], |value| value.write_bytes(&FMSPC));
            field(fields.next(), &[5], |value| value.write_enum(SGX_TYPE));
            field(fields.next(), &[6], |value| value.write_bytes(&INSTANCE));
            field(fields.next(), &[7], configuration);
        });
    })
}

fn tcb(writer: DERWriter<'_>) {
    writer.write_sequence(|fields| {
        for (number, svn) in (1..).zip(CPU_SVN) {
            field(fields.next(), &[2, number], |value| value.write_u8(svn));
        }
        field(fields.next(), &[2, 17], |value| value.write_u16(PCE_SVN));
        field(fields.next(), &[2, 18], |value| value.write_bytes(&CPU_SVN));
    });
}

/// A dynamic platform, without cached keys and hyper-threading.
fn configuration(writer: DERWriter<'_>) {
    writer.write_sequence(|fields| {
        for (number, flag) in [(1, true), (2, false), (3, false)] {
            field(fields.next(), &[7, number], |value| value.write_bool(flag));
        }
    });
}

fn field(writer: DERWriter<'_>, below: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|pair| {
        pair.next().write_oid(&ObjectIdentifier::new([&OID[..], below].concat()));
        value(pair.next());
    });
}
