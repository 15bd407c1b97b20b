//! The table of open connections, and who may touch which of them.
//!
//! A connection lives in the slot of its descriptor's number. Whoever claims it owns it until it is
//! released or closed; nobody waits for a claim. An event for a connection that is claimed sets a mark
//! that its owner finds when it releases it, so no edge is lost. A token names the slot and its
//! generation: an event of a connection that has been closed since finds nobody.

use std::cell::UnsafeCell;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::connection::Connection;
use crate::timers::Timers;

const FREE: u64 = 0;
const IDLE: u64 = 1;
const BUSY: u64 = 2;
/// Claimed, and an event came since.
const PENDING: u64 = 3;
const STATE: u64 = 3;

const CHUNK: usize = 256;
const CHUNKS: usize = 4096;

/// Names a connection in an epoll event; never 0 in its upper half.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token(u64);

impl Token {
    /// The token in an epoll event, unless it is one of the engine's own descriptors.
    pub fn from_event(data: u64) -> Option<Self> {
        (data >> 32 != 0).then_some(Self(data))
    }

    pub fn to_event(self) -> u64 {
        self.0
    }

    fn new(generation: u32, index: usize) -> Self {
        Self(u64::from(generation) << 32 | index as u64)
    }

    fn index(self) -> usize {
        usize::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(usize::MAX)
    }

    fn generation(self) -> u64 {
        self.0 >> 32
    }
}

struct Slot {
    /// The generation, and in the lowest two bits who may touch `connection`.
    state: AtomicU64,
    /// When the connection is closed if nothing happens; `u64::MAX` for never.
    deadline_ms: AtomicU64,
    connection: UnsafeCell<Option<Connection>>,
}

/// All connections of the process.
pub struct Slots {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
    /// One more than the highest index that was ever used.
    used: AtomicUsize,
    open: AtomicUsize,
    pub timers: Timers,
}

// SAFETY: `connection` is touched only by the one thread whose compare-and-swap made the state BUSY
// (`Claim`), and what it holds may move between threads, as the line below has the compiler check.
unsafe impl Sync for Slots {}
const _: fn(Connection) -> Box<dyn Send> = |connection| Box::new(connection);

/// The right to touch one connection.
pub struct Claim<'a> {
    slots: &'a Slots,
    slot: &'a Slot,
    token: Token,
}

impl Slots {
    pub fn new(timers: Timers) -> Self {
        Self {
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            used: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            timers,
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// One more than the highest index that may hold a connection.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Take `connection` in; the caller owns it. Gives it back when its number is beyond the table.
    pub fn insert(&self, connection: Connection) -> Result<Claim<'_>, Connection> {
        let index = connection.fd.as_raw_fd().cast_unsigned() as usize;
        let Some(chunk) = self.chunks.get(index / CHUNK) else {
            return Err(connection);
        };
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| Slot::new()).collect());
        let slot = &chunk[index % CHUNK];
        // The slot is free: the descriptor of its last connection was closed after that was said.
        // Generation 0 is left out, tokens with it are the engine's own.
        let last = slot.state.load(Ordering::Acquire) >> 2;
        let generation = u32::try_from(last + 1).unwrap_or(1);
        slot.deadline_ms.store(u64::MAX, Ordering::Relaxed);
        // SAFETY: descriptors are unique, so no other thread is here for this slot, and none can claim
        // a free one.
        unsafe { *slot.connection.get() = Some(connection) };
        slot.state
            .store(u64::from(generation) << 2 | BUSY, Ordering::Release);
        self.used.fetch_max(index + 1, Ordering::AcqRel);
        self.open.fetch_add(1, Ordering::AcqRel);
        Ok(Claim {
            slots: self,
            slot,
            token: Token::new(generation, index),
        })
    }

    /// Own the connection that an event came for; `None` when it is closed, or owned already: then
    /// its owner is told.
    pub fn claim(&self, token: Token) -> Option<Claim<'_>> {
        let slot = self.slot(token.index())?;
        let mut seen = slot.state.load(Ordering::Acquire);
        loop {
            if seen >> 2 != token.generation() {
                return None;
            }
            let next = match seen & STATE {
                IDLE => BUSY,
                BUSY => PENDING,
                _ => return None,
            };
            match slot.state.compare_exchange_weak(
                seen,
                seen & !STATE | next,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) if next == PENDING => return None,
                Ok(_) => {
                    return Some(Claim {
                        slots: self,
                        slot,
                        token,
                    });
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Own the connection at `index` if there is one and nobody owns it; no mark is left otherwise.
    pub fn claim_unowned(&self, index: usize) -> Option<Claim<'_>> {
        let slot = self.slot(index)?;
        let seen = slot.state.load(Ordering::Acquire);
        if seen & STATE != IDLE {
            return None;
        }
        slot.state
            .compare_exchange(
                seen,
                seen & !STATE | BUSY,
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .ok()?;
        let generation = u32::try_from(seen >> 2).ok()?;
        Some(Claim {
            slots: self,
            slot,
            token: Token::new(generation, index),
        })
    }

    /// The deadline of what is at `index`; `u64::MAX` when there is none.
    pub fn deadline_ms(&self, index: usize) -> u64 {
        self.slot(index).map_or(u64::MAX, |slot| {
            if slot.state.load(Ordering::Acquire) & STATE == IDLE {
                slot.deadline_ms.load(Ordering::Relaxed)
            } else {
                u64::MAX
            }
        })
    }

    fn slot(&self, index: usize) -> Option<&Slot> {
        Some(&self.chunks.get(index / CHUNK)?.get()?[index % CHUNK])
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            state: AtomicU64::new(FREE),
            deadline_ms: AtomicU64::new(u64::MAX),
            connection: UnsafeCell::new(None),
        }
    }
}

