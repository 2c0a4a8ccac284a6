//! Requests over many connections, each a thread of its own: as fast as they are answered, or as they arrive, whatever the answers do.
//!
//! Arrivals are random and independent (a Poisson process for each connection), and time is measured from when a request was to be
//! sent: where answers are late, so are the requests behind them, and both count (no coordinated omission).

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// How long an answer may take before its request has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What connections send, and what they make of the answers.
pub(crate) trait Traffic: Sync {
    /// What is remembered of a request until its answer is here.
    type Sent;

    /// The next request, as bytes; made before its time is measured.
    fn next(&self, chance: &mut StdRng) -> (Vec<u8>, Self::Sent);

    /// Takes the answer, after its time was measured.
    ///
    /// # Errors
    /// When a request that was granted was answered wrongly.
    fn answered(&self, sent: Self::Sent, answer: &Answer<'_>) -> anyhow::Result<()>;
}

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each as soon as the one before it is answered.
    Answered,
    /// So many a second over all connections, at random moments.
    Arriving(f64),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a str,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// A header's value, by its name in lower case.
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(own, value)| own.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long each granted request took.
    pub(crate) granted: Vec<Duration>,
    /// Answered 503 with the time after which to ask again.
    pub(crate) shed: usize,
    /// Answered otherwise, or not at all.
    pub(crate) failed: usize,
    /// Those whose time had come, but not their turn: every answer before them was late.
    pub(crate) unsent: usize,
    /// What the first that failed was answered.
    pub(crate) complaint: Option<String>,
    /// How long all of it took.
    pub(crate) took: Duration,
}

impl Tally {
    pub(crate) fn sent(&self) -> usize {
        self.granted.len() + self.shed + self.failed
    }

    /// A number of these as a rate, 1/s.
    pub(crate) fn per_s(&self, number: usize) -> f64 {
        number as f64 / self.took.as_secs_f64()
    }

    fn add(&mut self, other: Self) {
        self.granted.extend(other.granted);
        self.shed += other.shed;
        self.failed += other.failed;
        self.unsent += other.unsent;
        self.complaint = self.complaint.take().or(other.complaint);
    }

    /// The same, and what followed it.
    pub(crate) fn then(mut self, other: Self) -> Self {
        self.took += other.took;
        self.add(other);
        self
    }
}

/// Connects, and sends for so long; what is under way then is waited for. Blocks.
pub(crate) fn drive(
    to: SocketAddr,
    traffic: &impl Traffic,
    connections: usize,
    pace: Pace,
    time: Duration,
) -> anyhow::Result<Tally> {
    let share = match pace {
        Pace::Answered => None,
        Pace::Arriving(rate) => Some(connections as f64 / rate),
    };
    let clients = (0..connections as u64).map(|seed| Client::new(to, traffic, share, seed));
    let clients = clients.collect::<anyhow::Result<Vec<_>>>()?;
    let begin = Instant::now();
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let clients = clients.into_iter();
        let clients: Vec<_> =
            clients.map(|client| scope.spawn(move || client.run(begin, time))).collect();
        for client in clients {
            tally.add(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        anyhow::Ok(())
    })?;
    tally.took = begin.elapsed();
    Ok(tally)
}

/// One connection.
struct Client<'a, T> {
    to: SocketAddr,
    stream: TcpStream,
    traffic: &'a T,
    /// Mean time between two arrivals, in seconds.
    gap: Option<f64>,
    chance: StdRng,
    buffer: Vec<u8>,
}

impl<'a, T: Traffic> Client<'a, T> {
    fn new(to: SocketAddr, traffic: &'a T, gap: Option<f64>, seed: u64) -> anyhow::Result<Self> {
        let (chance, buffer) = (StdRng::seed_from_u64(seed), Vec::with_capacity(16 << 10));
        Ok(Self { to, stream: connect(to)?, traffic, gap, chance, buffer })
    }

    fn run(mut self, begin: Instant, time: Duration) -> anyhow::Result<Tally> {
        let (mut tally, mut due) = (Tally::default(), begin);
        loop {
            due = self.gap.map_or_else(Instant::now, |gap| due + pause(gap, &mut self.chance));
            if due >= begin + time {
                return Ok(tally);
            }
            if begin.elapsed() >= time {
                tally.unsent += 1;
                continue;
            }
            let (request, sent) = self.traffic.next(&mut self.chance);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            match self.ask(&request) {
                Ok(()) => self.count(sent, due.elapsed(), &mut tally)?,
                Err(error) => {
                    tally.failed += 1;
                    tally.complaint.get_or_insert_with(|| error.to_string());
                    self.stream = connect(self.to)?;
                }
            }
        }
    }

    /// Sends a request and reads the answer as far as it says that it goes.
    fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.buffer.clear();
        self.stream.write_all(request)?;
        let mut chunk = [0; 8192];
        while !is_whole(&self.buffer)? {
            let read = self.stream.read(&mut chunk)?;
            anyhow::ensure!(read > 0, "the connection ended");
            self.buffer.extend(chunk.iter().take(read));
        }
        Ok(())
    }

    fn count(&mut self, sent: T::Sent, took: Duration, tally: &mut Tally) -> anyhow::Result<()> {
        let answer = parse(&self.buffer)?;
        match answer.status {
            200..=299 => tally.granted.push(took),
            503 if answer.header("retry-after").is_some() => tally.shed += 1,
            _ => {
                tally.failed += 1;
                let complaint = || String::from_utf8_lossy(&self.buffer).into_owned();
                tally.complaint.get_or_insert_with(complaint);
            }
        }
        let closes =
            answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.traffic.answered(sent, &answer)?;
        if closes {
            self.stream = connect(self.to)?;
        }
        Ok(())
    }
}

fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The time until the next of independent arrivals, this often on average.
fn pause(gap: f64, chance: &mut StdRng) -> Duration {
    let share: f64 = chance.random_range(f64::EPSILON..1.0);
    Duration::from_secs_f64(-share.ln() * gap)
}

/// Where an answer's head ends.
fn end_of_head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4)
}

/// Whether an answer's head and as much body as it announces have arrived.
fn is_whole(answer: &[u8]) -> anyhow::Result<bool> {
    if end_of_head(answer).is_none() {
        return Ok(false);
    }
    let answer = parse(answer)?;
    let length = answer.header("content-length").map_or(Ok(0), str::parse)?;
    Ok(answer.body.len() >= length)
}

fn parse(answer: &[u8]) -> anyhow::Result<Answer<'_>> {
    let (head, body) = answer.split_at(end_of_head(answer).unwrap_or_default());
    let head = std::str::from_utf8(head)?;
    let status = head.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(Answer { status, head, body })
}
