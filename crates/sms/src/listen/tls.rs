//! TLS, and certificates that change while the service serves.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::ring,
        server::{VerifierBuilderError, WebPkiClientVerifier},
    },
};
use tokio_util::sync::CancellationToken;
use x509_cert::{Certificate, der::Decode};
use zeroize::Zeroizing;

use crate::{clock, problem::chain, router::Surfaces};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where certificate and key are, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The service's certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who the operator's listener admits: clients with a certificate under one of these roots. Everybody, if it is not said.
    pub operator_client_ca: Option<PathBuf>,
}

/// The service cannot speak TLS with these files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no certificate in a file.
    #[error("{} holds no certificate as PEM", .0.display())]
    NoCertificate(PathBuf),
    /// There is no key in a file.
    #[error("{} holds no private key as PEM", .0.display())]
    NoKey(PathBuf),
    /// A certificate is none.
    #[error("{} holds a certificate that cannot be parsed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: x509_cert::der::Error,
    },
    /// Certificate and key do not go together, or are of a kind that is not known here.
    #[error("certificate and key cannot be used")]
    Unusable(#[from] rustls::Error),
    /// No client could be checked by these roots.
    #[error("clients cannot be checked by their root")]
    ClientRoots(#[from] VerifierBuilderError),
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    operator_client_ca: Option<Vec<u8>>,
}

impl TlsFiles {
    fn read(&self) -> Result<Arc<Contents>, TlsError> {
        let ca = self.operator_client_ca.as_deref();
        Ok(Arc::new(Contents {
            certificate: read(&self.certificate)?,
            key: Zeroizing::new(read(&self.key)?),
            operator_client_ca: ca.map(read).transpose()?,
        }))
    }

    /// What connections are accepted by from now on.
    fn load(&self, contents: Arc<Contents>) -> Result<Acceptors, TlsError> {
        let chain = certificates(&contents.certificate, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| TlsError::NoKey(self.key.clone()))?;
        let not_after = not_after(&chain, &self.certificate)?;
        let public = config(chain.clone(), key.clone_key(), None)?;
        let operator = match (&contents.operator_client_ca, &self.operator_client_ca) {
            (Some(pem), Some(path)) => config(chain, key, Some(certificates(pem, path)?))?,
            _ => public.clone(),
        };
        Ok(Acceptors { public: public.into(), operator: operator.into(), not_after, of: contents })
    }
}

struct Acceptors {
    of: Arc<Contents>,
    public: TlsAcceptor,
    operator: TlsAcceptor,
    /// Seconds since 1970.
    not_after: u64,
}

/// The certificate in use. Connections that stand keep the one that they began with.
pub(crate) struct Tls {
    files: TlsFiles,
    current: watch::Sender<Acceptors>,
    not_after: Gauge,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Without certificates there is nothing to read again, and the program does not end for being told to.
pub(crate) async fn nothing_to_reload(stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while stop.run_until_cancelled(hangup.recv()).await.is_some() {
        tracing::info!(
            "SIGHUP: there are no certificates to read again, and everything else takes a restart"
        );
    }
}

impl Tls {
    /// By these files, telling by `not_after` until when, in seconds since 1970.
    pub(crate) fn load(files: TlsFiles, not_after: Gauge) -> Result<Self, TlsError> {
        let acceptors = files.load(files.read()?)?;
        let tls = Self { files, current: watch::Sender::new(acceptors), not_after };
        tls.tell();
        Ok(tls)
    }

    /// For a connection to a listener that serves this.
    pub(super) fn acceptor(&self, surfaces: Surfaces) -> TlsAcceptor {
        let current = self.current.borrow();
        let to_operator = surfaces == Surfaces::OPERATOR;
        if to_operator { current.operator.clone() } else { current.public.clone() }
    }

    /// Takes what is new in the files, every few seconds and at SIGHUP. What cannot be used is told, and what was in use stays.
    pub(crate) async fn keep_current(self: Arc<Self>, stop: CancellationToken) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::error!("SIGHUP cannot be listened for, nor certificates be replaced");
            return;
        };
        let mut refused = Refused::Nothing;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => refused = Refused::Nothing,
                () = sleep(LOOK) => {}
            }
            refused = self.look(refused);
        }
    }

    /// Uses what is new. What was refused before is not told again.
    fn look(&self, refused: Refused) -> Refused {
        let (error, now_refused) = match self.files.read() {
            Ok(contents) if contents == self.current.borrow().of => return Refused::Nothing,
            Ok(contents) => match self.files.load(contents.clone()) {
                Ok(acceptors) => {
                    self.current.send_replace(acceptors);
                    self.tell();
                    return Refused::Nothing;
                }
                Err(error) => (error, Refused::Contents(contents)),
            },
            Err(error) => (error, Refused::Unreadable),
        };
        if now_refused != refused {
            let reason = chain(&error);
            tracing::error!(reason, "the new TLS files cannot be used: the old stay in use");
        }
        now_refused
    }

    fn tell(&self) {
        let not_after = self.current.borrow().not_after;
        self.not_after.set(i64::try_from(not_after).unwrap_or(i64::MAX));
        tracing::info!(tls.not_after = not_after, "the TLS certificate is good until {not_after}");
        if not_after <= clock::now() {
            tracing::warn!("the TLS certificate has expired");
        }
    }
}

/// What was looked at last and could not be used.
#[derive(PartialEq, Eq)]
enum Refused {
    Nothing,
    Unreadable,
    Contents(Arc<Contents>),
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, TlsError> {
    let path = path.as_ref();
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| TlsError::NoCertificate(path.to_owned()))
}

/// Until when the first certificate is good, seconds since 1970.
fn not_after(chain: &[CertificateDer<'_>], path: &Path) -> Result<u64, TlsError> {
    let first = chain.first().ok_or_else(|| TlsError::NoCertificate(path.to_owned()))?;
    let parsed = Certificate::from_der(first)
        .map_err(|source| TlsError::Malformed { path: path.to_owned(), source })?;
    Ok(parsed.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}

/// TLS 1.2 and 1.3, for HTTP/2 and HTTP/1.1; for clients under these roots, if there are any.
fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Option<Vec<CertificateDer<'static>>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(certificates) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = ["h2", "http/1.1"].map(|name| name.as_bytes().to_vec()).to_vec();
    Ok(Arc::new(config))
}
