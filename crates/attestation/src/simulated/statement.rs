//! What a vendor says about a platform: TCB info and the quoting enclave's identity, as Intel's service answers them.

use alloy_primitives::hex;
use serde::Serialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    extension::{FMSPC, PCE_SVN},
    quoting::{QE_SIGNER, QE_SVN},
};
use crate::tcb::TcbStatus;

/// Intel's technologies, whose quotes and collateral have forms of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dcap {
    /// SGX.
    Sgx,
    /// TDX.
    Tdx,
}

/// What a vendor says.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The status of the simulated platform.
    pub status: TcbStatus,
    /// The advisories that apply to it.
    pub advisories: Vec<String>,
    /// Which platform it is about.
    pub fmspc: [u8; 6],
    /// The version that every component must have to reach the status; the simulated platform's is 5, its TD's 3.
    pub components: u8,
    /// The least version of quoting enclave that is known; the simulated one's is 8.
    pub quoting_enclave: u16,
    /// Whether the platform's certificate is revoked; for SEV-SNP, where lists name no platforms, its issuer's.
    pub revoked: bool,
    /// From when on it counts, seconds since 1970.
    pub from: u64,
    /// Until when, seconds since 1970.
    pub until: u64,
}

/// TCB info as Intel's service writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfo {
    id: &'static str,
    version: u8,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: &'static str,
    tcb_type: u8,
    tcb_evaluation_data_number: u32,
    #[serde(flatten)]
    of_tdx: Option<TdxModule>,
    tcb_levels: [Value; 1],
}

/// What only the TCB info of TDX has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TdxModule {
    tdx_module: Value,
    tdx_module_identities: [Value; 0],
}

impl TdxModule {
    fn simulated() -> Self {
        let tdx_module = json!({
            "mrsigner": "00".repeat(48),
            "attributes": "00".repeat(8),
            "attributesMask": "ff".repeat(8),
        });
        Self { tdx_module, tdx_module_identities: [] }
    }
}

impl Statement {
    /// The simulated platform is up to date.
    #[must_use]
    pub const fn up_to_date(from: u64, until: u64) -> Self {
        Self {
            status: TcbStatus::UpToDate,
            advisories: Vec::new(),
            fmspc: FMSPC,
            components: 3,
            quoting_enclave: QE_SVN,
            revoked: false,
            from,
            until,
        }
    }

    /// TCB info, version 3.
    pub(super) fn tcb_info(&self, tee: Dcap) -> String {
        let components = vec![json!({ "svn": self.components }); 16];
        // The module's own two components stay at zero: the platform has the module of version 0.
        let of_module = [vec![json!({ "svn": 0 }); 2], vec![json!({ "svn": self.components }); 14]];
        let (id, tcb, of_tdx) = match tee {
            Dcap::Sgx => {
                ("SGX", json!({ "sgxtcbcomponents": components, "pcesvn": PCE_SVN }), None)
            }
            Dcap::Tdx => (
                "TDX",
                json!({
                    "sgxtcbcomponents": components,
                    "pcesvn": PCE_SVN,
                    "tdxtcbcomponents": of_module.concat(),
                }),
                Some(TdxModule::simulated()),
            ),
        };
        let level = json!({
            "tcb": tcb,
            "tcbDate": date(self.from),
            "tcbStatus": self.status,
            "advisoryIDs": self.advisories,
        });
        let info = TcbInfo {
            id,
            version: 3,
            issue_date: date(self.from),
            next_update: date(self.until),
            fmspc: hex::encode(self.fmspc),
            pce_id: "0000",
            tcb_type: 0,
            tcb_evaluation_data_number: 17,
            tcb_levels: [level],
            of_tdx,
        };
        serde_json::to_string(&info).expect("TCB info is text and numbers")
    }

    /// The quoting enclave's identity, version 2.
    pub(super) fn qe_identity(&self, tee: Dcap) -> String {
        let id = match tee {
            Dcap::Sgx => "QE",
            Dcap::Tdx => "TD_QE",
        };
        let level = json!({
            "tcb": { "isvsvn": self.quoting_enclave },
            "tcbDate": date(self.from),
            "tcbStatus": "UpToDate",
        });
        json!({
            "id": id,
            "version": 2,
            "issueDate": date(self.from),
            "nextUpdate": date(self.until),
            "tcbEvaluationDataNumber": 17,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": hex::encode(QE_SIGNER),
            "isvprodid": 1,
            "tcbLevels": [level],
        })
        .to_string()
    }
}

fn date(seconds: u64) -> String {
    moment(seconds).format(&Rfc3339).expect("a year below 10000 has a text")
}

/// A point in time; those past the year 9999 are its last second.
pub(super) fn moment(seconds: u64) -> OffsetDateTime {
    const LAST: i64 = 253_402_300_799;
    let seconds = i64::try_from(seconds).map_or(LAST, |seconds| seconds.min(LAST));
    OffsetDateTime::from_unix_timestamp(seconds).expect("a date until 9999")
}
