//! The decision over a synthetic index, and the same reads with nothing of ours between.

use std::{
    fs::File,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::fs::{Advice, fadvise};
use sesame_attestation::{VerifiedEnclave, WorkerProof};
use sesame_domain::{Resource, TaskId};
use sesame_vault::{Asked, KeySource, Location, Vault, authorize, wanted};
use sesame_view::{Origin, View};

use crate::{
    actors::{Actors, NOW},
    bare::Bare,
    figures::Samples,
    synthetic::{self, Size},
};

/// The folders of a synthetic index and its vault.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) origin: Origin,
    pub(crate) size: Size,
}

impl Place {
    pub(crate) fn index(&self) -> PathBuf {
        self.folder.join("index")
    }

    pub(crate) fn open(&self) -> anyhow::Result<(View, Vault)> {
        let view = View::open(&self.index(), &self.origin)?;
        let records = Location::Folder(self.folder.join("vault"));
        let keys = KeySource::Folder(self.folder.join("keys"));
        Ok((view, Vault::open(&records, &keys, self.origin.chain_id, Address::ZERO)?))
    }

    /// Opens the databases and waits until they have written nothing for two seconds: compactions are over.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        let open = self.open()?;
        let (mut since, mut last) = (Instant::now(), Vec::new());
        while since.elapsed() < Duration::from_secs(2) {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(self.index())? {
                let entry = entry?;
                // A file may be gone by now.
                files.push((entry.file_name(), entry.metadata().map_or(0, |about| about.len())));
            }
            files.sort();
            if files != last {
                (since, last) = (Instant::now(), files);
            }
            thread::sleep(Duration::from_millis(100));
        }
        drop(open);
        Ok(())
    }

    /// Drops what the operating system keeps in memory of the databases' files.
    fn chill(&self) -> anyhow::Result<()> {
        for folder in [self.index(), self.folder.join("vault")] {
            for entry in std::fs::read_dir(folder)? {
                let file = File::open(entry?.path())?;
                file.sync_all()?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
            }
        }
        Ok(())
    }
}

/// One question: a task, its enclave, and its worker's word.
pub(crate) struct Question {
    /// The task's number.
    pub(crate) number: u64,
    pub(crate) task: TaskId,
    pub(crate) enclave: VerifiedEnclave,
    worker: WorkerProof,
}

/// So many questions about tasks at random.
pub(crate) fn questions(
    size: Size,
    actors: &Actors,
    count: usize,
    seed: u64,
) -> anyhow::Result<Vec<Question>> {
    let mut random = StdRng::seed_from_u64(seed);
    let question = |number: u64| {
        let task = synthetic::task(number);
        let place = usize::try_from(synthetic::enclave_of(number, size.enclaves))?;
        let enclave = actors.enclaves.get(place).expect("there are that many").clone();
        let worker = actors.proof(task, &enclave)?;
        Ok(Question { number, task, enclave, worker })
    };
    (0..count).map(|_| question(random.random_range(0..size.tasks))).collect()
}

/// What answers: the same calls as the service makes for a bundle.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) view: &'a View,
    pub(crate) vault: &'a Vault,
    pub(crate) actors: &'a Actors,
}

impl Gate<'_> {
    /// A snapshot, the facts of both views for a bundle of three resources, what the vault has, the decision.
    pub(crate) fn decide(&self, question: &Question) -> anyhow::Result<Duration> {
        let sms = self.actors.sms;
        let asked = Asked { task: question.task, resource: Resource::Bundle, sms, now: NOW };
        let start = Instant::now();
        let snapshot = self.view.snapshot()?.expect("blocks were written");
        let facts = snapshot.facts(asked.task, Some(question.enclave.id()), asked.resource)?;
        let secrets = self.vault.look_up(&wanted(asked.resource, &facts.head))?;
        let (head, confirmed) = (&facts.head, &facts.confirmed);
        let (worker, enclave) = (&question.worker, &question.enclave);
        let decision = authorize(&asked, head, confirmed, &secrets, worker, enclave);
        let took = start.elapsed();
        let released = decision.map_err(|denials| anyhow::anyhow!("denied: {denials:?}"))?;
        anyhow::ensure!(released.items().len() == 3, "a bundle of three");
        Ok(took)
    }

    fn all(&self, questions: &[Question]) -> anyhow::Result<Samples> {
        let samples = questions.iter().map(|question| self.decide(question));
        Ok(Samples::new(samples.collect::<Result<_, _>>()?))
    }

    /// Decisions in a second on so many threads, each asking for its own tasks.
    fn rate(&self, questions: &[Question], threads: usize) -> anyhow::Result<f64> {
        let start = Instant::now();
        let share = questions.len().div_ceil(threads);
        thread::scope(|scope| {
            let runs = questions.chunks(share).map(|own| scope.spawn(move || self.all(own)));
            let runs: Vec<_> = runs.collect();
            runs.into_iter().try_for_each(|run| run.join().expect("no panic").map(drop))
        })?;
        Ok(questions.len() as f64 / start.elapsed().as_secs_f64())
    }
}

/// What was measured over one index, warm.
pub(crate) struct Warm {
    pub(crate) decided: Samples,
    pub(crate) seeks: Samples,
    /// Decisions in a second on one thread and on two.
    pub(crate) rates: [f64; 2],
}

/// Every question once to warm up, then decisions and bare seeks in turn, so that both see the same machine.
pub(crate) fn warm(place: &Place, actors: &Actors, questions: &[Question]) -> anyhow::Result<Warm> {
    let (view, vault) = place.open()?;
    let gate = Gate { view: &view, vault: &vault, actors };
    let bare = Bare::open(&place.folder)?;
    let half = questions.len() / 2;
    let others = || questions.iter().skip(half).chain(questions.iter().take(half));
    gate.all(questions)?;
    others().try_for_each(|question| bare.seek(question).map(drop))?;
    let (mut decided, mut seeks) = (Vec::new(), Vec::new());
    for (question, other) in questions.iter().zip(others()) {
        decided.push(gate.decide(question)?);
        seeks.push(bare.seek(other)?);
    }
    drop(bare);
    gate.all(questions)?;
    let rates = [gate.rate(questions, 1)?, gate.rate(questions, 2)?];
    Ok(Warm { decided: Samples::new(decided), seeks: Samples::new(seeks), rates })
}

/// The first decisions after opening databases of whose files nothing is in memory.
pub(crate) fn cold(
    place: &Place,
    actors: &Actors,
    questions: &[Question],
) -> anyhow::Result<Samples> {
    place.chill()?;
    let (view, vault) = place.open()?;
    Gate { view: &view, vault: &vault, actors }.all(questions)
}
