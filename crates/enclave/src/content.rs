//! Content from where an asset's owner keeps it, checked against the digest on the chain.
//!
//! `https`, `http` and `file` addresses; `ipfs://CID[/path]`, `/ipfs/CID[/path]` and `/p2p/CID`, which is how iExec's contracts
//! name content, through gateways. The digest decides, so no gateway need be trusted, and one that fails or lies is followed by
//! the next. Nothing is ever unpacked: an archive stays the one file that it is.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::B256;
use percent_encoding::percent_decode_str;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::host::below;

/// The longest a server may stay silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that has been silent in between must all the same be this fast on the whole, or it is left: bytes a second.
const SLOWEST: u64 = 16 << 10;

/// How long a server may take beyond that.
const HEAD_START: Duration = Duration::from_secs(60);

/// How much is read at a time.
const CHUNK: usize = 1 << 18;

/// Content cannot be had, or is not what its owner registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The address is not a URI.
    #[error("`{0}` is not a URI")]
    NotAUri(String),
    /// The address is of no kind that is known here.
    #[error("content at `{0}:` addresses is not supported")]
    Unsupported(String),
    /// The content is in IPFS, and nobody said through what to reach it.
    #[error("the content is at `{0}`, and the worker has no --ipfs-gateway")]
    NoGateway(String),
    /// A file cannot be read, or is not a file.
    #[error("cannot read the content")]
    Io(#[from] io::Error),
    /// What was fetched cannot be kept.
    #[error("cannot keep the content")]
    Keep(#[source] io::Error),
    /// The server does not answer, or breaks off.
    #[error("cannot fetch the content")]
    Unreachable(#[source] reqwest::Error),
    /// The server is too slow.
    #[error("the content did not come within {} s", .limit.as_secs())]
    Slow {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The server answers with something else than the content.
    #[error("the content's server answered {0}")]
    Status(u16),
    /// There is more than the limit.
    #[error("the content is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The content is not the registered one.
    #[error("the content's SHA-256 is {got}, not {expected} as registered")]
    WrongDigest {
        /// What the chain says.
        expected: B256,
        /// What was found.
        got: B256,
    },
}

impl From<reqwest::Error> for ContentError {
    /// Addresses are told by who asked, who knows what of them may be told.
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.without_url())
    }
}

impl ContentError {
    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Slow { .. } => true,
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::NotAUri(_)
            | Self::Unsupported(_)
            | Self::NoGateway(_)
            | Self::Io(_)
            | Self::Keep(_)
            | Self::TooLarge { .. }
            | Self::WrongDigest { .. } => false,
        }
    }
}

