//! What the program tells whoever watches it: its log, its traces, and the numbers of its process.
//!
//! None of it may hold up the service: log lines that nobody reads and spans that nobody takes are dropped, and counted or said
//! once.

use std::{
    env,
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::Args;
use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    resource::EnvResourceDetector,
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, info::Info},
    registry::Registry,
};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, fmt::writer::BoxMakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use url::Url;

use crate::{
    args::{Cli, Command, LogFormat},
    process::Process,
};

/// Lines that wait for whoever reads the log; those after them are dropped.
const WAITING_LINES: usize = 8192;
/// How long the program waits at its end for whoever reads its log or takes its traces.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long of that for the traces.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Where traces go.
#[derive(Debug, Clone, Args)]
pub(crate) struct TelemetryArgs {
    /// Where to send traces: an OpenTelemetry collector that takes OTLP over HTTP, as http://127.0.0.1:4318. Nowhere unless given;
    /// while it does not answer, spans are dropped. The other variables OTEL_EXPORTER_OTLP_… and OTEL_RESOURCE_ATTRIBUTES count too.
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        help_heading = "Watching"
    )]
    pub(crate) otlp_url: Option<Url>,
}

/// What runs beside the program until it ends.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// Numbers of the program, which services publish with their own.
    pub(crate) program: Arc<Registry>,
    traces: Option<SdkTracerProvider>,
    /// Writes what is waiting when it is dropped: after the traces, which may have something to say.
    _log: Option<WorkerGuard>,
}

impl Telemetry {
    /// Begins to log, and to trace if that is asked for. Logs go to stderr, so that stdout holds answers alone; `RUST_LOG` wins
    /// over `--log-level`.
    ///
    /// # Errors
    /// When traces cannot be sent where they should go.
    pub(crate) fn start(cli: &Cli, now: SystemTime) -> anyhow::Result<Self> {
        let level = cli.global.log_level.unwrap_or_else(|| cli.command.log_level());
        let filter =
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.as_str()));
        let service = Service::of(&cli.command);
        let traces = service.as_ref().and_then(|service| service.tracing.otlp_url.as_ref());
        let name = service.as_ref().map_or("sesame", |service| service.name);
        let traces = traces.map(|url| provider(url, name)).transpose()?;
        let (writer, log, dropped) = match service {
            Some(_) => in_background(),
            // A command that ends soon may wait for its reader.
            None => (BoxMakeWriter::new(io::stderr), None, None),
        };
        let colours =
            io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
        let lines = match cli.global.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        let spans = traces.as_ref().map(|provider| spans(provider.tracer("sesame")));
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).init();
        if service.is_some() {
            log_panics();
        }
        let since = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(Self { program: program(since, dropped).into(), traces, _log: log })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown_with_timeout(LAST_SPANS)
        {
            tracing::warn!(%error, "the last spans may be lost");
        }
    }
}

/// Does what is left to be done at the program's end, and waits no longer for it than a reader may take who is gone.
pub(crate) fn last_words(work: impl FnOnce() + Send + 'static) {
    let (saying, said) = mpsc::channel::<()>();
    thread::spawn(move || {
        work();
        drop(saying);
    });
    // Either all is said, or nobody listens.
    let _ = said.recv_timeout(LAST_WORDS);
}

/// A command that runs until it is stopped.
struct Service<'c> {
    name: &'static str,
    tracing: &'c TelemetryArgs,
}

impl<'c> Service<'c> {
    fn of(command: &'c Command) -> Option<Self> {
        match command {
            Command::Serve(args) => Some(Self { name: "sesame-serve", tracing: args.telemetry() }),
            Command::Worker(args) => {
                Some(Self { name: "sesame-worker", tracing: args.telemetry() })
            }
            Command::Account(_)
            | Command::App(_)
            | Command::Data(_)
            | Command::Enclave(_)
            | Command::Secret(_)
            | Command::Receipts(_)
            | Command::Task(_)
            | Command::Explain(_)
            | Command::Status
            | Command::Index(_)
            | Command::Vault(_)
            | Command::Config(_)
            | Command::Openapi
            | Command::Manual(_)
            | Command::Completions(_) => None,
        }
    }
}

/// A log that holds up nobody: lines beyond those that wait are dropped and counted.
fn in_background() -> (BoxMakeWriter, Option<WorkerGuard>, Option<ErrorCounter>) {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES);
    let (writer, guard) = builder.thread_name("log").finish(io::stderr());
    let dropped = writer.error_counter();
    (BoxMakeWriter::new(writer), Some(guard), Some(dropped))
}

/// A panic is a line of the log like any other, for stderr itself may hold up who writes there. What was said in it stays out:
/// it may hold anything.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "something panicked");
    }));
}

/// Sends spans to a collector. Threads of its own do, and none waits for them.
fn provider(url: &Url, name: &'static str) -> anyhow::Result<SdkTracerProvider> {
    let endpoint = format!("{}/v1/traces", url.as_str().trim_end_matches('/'));
    let exporter = OtlpExporter::builder().with_http().with_endpoint(endpoint).build();
    let exporter = exporter.context("cannot send traces to the address of --otlp-url")?;
    let resource = Resource::builder_empty()
        .with_service_name(name)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    let exporter = Heard { exporter, silent: AtomicBool::new(false) };
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// Our own spans, and with them the lines that are logged in them; whatever the log leaves out.
fn spans<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'s> tracing_subscriber::registry::LookupSpan<'s>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target("sesame", LevelFilter::INFO))
}

/// Tells once that the collector does not take spans, and once that it does again.
#[derive(Debug)]
struct Heard {
    exporter: OtlpExporter,
    silent: AtomicBool,
}

impl SpanExporter for Heard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let before = self.silent.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !before => {
                tracing::warn!(%error, "the collector does not take traces: spans are dropped");
            }
            Ok(()) if before => tracing::info!("the collector takes traces again"),
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Numbers of the program.
fn program(since: u64, dropped: Option<ErrorCounter>) -> Registry {
    let mut registry = Registry::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    registry.register("sesame_build", "The version that runs", Info::new(version));
    registry.register_collector(Box::new(Process { since }));
    if let Some(dropped) = dropped {
        registry.register_collector(Box::new(Dropped(dropped)));
    }
    registry
}

/// Lines of the log that nobody could read.
#[derive(Debug)]
struct Dropped(ErrorCounter);

impl Collector for Dropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let lines = ConstCounter::new(self.0.dropped_lines() as u64);
        let help = "Lines of the log that were dropped, since nobody read those before them.";
        let of_kind = lines.metric_type();
        lines.encode(encoder.encode_descriptor("sesame_log_lines_dropped", help, None, of_kind)?)
    }
}
