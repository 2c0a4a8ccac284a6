//! TLS: certificates that change, clients that need one, and both versions of HTTP.

use std::{fs, path::Path, process::Stdio, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use reqwest::{Client, ClientBuilder, Version};
use rustix::process::Signal;
use rustls_pki_types::{CertificateDer, ServerName};
use sesame_tests::{Answer, Launch, Node, eventually, now};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, version},
};

use super::{HEALTH, Service, ask};

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

struct Identity {
    certificate: rcgen::Certificate,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        self.sign(params)
    }

    /// A server's certificate that was good once.
    fn expired_server(&self) -> Identity {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_after = rcgen::date_time_ymd(2024, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key: key.serialize_pem() }
    }

    fn server(&self) -> Identity {
        self.issue(ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client that trusts this authority.
    fn client(&self) -> ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.certificate.pem().as_bytes()).unwrap();
        Client::builder().tls_certs_only([root])
    }

    /// The same by hand, with these versions of TLS.
    async fn connect(
        &self,
        service: &Service,
        versions: &[&'static tokio_rustls::rustls::SupportedProtocolVersion],
    ) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = service.connect().await;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self, service: &Service) -> CertificateDer<'static> {
        let stream = self.connect(service, &[&version::TLS13]).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

impl Identity {
    fn write(&self, folder: &Path) {
        fs::write(folder.join("tls.key"), &self.key).unwrap();
        fs::write(folder.join("tls.pem"), self.certificate.pem()).unwrap();
    }
}

async fn serve(folder: TempDir, more: &[&str]) -> Service {
    let [certificate, key] = ["tls.pem", "tls.key"].map(|name| folder.path().join(name));
    let files = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    Service::start_in(folder, &[&files, more].concat()).await
}

#[tokio::test]
async fn both_versions_of_http_and_of_tls_are_spoken() {
    let (authority, folder) = (Authority::new("owners"), TempDir::new().unwrap());
    authority.server().write(folder.path());
    let service = serve(folder, &[]).await;
    let base = service.program.base();
    assert!(base.starts_with("https://"), "{base}");

    let status = format!("{base}/v1/status");
    let new = authority.client().build().unwrap().get(&status).send().await.unwrap();
    assert_eq!((new.version(), new.status().as_u16()), (Version::HTTP_2, 200));
    let old = authority.client().http1_only().build().unwrap().get(&status).send().await.unwrap();
    assert_eq!((old.version(), old.status().as_u16()), (Version::HTTP_11, 200));
    for version in [&version::TLS12, &version::TLS13] {
        let mut stream = authority.connect(&service, &[version]).await;
        assert!(ask(&mut stream, HEALTH).await.unwrap().starts_with("HTTP/1.1 200"));
    }

    let metrics = authority.client().build().unwrap().get(format!("{base}/metrics"));
    let metrics = String::from_utf8(Answer::to(metrics).await.body).unwrap();
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("sesame_tls_certificate_not_after_seconds "));
    let not_after: u64 = value.unwrap().parse().unwrap();
    assert!(not_after > now(), "{not_after}");

    // Who does not speak TLS is told nothing, and who does not trust the certificate leaves.
    assert!(!service.raw(HEALTH.as_bytes()).await.contains("200"));
    assert!(Authority::new("others").client().build().unwrap().get(&status).send().await.is_err());
}

#[tokio::test]
async fn http_2_is_spoken_without_tls_as_well() {
    let service = Service::start(&[]).await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let base = service.program.base();
    let answer = client.get(format!("{base}/v1/status")).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 200));
    let head = client.head(format!("{base}/healthz")).send().await.unwrap();
    assert_eq!(head.status().as_u16(), 200);
    let encoded = client.post(format!("{base}/kbs/v0/auth")).header("content-encoding", "gzip");
    Answer::to(encoded.body("x")).await.is_problem(415, "unsupported_encoding");
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_service_serves() {
    let (authority, folder) = (Authority::new("owners"), TempDir::new().unwrap());
    let (first, second, third) = (authority.server(), authority.server(), authority.server());
    first.write(folder.path());
    let service = serve(folder, &[]).await;
    let files = service.folder.path();
    let mut standing = authority.connect(&service, &[&version::TLS13]).await;
    ask(&mut standing, HEALTH).await.unwrap();
    assert_eq!(authority.shown(&service).await, *first.certificate.der());
    let becomes = async |identity: &Identity| {
        eventually("the certificate is in use", async || {
            (authority.shown(&service).await == *identity.certificate.der()).then_some(())
        })
        .await;
    };

    second.write(files);
    becomes(&second).await;
    assert!(ask(&mut standing, HEALTH).await.unwrap().starts_with("HTTP/1.1 200"));

    // A key that is not the certificate's, a file without one, and no file.
    let breaks: [&dyn Fn(); 3] = [
        &|| fs::write(files.join("tls.key"), &first.key).unwrap(),
        &|| fs::write(files.join("tls.pem"), "nothing").unwrap(),
        &|| fs::remove_file(files.join("tls.key")).unwrap(),
    ];
    for (before, spoil) in breaks.into_iter().enumerate() {
        spoil();
        let refused = || service.program.said().matches("the new TLS files cannot be used").count();
        eventually("that is told", async || (refused() > before).then_some(())).await;
        assert_eq!(authority.shown(&service).await, *second.certificate.der());
    }

    third.write(files);
    service.program.signal(Signal::HUP);
    becomes(&third).await;
    assert!(ask(&mut standing, HEALTH).await.unwrap().starts_with("HTTP/1.1 200"));
}

