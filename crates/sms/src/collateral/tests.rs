//! Collateral over HTTP and from files, and what happens when it does not come.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sesame_attestation::{
    dcap::DcapPlatform,
    simulated::{Statement, Vendor},
};
use tokio::net::TcpListener;

use super::*;

mod snp;

const NOW: u64 = 1_800_000_000;
const UNTIL: u64 = NOW + 30 * 86_400;

/// The simulated vendor's SGX platform, and the JSON of its collateral.
fn published(vendor: &Vendor, until: u64) -> (DcapPlatform, Value) {
    let files = vendor.publish(&Statement::up_to_date(NOW - 60, until)).files();
    let (name, bytes) = files.iter().find(|(name, _)| name.starts_with("sgx-")).unwrap();
    (DcapPlatform::of_file(name).unwrap(), serde_json::from_slice(bytes).unwrap())
}

/// The family of a platform about which no answer ever comes.
const STUCK: &str = "fmspc=0909";

/// A PCCS that serves one platform.
#[derive(Clone)]
struct Service {
    collateral: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
    base: Url,
}

impl Service {
    async fn start(collateral: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let service = Self {
            collateral: Arc::new(Mutex::new(collateral)),
            asked: Arc::default(),
            down: Arc::default(),
            base,
        };
        let router = Router::new().fallback(answer).with_state(service.clone());
        #[expect(clippy::disallowed_methods, reason = "the server ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    fn shelf(&self) -> Shelf {
        Shelf::new(CollateralSource::Services { pccs: Some(self.base.clone()), kds: None }).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    service.asked.fetch_add(1, Ordering::SeqCst);
    if service.down.load(Ordering::SeqCst) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let collateral = service.collateral.lock().unwrap().clone();
    let text = |member: &str| collateral[member].as_str().unwrap().to_owned();
    let bytes = |member: &str| alloy_primitives::hex::decode(text(member)).unwrap();
    let chain = |name: &'static str, member: &str| {
        let chain = utf8_percent_encode(&text(member), NON_ALPHANUMERIC).to_string();
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(&chain).unwrap())])
    };
    let signed = |name: &str, member: &str| {
        let signature = text(&format!("{member}_signature"));
        format!(r#"{{"{name}":{},"signature":"{signature}"}}"#, text(member))
    };
    let uri = request.uri().to_string();
    if uri.contains(STUCK) {
        std::future::pending::<()>().await;
    }
    match uri.as_str() {
        "/sgx/certification/v4/pckcrl?ca=platform&encoding=der" => {
            let header = chain("SGX-PCK-CRL-Issuer-Chain", "pck_crl_issuer_chain");
            (header, bytes("pck_crl")).into_response()
        }
        "/sgx/certification/v4/rootcacrl" => text("root_ca_crl").into_response(),
        "/sgx/certification/v4/tcb?fmspc=5E5A3E000000" => {
            let header = chain("TCB-Info-Issuer-Chain", "tcb_info_issuer_chain");
            (header, signed("tcbInfo", "tcb_info")).into_response()
        }
        "/sgx/certification/v4/qe/identity" => {
            let header = chain("SGX-Enclave-Identity-Issuer-Chain", "qe_identity_issuer_chain");
            (header, signed("enclaveIdentity", "qe_identity")).into_response()
        }
        other => (StatusCode::NOT_FOUND, other.to_owned()).into_response(),
    }
}

/// Byte for byte what the vendor signed.
#[tokio::test]
async fn what_a_service_answers_is_what_the_vendor_signed() {
    let (platform, collateral) = published(&Vendor::make(NOW), UNTIL);
    let service = Service::start(collateral.clone()).await;
    let got = service.shelf().get(platform.into(), NOW).await.unwrap();
    assert_eq!(got.until, UNTIL);
    let Collateral::Dcap(got) = got.collateral else { panic!("it is Intel's") };
    assert_eq!(serde_json::from_slice::<Value>(&got.to_json()).unwrap(), collateral);
}