/// What content is written into, and can be begun anew when another server is asked.
pub trait Sink: Write + Send {
    /// Forgets what was written.
    ///
    /// # Errors
    /// When that cannot be done.
    fn restart(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn restart(&mut self) -> io::Result<()> {
        self.set_len(0)?;
        self.rewind()
    }
}

impl Sink for Vec<u8> {
    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

impl Sink for io::Sink {
    fn restart(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fetches content. Its HTTP client gives up on silent servers and knows no proxy.
#[derive(Debug, Clone)]
pub struct Fetcher {
    http: reqwest::Client,
    gateways: Vec<Url>,
}

impl Fetcher {
    /// Looks for content in IPFS through `gateways`, in this order.
    ///
    /// # Errors
    /// When the TLS back end cannot start.
    pub fn new(gateways: &[Url]) -> Result<Self, ContentError> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(PATIENCE);
        Ok(Self { http: http.read_timeout(PATIENCE).build()?, gateways: gateways.to_vec() })
    }

    /// Writes the content at `uri` into `sink` and checks its digest. Until this has returned `Ok`, what is in `sink` is nobody's
    /// word.
    ///
    /// # Errors
    /// When the content cannot be had, is larger than `limit`, or has another digest.
    pub async fn fetch(
        &self,
        uri: &str,
        expected: B256,
        limit: u64,
        sink: &mut impl Sink,
    ) -> Result<u64, ContentError> {
        let mut failed = None;
        for place in self.places(uri)? {
            sink.restart().map_err(ContentError::Keep)?;
            let mut checked = Checked::new(sink, limit);
            let read = match place {
                Place::File(path) => checked.read(&mut open_file(&path)?).await,
                Place::Http(url) => checked.download(&self.http, url).await,
            };
            match read.and_then(|()| checked.finish(expected)) {
                Ok(length) => return Ok(length),
                // The first reason is told, unless another passes with time.
                Err(error) if failed.is_none() || error.is_retryable() => failed = Some(error),
                Err(_) => {}
            }
        }
        Err(failed.unwrap_or_else(|| ContentError::NoGateway(uri.to_owned())))
    }

    /// Has encrypted content at hand, checked once: a local file where it is, anything else in a file of `folder` that has no name.
    ///
    /// # Errors
    /// When the content cannot be had or kept, is larger than `limit`, or has another digest.
    pub async fn ciphertext(
        &self,
        uri: &str,
        expected: B256,
        limit: u64,
        folder: &Path,
    ) -> Result<Ciphertext, ContentError> {
        let mut file = if let [Place::File(path)] = self.places(uri)?.as_slice() {
            let (mut file, mut nowhere) = (open_file(path)?, io::sink());
            let mut checked = Checked::new(&mut nowhere, limit);
            checked.read(&mut file).await?;
            checked.finish(expected)?;
            file
        } else {
            let mut file = tempfile::tempfile_in(folder).map_err(ContentError::Keep)?;
            self.fetch(uri, expected, limit, &mut file).await?;
            file
        };
        file.rewind()?;
        Ok(Ciphertext { file, digest: Sha256::new(), expected })
    }

    /// Writes a public file into `sink`: nobody registered what it holds. Gives its length.
    ///
    /// # Errors
    /// When it cannot be had, or is larger than `limit`.
    pub async fn download(
        &self,
        url: Url,
        limit: u64,
        sink: &mut impl Sink,
    ) -> Result<u64, ContentError> {
        sink.restart().map_err(ContentError::Keep)?;
        let mut checked = Checked::new(sink, limit);
        checked.download(&self.http, url).await?;
        checked.sink.flush().map_err(ContentError::Keep)?;
        Ok(checked.length)
    }

    /// Where the content may be.
    fn places(&self, uri: &str) -> Result<Vec<Place>, ContentError> {
        let malformed = || ContentError::NotAUri(uri.to_owned());
        if let Some(path) = ["ipfs://", "/ipfs/", "/p2p/"].iter().find_map(|p| uri.strip_prefix(p))
        {
            let segments = ipfs_segments(path).ok_or_else(malformed)?;
            let gateways = self.gateways.iter();
            return Ok(gateways.map(|gateway| Place::Http(below(gateway, &segments))).collect());
        }
        let url = Url::parse(uri).map_err(|_| malformed())?;
        match url.scheme() {
            "file" => Ok(vec![Place::File(url.to_file_path().map_err(|()| malformed())?)]),
            "http" | "https" => Ok(vec![Place::Http(url)]),
            other => Err(ContentError::Unsupported(other.to_owned())),
        }
    }
}

/// One place where content may be.
#[derive(Debug, PartialEq)]
enum Place {
    File(PathBuf),
    Http(Url),
}

/// `ipfs`, the CID and the names behind it, which may be percent-encoded. The CID is told apart from a host or a query, and what
/// it means is the gateways' affair.
fn ipfs_segments(path: &str) -> Option<Vec<String>> {
    let decoded = path.split('/').map(|name| percent_decode_str(name).decode_utf8());
    let mut names = decoded.collect::<Result<Vec<_>, _>>().ok()?.into_iter();
    let cid = names.next().filter(|cid| {
        (1..=128).contains(&cid.len()) && cid.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })?;
    let mut segments = vec!["ipfs".to_owned(), cid.into_owned()];
    for name in names {
        if matches!(&*name, "" | "." | "..") {
            return None;
        }
        segments.push(name.into_owned());
    }
    Some(segments)
}

/// Opens a file and nothing that looks like one: a pipe would not end, a device neither.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    Ok(file)
}

/// Encrypted content whose digest was checked, on a disk that its host may write to: it is hashed again as it is read, and
/// [`Ciphertext::finish`] says whether what was read is what was checked.
#[derive(Debug)]
pub struct Ciphertext {
    file: File,
    digest: Sha256,
    expected: B256,
}

impl Read for Ciphertext {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.digest.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

impl Ciphertext {
    /// Reads what is left, and compares.
    ///
    /// # Errors
    /// When the file cannot be read, or somebody wrote to it since it was checked.
    pub fn finish(mut self) -> Result<(), ContentError> {
        io::copy(&mut self, &mut io::sink())?;
        let (expected, got) = (self.expected, B256::from_slice(&self.digest.finalize()));
        if got == expected { Ok(()) } else { Err(ContentError::WrongDigest { expected, got }) }
    }
}

struct Checked<'a, W> {
    sink: &'a mut W,
    digest: Sha256,
    length: u64,
    limit: u64,
}

impl<'a, W: Sink> Checked<'a, W> {
    fn new(sink: &'a mut W, limit: u64) -> Self {
        Self { sink, digest: Sha256::new(), length: 0, limit }
    }

    async fn read(&mut self, file: &mut File) -> Result<(), ContentError> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = file.read(&mut buffer)?;
            match buffer.get(..read) {
                Some(chunk) if !chunk.is_empty() => self.take(chunk)?,
                _ => return Ok(()),
            }
            // Whoever waits for the end of the run gets a turn.
            tokio::task::yield_now().await;
        }
    }