impl Claim<'_> {
    pub fn token(&self) -> Token {
        self.token
    }

    pub fn fd(&self) -> RawFd {
        RawFd::try_from(self.token.index()).unwrap_or(-1)
    }

    pub fn connection(&mut self) -> &mut Connection {
        // SAFETY: this claim is the only one, and `&mut self` makes this borrow of it the only one.
        let connection = unsafe { &mut *self.slot.connection.get() };
        connection
            .as_mut()
            .unwrap_or_else(|| unreachable!("a claimed slot holds a connection until it is closed"))
    }

    /// Close the connection at `deadline_ms` if nothing happens.
    pub fn set_deadline_ms(&self, deadline_ms: u64) {
        self.slot.deadline_ms.store(deadline_ms, Ordering::Relaxed);
        self.slots.timers.note(deadline_ms);
    }

    /// Give the connection back, unless an event came for it meanwhile: then it is still the caller's.
    pub fn release(self) -> Option<Self> {
        let owned = self.slot.state.load(Ordering::Relaxed) & !STATE;
        let released = self.slot.state.compare_exchange(
            owned | BUSY,
            owned | IDLE,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if released.is_ok() {
            // A walk over the deadlines that came by meanwhile has not seen this one.
            let deadline_ms = self.slot.deadline_ms.load(Ordering::Relaxed);
            self.slots.timers.note(deadline_ms);
            return None;
        }
        self.slot.state.store(owned | BUSY, Ordering::Release);
        Some(self)
    }

    /// Forget the connection, then close its descriptor.
    pub fn close(self) {
        drop(self.take());
    }

    /// Forget the connection; its descriptor is the caller's to close.
    ///
    /// In this order: the number may be another connection's as soon as it is closed.
    pub fn take(self) -> Option<Connection> {
        // SAFETY: as in `connection`.
        let connection = unsafe { (*self.slot.connection.get()).take() };
        let generation = self.slot.state.load(Ordering::Relaxed) & !STATE;
        self.slot.state.store(generation | FREE, Ordering::Release);
        self.slots.open.fetch_sub(1, Ordering::AcqRel);
        connection
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn connection() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Connection::new(ours.into(), false), theirs)
    }

    #[test]
    fn a_connection_has_one_owner_at_a_time() {
        let slots = Slots::new(Timers::new(None));
        let (connection, _peer) = connection();
        let claim = slots.insert(connection).ok().unwrap();
        let token = claim.token();
        assert_eq!(Token::from_event(token.to_event()), Some(token));
        assert!(slots.claim_unowned(token.index()).is_none());
        assert!(claim.release().is_none());
        let claim = slots.claim_unowned(token.index()).unwrap();
        assert!(slots.claim(token).is_none());
        let claim = claim.release().expect("an event came meanwhile");
        assert!(claim.release().is_none());
        assert!(slots.claim(token).is_some());
    }

    #[test]
    fn an_event_of_a_closed_connection_finds_nobody() {
        let slots = Slots::new(Timers::new(None));
        let (first, _first_peer) = connection();
        let claim = slots.insert(first).ok().unwrap();
        let (old, fd) = (claim.token(), claim.fd());
        claim.close();
        assert_eq!(slots.open(), 0);
        assert!(slots.claim(old).is_none());
        let (second, _second_peer) = connection();
        let number = second.fd.as_raw_fd();
        let claim = slots.insert(second).ok().unwrap();
        assert!(claim.release().is_none());
        assert!(slots.claim(old).is_none());
        if number == fd {
            assert!(slots.claim_unowned(old.index()).is_some());
        }
        assert_eq!(slots.open(), 1);
    }

    #[test]
    fn only_a_connection_nobody_owns_has_a_deadline() {
        let slots = Slots::new(Timers::new(None));
        let (connection, _peer) = connection();
        let claim = slots.insert(connection).ok().unwrap();
        let index = claim.token().index();
        claim.set_deadline_ms(17);
        assert_eq!(slots.deadline_ms(index), u64::MAX);
        assert!(claim.release().is_none());
        assert_eq!(slots.deadline_ms(index), 17);
        assert_eq!(slots.timers.next_ms(), 17);
    }

    #[test]
    fn a_deadline_is_known_again_after_a_walk_that_met_an_owner() {
        let slots = Slots::new(Timers::new(None));
        let (connection, _peer) = connection();
        let claim = slots.insert(connection).ok().unwrap();
        claim.set_deadline_ms(17);
        assert!(slots.timers.is_due(17), "the walk takes the bound away");
        assert!(claim.release().is_none());
        assert_eq!(slots.timers.next_ms(), 17);
    }
}
