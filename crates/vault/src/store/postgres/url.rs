//! Where a database is and how it is entered. The password is in no output of this type.

use std::{
    fmt, fs, io,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};
use zeroize::Zeroizing;

/// How long a database may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// How long bytes may stay unacknowledged, or a silent connection unprobed, before it counts as dead.
const SILENCE: Duration = Duration::from_secs(10);

/// The URL of a PostgreSQL database cannot be used. No message quotes it: it may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Its file cannot be read.
    #[error("cannot read the URL of the vault's database from {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read its file.
    #[error(
        "the URL of the vault's database in {path} can be read by others than its owner: chmod 600 it"
    )]
    Exposed {
        /// Which file.
        path: String,
    },
    /// It is no such URL.
    #[error(
        "the URL of the vault's database is none: write postgres://user:password@host:port/database?sslmode=verify-full"
    )]
    Malformed,
    /// Another mode than those there are.
    #[error("the sslmode of the vault's database is disable, require or verify-full")]
    SslMode,
}

/// How the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tls {
    /// Not at all.
    Disabled,
    /// Encrypted, whoever answers.
    Any,
    /// Encrypted, and the certificate is for the host and of one of these roots (PEM); the system's when none are named.
    Verified(Option<PathBuf>),
}

/// Where a PostgreSQL database is, and who enters it.
#[derive(Clone)]
pub struct DatabaseUrl {
    pub(super) config: Config,
    pub(super) tls: Tls,
}

impl DatabaseUrl {
    /// Reads the URL from a file that its owner alone can read.
    ///
    /// # Errors
    /// When it cannot be read, can be read by others, or holds no such URL.
    pub fn read(path: &Path) -> Result<Self, UrlError> {
        let shown = || path.display().to_string();
        let failed = |source| UrlError::File { path: shown(), source };
        if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(UrlError::Exposed { path: shown() });
        }
        Zeroizing::new(fs::read_to_string(path).map_err(failed)?).parse()
    }
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    /// Takes what libpq takes, as a URL; of the modes of TLS `disable`, `require` and `verify-full`, and `sslrootcert`. Without a
    /// mode it is `verify-full`, or `disable` where the database is on this machine.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (base, query) = text.trim().split_once('?').unwrap_or((text.trim(), ""));
        if !base.starts_with("postgres://") && !base.starts_with("postgresql://") {
            return Err(UrlError::Malformed);
        }
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => {
                    let path = percent_decode_str(value).decode_utf8();
                    roots = Some(PathBuf::from(&*path.map_err(|_| UrlError::Malformed)?));
                }
                _ => rest.push(pair),
            }
        }
        let url = Zeroizing::new(format!("{base}?{}", rest.join("&")));
        // The parser's error may quote what it did not understand.
        let mut config: Config = url.parse().map_err(|_| UrlError::Malformed)?;
        if config.get_hosts().is_empty() {
            return Err(UrlError::Malformed);
        }
        let tls = match mode {
            Some("disable") => Tls::Disabled,
            Some("require") => Tls::Any,
            Some("verify-full") => Tls::Verified(roots),
            None if config.get_hosts().iter().all(is_here) => Tls::Disabled,
            None => Tls::Verified(roots),
            Some(_) => return Err(UrlError::SslMode),
        };
        config.ssl_mode(if tls == Tls::Disabled { SslMode::Disable } else { SslMode::Require });
        // A standby answers with what was.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(CONNECT).tcp_user_timeout(SILENCE).keepalives_idle(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("sesame");
        }
        Ok(Self { config, tls })
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// Host, port and database, and nothing else.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (place, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            let ports = self.config.get_ports();
            if let Some(port) = ports.get(place).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(url: &str) -> Result<Tls, UrlError> {
        url.parse::<DatabaseUrl>().map(|url| url.tls)
    }

    #[test]
    fn what_is_elsewhere_is_verified_unless_told_otherwise() {
        let verified = |roots: Option<&str>| Tls::Verified(roots.map(PathBuf::from));
        for (url, expected) in [
            ("postgres://u:p@db.example/v", verified(None)),
            ("postgresql://db.example:5433/v", verified(None)),
            ("postgres://127.0.0.1/v", Tls::Disabled),
            ("postgres://[::1]/v", Tls::Disabled),
            ("postgres://localhost/v", Tls::Disabled),
            ("postgres://%2Frun%2Fpostgresql/v", Tls::Disabled),
            ("postgres://localhost,db.example/v", verified(None)),
            ("postgres://localhost/v?sslmode=verify-full", verified(None)),
            ("postgres://db.example/v?sslmode=require", Tls::Any),
            ("postgres://db.example/v?sslmode=disable&connect_timeout=1", Tls::Disabled),
            (
                "postgres://db.example/v?sslrootcert=%2Fetc%2Froot.pem&sslmode=verify-full\n",
                verified(Some("/etc/root.pem")),
            ),
        ] {
            assert_eq!(tls(url).unwrap(), expected, "{url}");
        }
        for mode in ["prefer", "allow", "verify-ca", "Require", ""] {
            let refused = tls(&format!("postgres://db.example/v?sslmode={mode}"));
            assert!(matches!(refused, Err(UrlError::SslMode)), "{mode}: {refused:?}");
        }
    }

    #[test]
    fn neither_output_nor_error_holds_the_password() {
        let url: DatabaseUrl = "postgres://me:owl@one:1,two:2/vault".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://one:1,two:2/vault");
        assert_eq!(format!("{url:?}"), "DatabaseUrl(postgres://one:1,two:2/vault)");
        for url in [
            "owl",
            "mysql://me:owl@host/v",
            "postgres://me:owl@host:port/v",
            "postgres://me:owl@host/v?owl=owl",
            "postgres://me:owl%ff%@/v",
            "host=one password=owl",
        ] {
            let refused = url.parse::<DatabaseUrl>().unwrap_err();
            let said = format!("{refused} {refused:?}");
            assert!(matches!(refused, UrlError::Malformed) && !said.contains("owl"), "{said}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        assert!(matches!(DatabaseUrl::read(&path), Err(UrlError::File { .. })));
        fs::write(&path, "postgres://me:owl@127.0.0.1/v\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(DatabaseUrl::read(&path), Err(UrlError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(DatabaseUrl::read(&path).unwrap().to_string(), "postgres://127.0.0.1:5432/v");
    }
}
