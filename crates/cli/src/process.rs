//! Numbers of this process. Where the kernel does not tell them under `/proc`, they are left out.

use std::{fmt::Error, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// What the kernel says of this process, asked at each reading.
#[derive(Debug)]
pub(crate) struct Process {
    /// When it was started, seconds since 1970.
    pub(crate) since: u64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (to, gauge) = (&mut encoder, ConstGauge::<u64>::new);
        let help = "When the process was started, since 1970.";
        tell(to, ("process_start_time", help, Some(&Unit::Seconds)), &gauge(self.since))?;
        let help = "Processor time that the process took.";
        let time = ConstCounter::new(processor_time());
        tell(to, ("process_cpu", help, Some(&Unit::Seconds)), &time)?;
        if let Some(bytes) = resident() {
            let help = "Memory of the process that is in RAM.";
            tell(to, ("process_resident_memory", help, Some(&Unit::Bytes)), &gauge(bytes))?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            let help = "Descriptors that the process has open.";
            tell(to, ("process_open_fds", help, None), &gauge(open.count() as u64))?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            let help = "Descriptors that it may have open.";
            tell(to, ("process_max_fds", help, None), &gauge(most))?;
        }
        Ok(())
    }
}

/// A number under its name, with its help and its unit.
fn tell(
    to: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    number: &impl EncodeMetric,
) -> Result<(), Error> {
    number.encode(to.encode_descriptor(name, help, unit, number.metric_type())?)
}

/// Seconds, of all its threads.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "it is exact for millions of years")]
    let seconds = time.tv_sec as f64;
    #[expect(clippy::cast_precision_loss, reason = "a second has 30 bits of nanoseconds")]
    let rest = time.tv_nsec as f64;
    seconds + rest / 1e9
}

/// Bytes.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn the_kernel_tells_how_the_process_is() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process { since: 1_800_000_000 }));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
        };
        assert_eq!(value("process_start_time_seconds"), 1.8e9);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        if cfg!(target_os = "linux") {
            assert!(value("process_resident_memory_bytes") > 1e6);
            assert!((3.0..value("process_max_fds")).contains(&value("process_open_fds")));
        }
    }
}
