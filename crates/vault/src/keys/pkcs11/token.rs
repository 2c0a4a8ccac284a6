//! A token that may go away and come back: one connection with a few sessions, opened when it is needed and again when it failed.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::MechanismType,
    object::ObjectHandle,
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use zeroize::Zeroizing;

use super::Hsm;
use crate::{
    error::KeyError,
    keys::{KeyId, file::read_own},
};

/// How many calls a token answers at a time.
const SESSIONS: usize = 8;

/// For how long a token that could not be opened is not tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A module is one for the whole process, and must not be started or ended beside any call: calls read, those write.
static CALLS: RwLock<()> = RwLock::new(());

/// A token, open or not.
pub(super) struct Token {
    hsm: Hsm,
    state: RwLock<State>,
}

enum State {
    Closed,
    Failed(Failed),
    Open(Connection),
}

/// Why there is no connection.
struct Failed {
    reason: String,
    at: Instant,
    /// The PIN that the token refused. It is not tried again, for a token counts, and locks itself.
    refused: Option<Zeroizing<String>>,
}

/// Why a call failed.
pub(super) enum Failure {
    /// For a reason that another connection does not mend.
    Key(KeyError),
    /// Because of the module.
    Module(Error),
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Module(error)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("hsm", &self.hsm).finish_non_exhaustive()
    }
}

impl Token {
    pub(super) const fn new(hsm: Hsm) -> Self {
        Self { hsm, state: RwLock::new(State::Closed) }
    }

    pub(super) fn label(&self) -> &str {
        &self.hsm.token
    }

    pub(super) fn place(&self) -> String {
        format!("the HSM's token {}", self.hsm.token)
    }

    /// Does something with the token: once more by a new connection, if it fails by the one that there is.
    pub(super) fn call<T>(
        &self,
        work: impl Fn(&Connection) -> Result<T, Failure>,
    ) -> Result<T, KeyError> {
        let used = match self.attempt(&work) {
            Some((_, Ok(done))) => return Ok(done),
            Some((_, Err(Failure::Key(error)))) => return Err(error),
            Some((number, Err(Failure::Module(_)))) => Some(number),
            None => None,
        };
        self.connect(used)?;
        match self.attempt(&work) {
            Some((_, Ok(done))) => Ok(done),
            Some((_, Err(Failure::Key(error)))) => Err(error),
            Some((number, Err(Failure::Module(error)))) => Err(self.give_up(number, said(&error))),
            None => Err(self.unusable("it went away again".to_owned(), false)),
        }
    }

    /// Tells also by which connection; none if there is none.
    fn attempt<T>(
        &self,
        work: impl Fn(&Connection) -> Result<T, Failure>,
    ) -> Option<(u64, Result<T, Failure>)> {
        let _calling = reading(&CALLS);
        match &*reading(&self.state) {
            State::Open(connection) => Some((connection.number, work(connection))),
            State::Closed | State::Failed(_) => None,
        }
    }

    /// Another connection than `used`, unless somebody made one meanwhile.
    fn connect(&self, used: Option<u64>) -> Result<(), KeyError> {
        let _alone = writing(&CALLS);
        let mut state = writing(&self.state);
        match &*state {
            State::Open(connection) if Some(connection.number) != used => return Ok(()),
            State::Failed(failed) if failed.lasts(&self.hsm) => {
                return Err(self.unusable(failed.reason.clone(), failed.refused.is_some()));
            }
            State::Open(_) | State::Closed | State::Failed(_) => {}
        }
        *state = State::Closed;
        let pin = pin(&self.hsm)?;
        match Connection::open(&self.hsm, &pin) {
            Ok(connection) => {
                *state = State::Open(connection);
                Ok(())
            }
            Err(Refusal { reason, of_pin }) => {
                let refused = of_pin.then_some(pin);
                *state =
                    State::Failed(Failed { reason: reason.clone(), at: Instant::now(), refused });
                Err(self.unusable(reason, of_pin))
            }
        }
    }

    /// A new connection did not help: none is made for a while.
    fn give_up(&self, number: u64, reason: String) -> KeyError {
        let _alone = writing(&CALLS);
        let mut state = writing(&self.state);
        if matches!(&*state, State::Open(connection) if connection.number == number) {
            *state =
                State::Failed(Failed { reason: reason.clone(), at: Instant::now(), refused: None });
        }
        self.unusable(reason, false)
    }

    fn unusable(&self, reason: String, of_pin: bool) -> KeyError {
        KeyError::Token { token: self.hsm.token.clone(), reason, of_pin }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let _alone = writing(&CALLS);
        *writing(&self.state) = State::Closed;
    }
}

impl Failed {
    fn lasts(&self, hsm: &Hsm) -> bool {
        match &self.refused {
            Some(refused) => pin(hsm).is_ok_and(|now| now == *refused),
            None => self.at.elapsed() < PAUSE,
        }
    }
}