/// Clients do not take it; nothing is lost, and a new one heals it while the service serves.
#[tokio::test]
async fn an_expired_certificate_keeps_clients_away_until_it_is_replaced() {
    let (authority, folder) = (Authority::new("owners"), TempDir::new().unwrap());
    authority.expired_server().write(folder.path());
    let service = serve(folder, &[]).await;
    let status = format!("{}/v1/status", service.program.base());
    let ask = async || authority.client().build().unwrap().get(&status).send().await;
    assert!(ask().await.is_err(), "a client takes it");

    authority.server().write(service.folder.path());
    eventually("clients come again", async || {
        ask().await.ok().filter(|answer| answer.status().is_success())
    })
    .await;
}

#[tokio::test]
async fn the_operators_listener_wants_a_certificate_of_the_operators() {
    let (authority, folder) = (Authority::new("owners"), TempDir::new().unwrap());
    let (operators, others) = (Authority::new("operators"), Authority::new("others"));
    authority.server().write(folder.path());
    let roots = folder.path().join("operators.pem");
    fs::write(&roots, operators.certificate.pem()).unwrap();
    let options =
        ["--listen-operator", "127.0.0.1:0", "--operator-client-ca", roots.to_str().unwrap()];
    let service = serve(folder, &options).await;
    let operator = service.base_for("the operator").await;
    let with = |who: &Authority, usage| {
        let Identity { certificate, key } = who.issue(usage);
        let identity = reqwest::Identity::from_pem((certificate.pem() + &key).as_bytes()).unwrap();
        authority.client().identity(identity).build().unwrap()
    };
    let client_auth = ExtendedKeyUsagePurpose::ClientAuth;

    let nobody = authority.client().build().unwrap();
    for path in ["metrics", "healthz"] {
        let (url, right) = (format!("{operator}/{path}"), with(&operators, client_auth.clone()));
        Answer::to(right.get(&url)).await.is_ok();
        assert!(nobody.get(&url).send().await.is_err(), "without a certificate");
        let wrong = with(&others, client_auth.clone());
        assert!(wrong.get(&url).send().await.is_err(), "under another root");
        let server = with(&operators, ExtendedKeyUsagePurpose::ServerAuth);
        assert!(server.get(&url).send().await.is_err(), "not a client's certificate");
    }
    let owners = service.program.base();
    Answer::to(nobody.get(format!("{owners}/healthz"))).await.is_ok();
    Answer::to(nobody.get(format!("{owners}/metrics"))).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_service_does_not_start_with_files_that_it_cannot_use() {
    let (authority, folder) = (Authority::new("owners"), TempDir::new().unwrap());
    let node = Node::start();
    let deployment = node.deploy().await;
    let files = folder.path();
    let refusal = async |options: &[&str]| {
        let launch = Launch {
            rpc_url: node.url(),
            deployment: &deployment,
            folder: &files.join("data"),
            listen: "127.0.0.1:0",
            confirmations: 2,
            root: None,
        };
        let mut command = launch.command();
        command.args(options).current_dir(files).stdout(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let both = ["--tls-cert", "tls.pem", "--tls-key", "tls.key"];

    assert!(refusal(&both).await.contains("cannot read tls.pem"));
    authority.server().write(files);
    fs::write(files.join("tls.key"), authority.server().key).unwrap();
    assert!(refusal(&both).await.contains("certificate and key cannot be used"));
    fs::write(files.join("tls.key"), "no key").unwrap();
    assert!(refusal(&both).await.contains("tls.key holds no private key"));
    // What would protect less than it seems to is not even tried.
    for half in [
        &both[..2],
        &both[2..],
        &["--listen-operator", "127.0.0.1:0", "--operator-client-ca", "tls.pem"],
        &[&both[..], &["--operator-client-ca", "tls.pem"]].concat(),
        &["--trusted-proxy", "everybody"],
    ] {
        let told = refusal(half).await;
        assert!(told.contains("Usage") || told.contains("For more information"), "{told}");
    }
    assert!(!files.join("data/vault").exists(), "nothing was made");
}
