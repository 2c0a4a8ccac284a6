//! nginx in front of several services, as Debian packages it. Gone when dropped.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::free_port;

const HINT: &str = "run script/setup as root, or install nginx";
const PATIENCE: Duration = Duration::from_secs(30);

/// A balancer that asks the next service where one dies or is not ready.
#[derive(Debug)]
pub struct Balancer {
    child: Child,
    port: u16,
}

impl Balancer {
    /// In front of services at these addresses, with its files in this folder.
    ///
    /// # Panics
    /// When nginx is not installed or does not start.
    #[must_use]
    pub fn start(folder: &Path, services: &[String]) -> Self {
        let port = free_port();
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration(folder, port, services)).expect("a file can be written");
        let mut command = Command::new(program());
        command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg(folder.join("nginx.log"));
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("no nginx ({error}): {HINT}"));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "nginx does not start, see {}", folder.display());
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }

    /// The base URL.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process, which ends when it is killed. Nothing that a service is asked changes anything twice, so all of it may be asked
/// again elsewhere.
fn configuration(folder: &Path, port: u16, services: &[String]) -> String {
    let folder = folder.display();
    let services: String = services
        .iter()
        .map(|address| format!("server {address} max_fails=1 fail_timeout=1s;\n"))
        .collect();
    let spools = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_max_body_size 8m; {spools}
    upstream sesame {{ {services} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://sesame; proxy_http_version 1.1;
            proxy_connect_timeout 2s; proxy_read_timeout 70s;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_next_upstream error timeout http_503 non_idempotent;
        }}
    }}
}}
"
    )
}

fn program() -> PathBuf {
    let debian = Path::new("/usr/sbin/nginx");
    if debian.exists() { debian.to_owned() } else { "nginx".into() }
}
