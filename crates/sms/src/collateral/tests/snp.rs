//! What AMD publishes, from its service and from files.

use std::ops::Range;

use sesame_attestation::snp::{
    Lookup, Product, SigningKey, SnpEvidence, Tcb,
    issue::{SimulatedAmd, SimulatedPlatform},
};

use super::*;

const YEARS: Range<u64> = NOW - 1000..UNTIL + 1000;
const TCB: Tcb = Tcb { fmc: None, bootloader: 4, tee: 0, snp: 24, microcode: 219 };
const KEY: SigningKey = SigningKey::Vcek;

/// A simulated AMD, and what a service under its name answers.
struct World {
    platform: SimulatedPlatform,
    collateral: SnpCollateral,
}

impl World {
    fn make() -> Self {
        let amd = SimulatedAmd::generate(Product::Milan, YEARS).unwrap();
        Self {
            platform: amd.platform(KEY, [0xAB; 64], TCB, YEARS).unwrap(),
            collateral: amd.collateral(KEY, &[], NOW - 1..UNTIL).unwrap(),
        }
    }

    /// The platform, named by evidence that came without its certificate; and the same with it.
    fn lookups() -> [Lookup; 2] {
        let missing = Some(sesame_attestation::snp::VcekName { chip_id: [0xAB; 64], tcb: TCB });
        [missing, None].map(|missing| Lookup { product: Product::Milan, key: KEY, missing })
    }

    /// By their names in a folder.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let [chip, product] = Self::lookups();
        let SnpCollateral { signer, root, revoked, .. } = &self.collateral;
        let chain = [signer, root].map(|der| pem(der)).concat();
        vec![
            (format!("{chip}.der"), self.platform.certificate().to_vec()),
            (format!("{product}.pem"), chain.into_bytes()),
            (format!("{product}.crl"), revoked.clone()),
        ]
    }
}