    async fn download(&mut self, http: &reqwest::Client, url: Url) -> Result<(), ContentError> {
        let start = Instant::now();
        let mut response = http.get(url).send().await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(ContentError::Status(response.status().as_u16()));
        }
        if response.content_length().is_some_and(|length| length > self.limit) {
            return Err(ContentError::TooLarge { limit: self.limit });
        }
        loop {
            let limit = HEAD_START + Duration::from_secs(self.length / SLOWEST);
            let chunk = timeout_at(start + limit, response.chunk()).await;
            match chunk.map_err(|_| ContentError::Slow { limit })?? {
                Some(chunk) => self.take(&chunk)?,
                None => return Ok(()),
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), ContentError> {
        self.length += chunk.len() as u64;
        if self.length > self.limit {
            return Err(ContentError::TooLarge { limit: self.limit });
        }
        self.digest.update(chunk);
        self.sink.write_all(chunk).map_err(ContentError::Keep)
    }

    fn finish(self, expected: B256) -> Result<u64, ContentError> {
        self.sink.flush().map_err(ContentError::Keep)?;
        let got = B256::from_slice(&self.digest.finalize());
        if got == expected {
            Ok(self.length)
        } else {
            Err(ContentError::WrongDigest { expected, got })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
        os::unix::fs::FileExt,
        sync::{Arc, Mutex},
        thread,
    };

    use super::*;

    fn digest(content: &[u8]) -> B256 {
        B256::from_slice(&Sha256::digest(content))
    }

    fn fetcher(gateways: &[String]) -> Fetcher {
        let gateways: Vec<_> = gateways.iter().map(|url| url.parse().unwrap()).collect();
        Fetcher::new(&gateways).unwrap()
    }

    async fn get(uri: &str, content: &[u8], limit: u64) -> Result<Vec<u8>, ContentError> {
        let mut sink = Vec::new();
        fetcher(&[]).fetch(uri, digest(content), limit, &mut sink).await.map(|_| sink)
    }

    fn file(content: &[u8]) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("content");
        std::fs::write(&path, content).unwrap();
        let uri = Url::from_file_path(path).unwrap().to_string();
        (folder, uri)
    }

    /// Gives one answer to everybody, and remembers what was asked for.
    fn server(status: &'static str, content: &'static [u8]) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut line) = (stream.unwrap(), String::new());
                BufReader::new(&stream).read_line(&mut line).unwrap();
                kept.lock().unwrap().push(line.split(' ').nth(1).unwrap_or_default().to_owned());
                let length = content.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(content));
            }
        });
        (base, asked)
    }

    #[tokio::test]
    async fn a_file_is_read_up_to_the_limit() {
        let content = vec![7; 600_000];
        let (_folder, uri) = file(&content);
        assert_eq!(get(&uri, &content, 600_000).await.unwrap(), content);
        let error = get(&uri, &content, 599_999).await.unwrap_err();
        assert!(matches!(error, ContentError::TooLarge { limit: 599_999 }), "{error}");
    }

    #[tokio::test]
    async fn other_content_than_registered_is_refused() {
        let (_folder, uri) = file(b"one");
        for registered in [&b"onE"[..], b"one ", b""] {
            let error = get(&uri, registered, 10).await.unwrap_err();
            assert!(matches!(error, ContentError::WrongDigest { .. }), "{error}");
            assert!(!error.is_retryable());
        }
    }

    #[tokio::test]
    async fn what_is_no_content_has_a_name() {
        let refused = |uri| async move { get(uri, b"", 10).await.unwrap_err() };
        assert!(matches!(refused("").await, ContentError::NotAUri(_)));
        assert!(matches!(refused("/etc/hostname").await, ContentError::NotAUri(_)));
        assert!(matches!(refused("file://elsewhere/x").await, ContentError::NotAUri(_)));
        assert!(matches!(refused("ftp://x/y").await, ContentError::Unsupported(_)));
        assert!(matches!(refused("file:///nowhere/at/all").await, ContentError::Io(_)));
        assert!(matches!(refused("file:///dev/zero").await, ContentError::Io(_)));
        assert!(matches!(refused("file:///tmp").await, ContentError::Io(_)));
        let error = refused("http://127.0.0.1:1/").await;
        assert!(matches!(error, ContentError::Unreachable(_)) && error.is_retryable(), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_promises_too_much_is_not_listened_to() {
        let (base, _) = server("200 OK", b"eleven byte");
        let error = get(&base, b"eleven byte", 10).await.unwrap_err();
        assert!(matches!(error, ContentError::TooLarge { limit: 10 }), "{error}");
    }

    const CID: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

    #[test]
    fn every_name_of_ipfs_content_leads_to_the_gateways() {
        let fetcher = fetcher(&["https://one.example".into(), "http://two.example/at/".into()]);
        let places = |uri: &str| -> Vec<String> {
            let places = fetcher.places(uri).unwrap().into_iter();
            let url = |place| match place {
                Place::Http(url) => url.to_string(),
                Place::File(path) => panic!("{}", path.display()),
            };
            places.map(url).collect()
        };
        for uri in [format!("ipfs://{CID}"), format!("/ipfs/{CID}"), format!("/p2p/{CID}")] {
            let expected = [
                format!("https://one.example/ipfs/{CID}"),
                format!("http://two.example/at/ipfs/{CID}"),
            ];
            assert_eq!(places(&uri), expected, "{uri}");
        }
        let inside = places(&format!("ipfs://{CID}/a b/c?d#e"));
        assert_eq!(inside[0], format!("https://one.example/ipfs/{CID}/a%20b/c%3Fd%23e"));
        let encoded = places(&format!("ipfs://{CID}/a%20b/c%2Fd"));
        assert_eq!(encoded[0], format!("https://one.example/ipfs/{CID}/a%20b/c%2Fd"));
        for bad in [
            "ipfs://",
            "/ipfs/",
            "/ipfs//x",
            "/p2p/../x",
            "ipfs://b:1/x",
            "ipfs://u@b/x",
            "ipfs://b?x",
            &format!("ipfs://{CID}/"),
            &format!("ipfs://{CID}/../x"),
            &format!("ipfs://{CID}/%2e%2E/x"),
            &format!("ipfs://{CID}/%ff"),
            &format!("ipfs://{CID}/a/./x"),
            &format!("ipfs://{}", "b".repeat(129)),
        ] {
            assert!(matches!(fetcher.places(bad), Err(ContentError::NotAUri(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_fails_or_lies_is_followed_by_the_next() {
        let (good, asked) = server("200 OK", b"content");
        let (liar, _) = server("200 OK", b"another, and longer");
        let (gone, _) = server("404 Not Found", b"");
        let closed = "http://127.0.0.1:1".to_owned();
        let uri = format!("ipfs://{CID}");
        let mut sink = Vec::new();
        let through = fetcher(&[closed.clone(), gone.clone(), liar.clone(), good]);
        let fetched = through.fetch(&uri, digest(b"content"), 100, &mut sink).await;
        assert_eq!((fetched.unwrap(), sink.as_slice()), (7, &b"content"[..]));
        assert_eq!(*asked.lock().unwrap(), [format!("/ipfs/{CID}")]);

        let folder = tempfile::tempdir().unwrap();
        let error = |gateways: Vec<String>| {
            let (uri, folder) = (uri.clone(), folder.path().to_owned());
            async move {
                let fetcher = fetcher(&gateways);
                fetcher.ciphertext(&uri, digest(b"content"), 100, &folder).await.unwrap_err()
            }
        };
        let lied = error(vec![liar.clone(), gone.clone()]).await;
        assert!(matches!(lied, ContentError::WrongDigest { .. }) && !lied.is_retryable(), "{lied}");
        let later = error(vec![liar, closed, gone]).await;
        assert!(later.is_retryable(), "the one that does not answer may yet: {later}");
        let none = error(Vec::new()).await;
        assert!(none.to_string().contains("--ipfs-gateway"), "{none}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn ciphertext_is_what_was_checked_or_refused() {
        let content = vec![7; 300_000];
        let (folder, uri) = file(&content);
        let open = || async {
            fetcher(&[]).ciphertext(&uri, digest(&content), 1 << 20, folder.path()).await.unwrap()
        };
        let (mut checked, mut read) = (open().await, Vec::new());
        checked.read_to_end(&mut read).unwrap();
        assert!(read == content);
        checked.finish().unwrap();
        open().await.finish().unwrap();

        // A host that writes to the file after the check, even where nobody has read yet.
        let path = folder.path().join("content");
        let mut half = open().await;
        half.read_exact(&mut [0; 100]).unwrap();
        let host = OpenOptions::new().write(true).open(&path).unwrap();
        host.write_all_at(b"x", 299_999).unwrap();
        assert!(matches!(half.finish(), Err(ContentError::WrongDigest { .. })));
        let refused = fetcher(&[]).ciphertext(&uri, digest(&content), 1 << 20, folder.path()).await;
        assert!(matches!(refused, Err(ContentError::WrongDigest { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_trickles_is_left() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let trickle = async {
            let (mut peer, _) = server.accept().await.unwrap();
            assert!(peer.read(&mut [0; 1024]).await.unwrap() > 0, "it asks first");
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            fetched = get(&url, b"", 1 << 20) => fetched.unwrap_err(),
            () = trickle => unreachable!("it trickles on"),
        };
        assert!(matches!(error, ContentError::Slow { .. }) && error.is_retryable(), "{error}");
    }
}
