//! The sockets that connections are accepted from.
//!
//! All workers share the listener, so a worker takes one connection at a time and only when it can
//! serve it. A listener that is replaced, or not wanted any more, is served until its queue is empty.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::kernel::{self, Epoll, NotAccepted};

/// How long accepting rests when there are no descriptors left and none is closed.
const PAUSE_MS: u64 = 500;

/// After so long without it, running out of descriptors is news again.
const QUIET_MS: u64 = 60_000;

pub struct Listener {
    current: Option<OwnedFd>,
    /// Served until their queues are empty.
    retiring: Vec<OwnedFd>,
    /// Not watched before this time; 0 when it is.
    paused_until_ms: u64,
    last_pause_ms: u64,
}

/// What came of looking for a connection.
#[derive(Debug)]
pub enum Accepted {
    Connection(OwnedFd),
    Nothing,
    /// There are no descriptors left; `is_news` when that has not been said lately.
    Paused {
        until_ms: u64,
        is_news: bool,
    },
    /// Nobody can connect to the current listener any more.
    HungUp,
}

impl Listener {
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            current: Some(fd),
            retiring: Vec::new(),
            paused_until_ms: 0,
            last_pause_ms: 0,
        }
    }

    /// Whether it wants a look without an event.
    pub fn has_chores(&self) -> bool {
        !self.retiring.is_empty() || self.paused_until_ms != 0
    }

    /// When a pause is over; `u64::MAX` when there is none.
    pub fn paused_until_ms(&self) -> u64 {
        match self.paused_until_ms {
            0 => u64::MAX,
            until_ms => until_ms,
        }
    }

    /// Whether no connection will come any more.
    pub fn is_done(&self) -> bool {
        self.current.is_none() && self.retiring.is_empty()
    }

    pub fn watch(&self, epoll: &Epoll, token: u64) -> std::io::Result<()> {
        match &self.current {
            Some(fd) => epoll.add(fd.as_raw_fd(), libc::EPOLLIN | libc::EPOLLEXCLUSIVE, token),
            None => Ok(()),
        }
    }

    /// Stop watching the current one; what is in its queue is still served.
    pub fn retire(&mut self, epoll: &Epoll) {
        if let Some(fd) = self.current.take() {
            epoll.remove(fd.as_raw_fd());
            self.retiring.push(fd);
        }
        self.paused_until_ms = 0;
    }

    pub fn replace(&mut self, epoll: &Epoll, token: u64, fd: OwnedFd) -> std::io::Result<()> {
        self.retire(epoll);
        self.current = Some(fd);
        self.watch(epoll, token)
    }

    /// Take a connection from the current listener.
    ///
    /// With `may_be_hung_up`, it is seen whether any will follow those in its queue. The event that said
    /// so may be old: of a listener that has been replaced since.
    pub fn accept(&mut self, epoll: &Epoll, now_ms: u64, may_be_hung_up: bool) -> Accepted {
        let Some(fd) = self.current.as_ref().map(AsRawFd::as_raw_fd) else {
            return Accepted::Nothing;
        };
        match kernel::accept(fd) {
            Ok(connection) => Accepted::Connection(connection),
            Err(NotAccepted::QueueEmpty) if !(may_be_hung_up && kernel::is_hung_up(fd)) => {
                Accepted::Nothing
            }
            Err(NotAccepted::OutOfDescriptors) => self.pause(epoll, fd, now_ms),
            Err(NotAccepted::QueueEmpty | NotAccepted::Broken(_)) => {
                epoll.remove(fd);
                self.current = None;
                Accepted::HungUp
            }
        }
    }

    /// Take a connection from a listener that is not watched any more, and drop those without one.
    pub fn accept_retiring(&mut self, now_ms: u64) -> Accepted {
        if now_ms < self.paused_until_ms {
            return Accepted::Nothing;
        }
        while let Some(fd) = self.retiring.last() {
            match kernel::accept(fd.as_raw_fd()) {
                Ok(connection) => return Accepted::Connection(connection),
                Err(NotAccepted::OutOfDescriptors) => return self.note_pause(now_ms),
                Err(NotAccepted::QueueEmpty | NotAccepted::Broken(_)) => {
                    self.retiring.pop();
                }
            }
        }
        Accepted::Nothing
    }

    fn pause(&mut self, epoll: &Epoll, fd: RawFd, now_ms: u64) -> Accepted {
        epoll.remove(fd);
        self.note_pause(now_ms)
    }

    fn note_pause(&mut self, now_ms: u64) -> Accepted {
        let is_news = self.last_pause_ms == 0 || now_ms > self.last_pause_ms + QUIET_MS;
        self.last_pause_ms = now_ms;
        self.paused_until_ms = now_ms + PAUSE_MS;
        Accepted::Paused {
            until_ms: self.paused_until_ms,
            is_news,
        }
    }

    /// Go on accepting if the pause is over, or `at_once` because a descriptor has become free.
    pub fn resume(
        &mut self,
        epoll: &Epoll,
        token: u64,
        now_ms: u64,
        at_once: bool,
    ) -> std::io::Result<bool> {
        if self.paused_until_ms == 0 || (now_ms < self.paused_until_ms && !at_once) {
            return Ok(false);
        }
        self.paused_until_ms = 0;
        self.watch(epoll, token).map(|()| true)
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::process;

    use super::*;

    fn listening(name: &str) -> OwnedFd {
        let name = format!("udsrv-test-{}-{name}", process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener.into()
    }

    #[test]
    fn what_was_said_of_a_listener_is_not_said_of_its_successor() {
        let epoll = Epoll::new().unwrap();
        let first = listening("first");
        kernel::shut_down(first.as_raw_fd(), libc::SHUT_RDWR);
        let mut listener = Listener::new(first);
        listener.watch(&epoll, 1).unwrap();
        listener.replace(&epoll, 1, listening("second")).unwrap();
        let accepted = listener.accept(&epoll, 0, true);
        assert!(matches!(accepted, Accepted::Nothing), "{accepted:?}");
        let second = listener.current.as_ref().unwrap().as_raw_fd();
        kernel::shut_down(second, libc::SHUT_RDWR);
        let accepted = listener.accept(&epoll, 0, true);
        assert!(matches!(accepted, Accepted::HungUp), "{accepted:?}");
        assert!(listener.current.is_none());
    }
}