fn pem(der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let begin = "-----BEGIN CERTIFICATE-----";
    format!("{begin}\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

/// AMD's addresses for the files: a chip's certificate, the chain, the list.
fn addresses() -> [String; 3] {
    let chip = "ab".repeat(64);
    [
        format!("/vcek/v1/Milan/{chip}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"),
        "/vcek/v1/Milan/cert_chain".to_owned(),
        "/vcek/v1/Milan/crl".to_owned(),
    ]
}

/// Serves these answers, and counts the questions.
async fn serve(answers: Vec<(String, Vec<u8>)>) -> (Shelf, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counting = Arc::clone(&asked);
    let answer = move |request: Request| {
        counting.fetch_add(1, Ordering::SeqCst);
        let uri = request.uri().to_string();
        let found = answers.iter().find(|(address, _)| *address == uri);
        let answer = found.map_or(StatusCode::NOT_FOUND.into_response(), |(_, body)| {
            body.clone().into_response()
        });
        std::future::ready(answer)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let router = Router::new().fallback(answer);
    #[expect(clippy::disallowed_methods, reason = "the server ends with the test's runtime")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Shelf::new(CollateralSource::Services { pccs: None, kds: Some(base) }).unwrap(), asked)
}

fn served(world: &World) -> Vec<(String, Vec<u8>)> {
    addresses().into_iter().zip(world.files()).map(|(url, (_, bytes))| (url, bytes)).collect()
}

fn snp(fetched: &Fetched) -> &SnpCollateral {
    let Collateral::Snp(collateral) = &fetched.collateral else { panic!("it is AMD's") };
    collateral
}

#[tokio::test]
async fn what_amd_serves_is_had_byte_for_byte_and_kept_while_the_list_counts() {
    let world = World::make();
    let (shelf, asked) = serve(served(&world)).await;
    let [chip, product] = World::lookups();
    let bare = world.collateral.clone();
    let whole = bare.clone().with_endorsement(world.platform.certificate().to_vec());
    for (lookup, expected, questions) in [(chip, whole, 3), (product, bare, 5)] {
        for now in [NOW, UNTIL - 1] {
            let got = shelf.get(Platform::Snp(lookup), now).await.unwrap();
            assert_eq!((snp(&got), got.until), (&expected, UNTIL));
            assert_eq!(asked.load(Ordering::SeqCst), questions, "what is kept is not asked for");
        }
    }
    let stale = shelf.get(Platform::Snp(product), UNTIL).await.unwrap_err();
    assert_eq!(stale.reason, Reason::Stale(UNTIL));
}

#[tokio::test]
async fn an_unknown_chip_costs_one_question_and_is_remembered() {
    let (shelf, asked) = serve(served(&World::make())).await;
    let [mut unknown, _] = World::lookups();
    unknown.missing.as_mut().unwrap().chip_id = [1; 64];
    for _ in 0..3 {
        let refused = shelf.get(Platform::Snp(unknown), NOW).await.unwrap_err();
        assert!(
            matches!(&refused.reason, Reason::Service(why) if why.contains("404")),
            "{refused}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

/// Chips that nobody has heard of have places of their own, and beyond these they are refused at once.
#[tokio::test]
async fn made_up_chips_do_not_delay_a_platform() {
    let (shelf, asked) = serve(served(&World::make())).await;
    let [mut unknown, product] = World::lookups();
    let held = shelf.chips.acquire_many(u32::try_from(CHIPS_AT_ONCE).unwrap()).await.unwrap();
    for number in 0..100 {
        unknown.missing.as_mut().unwrap().chip_id = [number; 64];
        let refused = shelf.get(Platform::Snp(unknown), NOW).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Busy);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    shelf.get(Platform::Snp(product), NOW).await.unwrap();
    drop(held);
    let refused = shelf.get(Platform::Snp(unknown), NOW).await.unwrap_err();
    assert_ne!(refused.reason, Reason::Busy, "that it was busy is not remembered");
}

#[tokio::test]
async fn a_chain_or_a_list_of_another_form_is_refused() {
    let [_, product] = World::lookups();
    for broken in [1, 2] {
        for nonsense in [&b""[..], b"{}", &[0x30, 0x00]] {
            let mut answers = served(&World::make());
            answers[broken].1 = nonsense.to_vec();
            let (shelf, _) = serve(answers).await;
            let refused = shelf.get(Platform::Snp(product), NOW).await.unwrap_err();
            assert!(matches!(refused.reason, Reason::MalformedSnp(_)), "{broken}: {refused}");
        }
    }
}

#[tokio::test]
async fn a_folder_serves_amds_files_and_names_the_one_that_is_missing() {
    let world = World::make();
    let folder = tempfile::tempdir().unwrap();
    let shelf = || Shelf::new(CollateralSource::Folder(folder.path().to_owned())).unwrap();
    let [chip, _] = World::lookups();
    for (name, bytes) in world.files() {
        let refused = shelf().get(Platform::Snp(chip), NOW).await.unwrap_err().to_string();
        assert!(refused.contains(&name), "{refused}");
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let got = shelf().get(Platform::Snp(chip), NOW).await.unwrap();
    assert_eq!(snp(&got).endorsement.as_deref(), Some(world.platform.certificate()));
    assert_eq!(snp(&got).revoked, world.collateral.revoked);
}

#[tokio::test]
async fn a_source_for_intel_alone_has_nothing_of_amds() {
    let [chip, _] = World::lookups();
    let intel = CollateralSource::Services {
        pccs: Some("http://127.0.0.1:1/".parse().unwrap()),
        kds: None,
    };
    for source in [CollateralSource::None, intel] {
        let refused = Shelf::new(source).unwrap().get(Platform::Snp(chip), NOW).await.unwrap_err();
        assert_eq!(refused.reason, Reason::NoSource);
    }
}

/// The names that evidence gives are the names that are looked for.
#[test]
fn evidence_names_its_files() {
    let world = World::make();
    let quote = world.platform.quote([3; 48], [4; 32], [5; 64]).unwrap();
    let bare = SnpEvidence::from_report(quote.report(), None).unwrap();
    let [chip, product] = World::lookups();
    assert_eq!([Lookup::of(&bare).unwrap(), Lookup::of(&quote).unwrap()], [chip, product]);
    assert_eq!(product.to_string(), "snp-Milan-vcek");
    assert_eq!(chip.to_string(), format!("snp-Milan-{}-4-0-24-219", "ab".repeat(64)));
}