fn pin(hsm: &Hsm) -> Result<Zeroizing<String>, KeyError> {
    let text = read_own(&hsm.pin_file)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Why a token cannot be opened.
struct Refusal {
    reason: String,
    of_pin: bool,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, of_pin: false }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        said(&error).into()
    }
}

/// Sessions of a token whose user is logged in.
pub(super) struct Connection {
    number: u64,
    slot: Slot,
    keys: Mutex<HashMap<KeyId, ObjectHandle>>,
    sessions: Vec<Mutex<Session>>,
    next: AtomicUsize,
    // Ends after the sessions.
    module: Module,
}

impl Connection {
    fn open(hsm: &Hsm, pin: &str) -> Result<Self, Refusal> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let module = Module::start(hsm)?;
        let slot = module.slot(hsm)?;
        if !module.pkcs11.get_mechanism_list(slot)?.contains(&MechanismType::AES_GCM) {
            return Err("it does not offer AES-GCM (CKM_AES_GCM)".to_owned().into());
        }
        let first = module.pkcs11.open_ro_session(slot)?;
        module.log_in(&first, slot, hsm, pin)?;
        let mut sessions = vec![Mutex::new(first)];
        while sessions.len() < SESSIONS {
            match module.pkcs11.open_ro_session(slot) {
                Ok(session) => sessions.push(Mutex::new(session)),
                // It has fewer, so there are fewer.
                Err(Error::Pkcs11(RvError::SessionCount, _)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (keys, next) = (Mutex::default(), AtomicUsize::new(0));
        Ok(Self { number, slot, keys, sessions, next, module })
    }

    /// A session for one call at a time.
    #[expect(clippy::indexing_slicing, reason = "a remainder is less than what it is of")]
    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        locked(&self.sessions[next % self.sessions.len()])
    }

    /// A session that may change the token.
    pub(super) fn writing(&self) -> Result<Session, Error> {
        self.module.pkcs11.open_rw_session(self.slot)
    }

    pub(super) fn known(&self, key: KeyId) -> Option<ObjectHandle> {
        locked(&self.keys).get(&key).copied()
    }

    pub(super) fn remember(&self, key: KeyId, handle: ObjectHandle) {
        locked(&self.keys).insert(key, handle);
    }
}

/// A module that was started.
struct Module {
    pkcs11: Pkcs11,
    /// Whether it was started here, and so is ended here. Otherwise another vault of this process started it; when that ends it,
    /// it is as if the token had gone away.
    ours: bool,
}

impl Module {
    fn start(hsm: &Hsm) -> Result<Self, Refusal> {
        let path = hsm.module.display();
        let module = Pkcs11::new(&hsm.module)
            .map_err(|error| format!("cannot use {path} as a PKCS#11 module: {}", said(&error)))?;
        let ours = match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => true,
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
            Err(error) => return Err(format!("{path} does not start: {}", said(&error)).into()),
        };
        Ok(Self { pkcs11: module, ours })
    }

    fn slot(&self, hsm: &Hsm) -> Result<Slot, Refusal> {
        let mut found = Vec::new();
        for slot in self.pkcs11.get_slots_with_token()? {
            // A slot whose token is just being pulled out is none of ours.
            if self.pkcs11.get_token_info(slot).is_ok_and(|token| token.label() == hsm.token) {
                found.push(slot);
            }
        }
        match found.as_slice() {
            [slot] => Ok(*slot),
            [] => Err("no token has that label; is it plugged in, is the HSM reachable?"
                .to_owned()
                .into()),
            [..] => Err("several tokens have that label: give each its own".to_owned().into()),
        }
    }

    fn log_in(&self, session: &Session, slot: Slot, hsm: &Hsm, pin: &str) -> Result<(), Refusal> {
        let file = hsm.pin_file.display();
        let token = self.pkcs11.get_token_info(slot)?;
        if token.user_pin_locked() {
            return Err("its PIN is locked: have its security officer set another"
                .to_owned()
                .into());
        }
        if token.user_pin_final_try() {
            let reason = format!(
                "one more wrong PIN locks it: make sure that {file} holds the right one, and log in once with another program"
            );
            return Err(reason.into());
        }
        match session.login(UserType::User, Some(&AuthPin::new(pin.into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => {
                let reason = format!(
                    "it refuses the PIN in {file}, which is not tried again: put the right one there"
                );
                Err(Refusal { reason, of_pin: true })
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.ours {
            // Nothing is left to be done about a module that does not end.
            let _ = self.pkcs11.clone().finalize();
        }
    }
}

/// What the module said, without the essays on its codes.
fn said(error: &Error) -> String {
    if let Error::Pkcs11(code, function) = error {
        return format!("C_{function:?} answered {code:?}");
    }
    error.to_string()
}

fn reading<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn writing<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