#[tokio::test]
async fn a_warm_shelf_asks_nobody() {
    let (platform, collateral) = published(&Vendor::make(NOW), UNTIL);
    let service = Service::start(collateral).await;
    let shelf = service.shelf();
    let all = futures::future::join_all((0..8).map(|_| shelf.get(platform.into(), NOW))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(service.asked(), 4, "four parts, each asked for once");
    service.down.store(true, Ordering::SeqCst);
    assert!(shelf.get(platform.into(), UNTIL - 1).await.is_ok());
    assert_eq!(service.asked(), 4);
}

#[tokio::test]
async fn what_is_kept_tells_its_age_and_its_end() {
    let (platform, collateral) = published(&Vendor::make(NOW), UNTIL);
    let service = Service::start(collateral).await;
    let shelf = service.shelf();
    let kept = |platforms, oldest| KeptOf { vendor: "intel", platforms, oldest };
    let none = KeptOf { vendor: "amd", platforms: 0, oldest: None };
    assert_eq!(shelf.standing(), [kept(0, None), none.clone()]);
    let unknown = DcapPlatform { fmspc: [8; 6], ..platform };
    shelf.get(unknown.into(), NOW).await.unwrap_err();
    shelf.get(platform.into(), NOW + 1).await.unwrap();
    assert_eq!(shelf.standing(), [kept(1, Some((NOW + 1, UNTIL))), none]);
    shelf.renew(NOW + 1 + RENEW_AFTER).await;
    assert_eq!(shelf.standing()[0], kept(1, Some((NOW + 1 + RENEW_AFTER, UNTIL))));
}

#[tokio::test]
async fn what_is_stale_is_refused_with_its_date() {
    let (platform, collateral) = published(&Vendor::make(NOW), UNTIL);
    let service = Service::start(collateral).await;
    let shelf = service.shelf();
    assert!(shelf.get(platform.into(), UNTIL - 1).await.is_ok());
    let stale = shelf.get(platform.into(), UNTIL).await.unwrap_err();
    assert_eq!(stale.reason, Reason::Stale(UNTIL));
    assert_eq!(service.asked(), 8, "it was asked for again");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_named_and_not_asked_at_once_again() {
    let (platform, collateral) = published(&Vendor::make(NOW), UNTIL);
    let service = Service::start(collateral).await;
    service.down.store(true, Ordering::SeqCst);
    let shelf = service.shelf();
    for now in [NOW, NOW + REMEMBER_FAILURE - 1] {
        let refused = shelf.get(platform.into(), now).await.unwrap_err();
        assert!(
            matches!(&refused.reason, Reason::Service(why) if why.contains("502")),
            "{refused}"
        );
    }
    assert_eq!(service.asked(), 1);
    service.down.store(false, Ordering::SeqCst);
    assert!(shelf.get(platform.into(), NOW + REMEMBER_FAILURE).await.is_ok());

    let nobody = Shelf::new(CollateralSource::Services {
        pccs: Some("http://127.0.0.1:1/".parse().unwrap()),
        kds: None,
    });
    let refused = nobody.unwrap().get(platform.into(), NOW).await.unwrap_err();
    assert!(matches!(refused.reason, Reason::Service(_)), "{refused}");
}

#[tokio::test]
async fn other_platforms_and_nonsense_are_refused() {
    let (platform, collateral) = published(&Vendor::make(NOW), UNTIL);
    let service = Service::start(collateral).await;
    let unknown = DcapPlatform { fmspc: [8; 6], ..platform };
    let refused = service.shelf().get(unknown.into(), NOW).await.unwrap_err();
    assert!(matches!(&refused.reason, Reason::Service(why) if why.contains("404")), "{refused}");
    for (member, value) in [("pck_crl", "00"), ("tcb_info", "{}"), ("qe_identity", "[]")] {
        let before = service.collateral.lock().unwrap().clone();
        service.collateral.lock().unwrap()[member] = value.into();
        let refused = service.shelf().get(platform.into(), NOW).await.unwrap_err();
        assert!(matches!(refused.reason, Reason::Malformed(_)), "{member}: {refused}");
        *service.collateral.lock().unwrap() = before;
    }
}

#[tokio::test]
async fn what_is_kept_is_renewed_in_time_and_outlives_a_failure() {
    let vendor = Vendor::make(NOW);
    let (platform, collateral) = published(&vendor, UNTIL);
    let service = Service::start(collateral).await;
    let shelf = service.shelf();
    shelf.get(platform.into(), NOW).await.unwrap();
    shelf.renew(NOW + RENEW_AFTER - 1).await;
    assert_eq!(service.asked(), 4, "it is fresh enough");

    service.down.store(true, Ordering::SeqCst);
    shelf.renew(NOW + RENEW_AFTER).await;
    assert_eq!(service.asked(), 5);
    assert_eq!(shelf.get(platform.into(), NOW + RENEW_AFTER).await.unwrap().until, UNTIL);

    service.down.store(false, Ordering::SeqCst);
    *service.collateral.lock().unwrap() = published(&vendor, UNTIL + 1000).1;
    shelf.renew(NOW + RENEW_AFTER).await;
    let asked = service.asked();
    assert_eq!(shelf.get(platform.into(), NOW + RENEW_AFTER).await.unwrap().until, UNTIL + 1000);
    assert_eq!(service.asked(), asked, "the request found it renewed");
}

#[tokio::test]
async fn a_folder_serves_what_its_files_hold() {
    let vendor = Vendor::make(NOW);
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in vendor.publish(&Statement::up_to_date(NOW - 60, UNTIL)).files() {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let shelf = || Shelf::new(CollateralSource::Folder(folder.path().to_owned())).unwrap();
    let (platform, _) = published(&vendor, UNTIL);
    for tdx in [false, true] {
        let platform = DcapPlatform { tdx, ..platform };
        assert_eq!(shelf().get(platform.into(), NOW).await.unwrap().until, UNTIL);
        let stale = shelf().get(platform.into(), UNTIL).await.unwrap_err();
        assert_eq!(stale.reason, Reason::Stale(UNTIL));
    }
    let unknown = DcapPlatform { fmspc: [9; 6], ..platform };
    let refused = shelf().get(unknown.into(), NOW).await.unwrap_err().to_string();
    assert!(refused.contains("sgx-090909090909-platform.json"), "{refused}");
    std::fs::write(folder.path().join(platform.file_name()), "{").unwrap();
    let refused = shelf().get(platform.into(), NOW).await.unwrap_err();
    assert!(matches!(refused.reason, Reason::Malformed(_)), "{refused}");
}

#[tokio::test]
async fn without_a_source_every_platform_is_refused() {
    let (platform, _) = published(&Vendor::make(NOW), UNTIL);
    let shelf = Shelf::new(CollateralSource::None).unwrap();
    assert_eq!(shelf.get(platform.into(), NOW).await.unwrap_err().reason, Reason::NoSource);
}

#[tokio::test]
async fn unknown_platforms_do_not_push_out_known_ones() {
    let (platform, collateral) = published(&Vendor::make(NOW), UNTIL);
    let service = Service::start(collateral).await;
    let shelf = service.shelf();
    shelf.get(platform.into(), NOW).await.unwrap();
    for number in 0..=u16::try_from(MOST).unwrap() {
        let [high, low] = number.to_be_bytes();
        let unknown = DcapPlatform { fmspc: [high, low, 1, 1, 1, 1], ..platform };
        assert!(shelf.get(unknown.into(), NOW + 1).await.is_err());
    }
    let asked = service.asked();
    assert!(shelf.get(platform.into(), NOW + 2).await.is_ok());
    assert_eq!((service.asked(), shelf.shelf().len()), (asked, MOST));
}

/// As many as may be asked about at a time, but one, never come: the last place is enough for another.
#[tokio::test]
async fn platforms_that_are_slow_do_not_delay_another() {
    let (platform, collateral) = published(&Vendor::make(NOW), UNTIL);
    let service = Service::start(collateral).await;
    let shelf = service.shelf();
    let stuck = |number: u8| DcapPlatform { fmspc: [9, 9, 0, 0, 0, number], ..platform };
    let slow = (0..u8::try_from(PLATFORMS_AT_ONCE - 1).unwrap()).map(stuck);
    // Many wait for each, and it is asked about once.
    let slow = slow.flat_map(|platform| std::iter::repeat_n(platform, 20));
    let slow = futures::future::join_all(slow.map(|platform| shelf.get(platform.into(), NOW)));
    let other = async {
        while shelf.platforms.available_permits() > 1 {
            tokio::task::yield_now().await;
        }
        shelf.get(platform.into(), NOW).await
    };
    tokio::select! {
        _ = slow => panic!("no answer comes"),
        got = other => assert_eq!(got.unwrap().until, UNTIL),
    }
    assert!(service.asked() <= 4 * PLATFORMS_AT_ONCE, "{}", service.asked());
    // Who walked away left nothing behind.
    shelf.get(platform.into(), NOW + 1).await.unwrap();
    drop(shelf.question(platform.into()));
    assert_eq!(shelf.asking.lock().unwrap().len(), 1);
    assert_eq!(shelf.platforms.available_permits(), PLATFORMS_AT_ONCE);
}
