//! System calls on sockets, epoll and clocks, as thin functions that decide nothing.
//!
//! Runs as: the app's user, in a worker. The only other `unsafe` of the module is in `python`,
//! `gil_cell`, `slots` and the callbacks of `start_response`.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::c_int;

/// What came of reading a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    Bytes(usize),
    Eof,
    WouldBlock,
    /// The connection is broken; there is nobody left to answer.
    Gone,
}

/// What came of writing to a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    Bytes(usize),
    WouldBlock,
    Gone,
}

/// How a wait for a socket ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Waited {
    Ready,
    TimedOut,
    Interrupted,
}

/// Why no connection was accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotAccepted {
    QueueEmpty,
    /// `EMFILE`, `ENFILE` or no memory: it goes on once something is closed.
    OutOfDescriptors,
    /// The listener itself is of no use any more.
    Broken(i32),
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Turn the `-1` of a system call into its error.
fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Read what is there, without waiting.
pub fn receive(fd: RawFd, buf: &mut [u8]) -> Received {
    // SAFETY: the pointer and the length are those of `buf`.
    unsafe { receive_raw(fd, buf.as_mut_ptr(), buf.len()) }
}

/// Read at most `limit` bytes behind what `buf` holds, without waiting.
pub fn receive_after(fd: RawFd, buf: &mut Vec<u8>, limit: usize) -> Received {
    buf.reserve(limit);
    // SAFETY: `reserve` has made room for `limit` bytes behind the length.
    let received = unsafe { receive_raw(fd, buf.as_mut_ptr().add(buf.len()), limit) };
    if let Received::Bytes(count) = received {
        // SAFETY: the kernel has written `count` bytes there, and `count` is at most `limit`.
        unsafe { buf.set_len(buf.len() + count) };
    }
    received
}

/// Straight to the kernel, as `send` is: with several threads libc's own functions pay for being points
/// of cancellation (pthreads(7)), which nobody here makes use of.
///
/// # Safety
///
/// `start` points to `len` writable bytes.
unsafe fn receive_raw(fd: RawFd, start: *mut u8, len: usize) -> Received {
    let nobody = ptr::null::<libc::sockaddr>();
    let flags = libc::MSG_DONTWAIT;
    loop {
        // SAFETY: the caller's promise.
        let count =
            unsafe { libc::syscall(libc::SYS_recvfrom, fd, start, len, flags, nobody, nobody) };
        if let Ok(count) = usize::try_from(count) {
            return match count {
                0 => Received::Eof,
                count => Received::Bytes(count),
            };
        }
        match errno() {
            libc::EINTR => {}
            libc::EAGAIN => return Received::WouldBlock,
            _ => return Received::Gone,
        }
    }
}

/// Write what fits, without waiting.
pub fn send(fd: RawFd, data: &[u8]) -> Sent {
    let (start, len) = (data.as_ptr(), data.len());
    let nobody = ptr::null::<libc::sockaddr>();
    loop {
        // SAFETY: the pointer and the length are those of `data`.
        let count =
            unsafe { libc::syscall(libc::SYS_sendto, fd, start, len, SEND_FLAGS, nobody, 0) };
        if let Some(sent) = sent(count) {
            return sent;
        }
    }
}

/// Write what fits of the bytes of three pieces from byte `at` on, in one call and without waiting.
pub fn send_pieces(fd: RawFd, pieces: [&[u8]; 3], mut at: usize) -> Sent {
    let [first, second, third] = pieces;
    if second.is_empty() && third.is_empty() {
        return send(fd, &first[at.min(first.len())..]);
    }
    let parts = pieces.map(|piece| {
        let skipped = at.min(piece.len());
        at -= skipped;
        IoSlice::new(&piece[skipped..])
    });
    // SAFETY: all-zero is a valid value of this plain C structure.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len();
    loop {
        // SAFETY: `IoSlice` has the layout of `iovec` on Unix, and sendmsg only reads them.
        let count = unsafe { libc::sendmsg(fd, &raw const message, SEND_FLAGS) };
        if let Some(sent) = sent(count) {
            return sent;
        }
    }
}

const SEND_FLAGS: c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// What the result of a send means; `None` when it is to be repeated.
fn sent(count: impl TryInto<usize>) -> Option<Sent> {
    if let Ok(count) = count.try_into() {
        return Some(Sent::Bytes(count));
    }
    match errno() {
        libc::EINTR => None,
        libc::EAGAIN => Some(Sent::WouldBlock),
        _ => Some(Sent::Gone),
    }
}

/// What came of sending a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SentFile {
    Bytes(usize),
    /// The file has no byte there any more.
    Ended,
    WouldBlock,
    Gone,
    /// Its file system can't do this; reading it works, or says what is wrong.
    Unsupported,
}

/// Send at most `limit` bytes of a file from `offset` on, without waiting for the socket.
///
/// The file is waited for: whoever calls this does not hold the GIL.
pub fn send_file(fd: RawFd, file_fd: RawFd, offset: u64, limit: usize) -> SentFile {
    let Ok(mut offset) = libc::off_t::try_from(offset) else {
        return SentFile::Ended;
    };
    // There is no MSG_NOSIGNAL for this, and an application may have SIGPIPE end its process.
    let mask = SignalMask::block(libc::SIGPIPE);
    let result = loop {
        // SAFETY: one valid offset, which nobody else uses.
        let count = unsafe { libc::sendfile(fd, file_fd, &raw mut offset, limit) };
        if let Ok(count) = usize::try_from(count) {
            break match count {
                0 => SentFile::Ended,
                count => SentFile::Bytes(count),
            };
        }
        match errno() {
            libc::EINTR => {}
            libc::EAGAIN => break SentFile::WouldBlock,
            libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN | libc::ESHUTDOWN => {
                break SentFile::Gone;
            }
            _ => break SentFile::Unsupported,
        }
    };
    // Also a call that has sent something may have met the end of the connection then.
    if result != SentFile::Bytes(limit) {
        SignalMask::take(libc::SIGPIPE);
    }
    mask.restore();
    result
}

/// The size of a regular file; `None` for anything else.
pub fn regular_size(fd: RawFd) -> io::Result<Option<u64>> {
    // SAFETY: all-zero is a valid value of this plain C structure.
    let mut found: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: one valid structure to write to.
    checked(unsafe { libc::fstat(fd, &raw mut found) })?;
    let is_regular = found.st_mode & libc::S_IFMT == libc::S_IFREG;
    Ok(is_regular.then(|| u64::try_from(found.st_size).unwrap_or(0)))
}

/// Read at most `limit` bytes of a file from `offset` on behind what `buf` holds; 0 at its end.
pub fn read_file(fd: RawFd, offset: u64, buf: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
    buf.reserve(limit);
    loop {
        // SAFETY: `reserve` has made room for `limit` bytes behind the length.
        let count =
            unsafe { libc::pread(fd, buf.as_mut_ptr().add(buf.len()).cast(), limit, offset) };
        if let Ok(count) = usize::try_from(count) {
            // SAFETY: the kernel has written `count` bytes there, and `count` is at most `limit`.
            unsafe { buf.set_len(buf.len() + count) };
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Whether there is something to read from `fd`, or its end.
pub fn is_readable(fd: RawFd) -> bool {
    is_ready(fd, libc::POLLIN)
}

/// Whether the peer of `fd` has closed both its sides, so that nobody reads what is sent.
pub fn is_hung_up(fd: RawFd) -> bool {
    is_ready(fd, 0)
}

fn is_ready(fd: RawFd, events: i16) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
}

/// Wait until `fd` is ready for `events`, or hung up, or `timeout` is over.
pub fn wait_for(fd: RawFd, events: i16, timeout: Duration) -> Waited {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    match unsafe { libc::poll(&raw mut poll, 1, wait_ms(timeout)) } {
        0 => Waited::TimedOut,
        count if count < 0 && errno() == libc::EINTR => Waited::Interrupted,
        _ => Waited::Ready,
    }
}

/// `duration` in whole milliseconds, rounded up, so that no wait ends before its deadline.
///
/// Without `as_nanos`, whose division of 128 bits costs every request more than a clock does.
pub fn millis(duration: Duration) -> u64 {
    let parts = duration.subsec_nanos().div_ceil(1_000_000);
    duration
        .as_secs()
        .saturating_mul(1000)
        .saturating_add(parts.into())
}

fn wait_ms(timeout: Duration) -> c_int {
    c_int::try_from(millis(timeout)).unwrap_or(c_int::MAX)
}

/// Take one connection from the queue of `listener_fd`.
pub fn accept(listener_fd: RawFd) -> Result<OwnedFd, NotAccepted> {
    loop {
        // SAFETY: null for the address and its length means that nobody wants them.
        let fd = unsafe {
            libc::accept4(
                listener_fd,
                ptr::null_mut(),
                ptr::null_mut(),
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        if fd >= 0 {
            // SAFETY: the kernel has just made it, so nobody else owns it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        match errno() {
            libc::EINTR | libc::ECONNABORTED => {}
            libc::EAGAIN => return Err(NotAccepted::QueueEmpty),
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                return Err(NotAccepted::OutOfDescriptors);
            }
            other => return Err(NotAccepted::Broken(other)),
        }
    }
}

/// Say that nothing more will be sent (`SHUT_WR`) or read (`SHUT_RD`).
pub fn shut_down(fd: RawFd, how: c_int) {
    // SAFETY: no memory is involved. A failure means that the peer is gone already.
    unsafe { libc::shutdown(fd, how) };
}

/// Bytes that wait to be read, or 0 when that cannot be told.
pub fn waiting_bytes(fd: RawFd) -> usize {
    let mut count: c_int = 0;
    // SAFETY: FIONREAD writes one int.
    if unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) } < 0 {
        return 0;
    }
    usize::try_from(count).unwrap_or(0)
}

/// A descriptor of our own for what `fd` names.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let copy = checked(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the kernel has just made it, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Give the calling thread a table of descriptors of its own, with the standard streams and `kept` in
/// it. What it closes or opens is its own then (unshare(2), `CLONE_FILES`).
pub fn keep_descriptors(mut kept: [RawFd; 2]) -> io::Result<()> {
    kept.sort_unstable();
    // SAFETY: no memory is involved.
    checked(unsafe { libc::unshare(libc::CLONE_FILES) })?;
    let [first, second] = kept.map(RawFd::cast_unsigned);
    for (from, to) in [
        (3, first - 1),
        (first + 1, second - 1),
        (second + 1, u32::MAX),
    ] {
        if from <= to {
            // SAFETY: no memory is involved, and the descriptors are this thread's alone.
            unsafe { libc::close_range(from, to, 0) };
        }
    }
    Ok(())
}

/// The uid and gid that the peer of a Unix socket had when it connected.
pub fn peer_ids(fd: RawFd) -> io::Result<(u32, u32)> {
    let mut ids = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut len = size_of_u32::<libc::ucred>();
    // SAFETY: the pointer and the length are those of `ids`.
    checked(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut ids).cast(),
            &raw mut len,
        )
    })?;
    Ok((ids.uid, ids.gid))
}

/// The supplementary groups that the peer of a Unix socket had when it connected.
pub fn peer_groups(fd: RawFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let room = u32::try_from(groups.len() * mem::size_of::<u32>()).unwrap_or(u32::MAX);
        let mut len = room;
        // SAFETY: `len` is the size of what the pointer points to.
        let result = unsafe {
            libc::getsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        match checked(result) {
            Ok(_) => {
                groups.truncate(len as usize / mem::size_of::<u32>());
                return Ok(groups);
            }
            // ERANGE tells the size that is needed.
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && len > room => {
                groups.resize(len as usize / mem::size_of::<u32>(), 0);
            }
            Err(error) => return Err(error),
        }
    }
}

fn size_of_u32<T>() -> u32 {
    u32::try_from(mem::size_of::<T>()).unwrap_or(u32::MAX)
}

/// Milliseconds of a clock that never jumps, to about 4 ms.
pub fn now_ms() -> u64 {
    let time = clock(libc::CLOCK_MONOTONIC_COARSE);
    time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000
}

/// Seconds since 1970.
pub fn wall_seconds() -> i64 {
    clock(libc::CLOCK_REALTIME_COARSE).tv_sec
}

/// A point in time as people of the local time zone write it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalTime {
    pub year: i32,
    /// From 1.
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// East of UTC.
    pub offset_s: i32,
}

/// The local time at `seconds` since 1970.
pub fn local_time(seconds: i64) -> LocalTime {
    // SAFETY: all-zero is a valid value of this plain C structure.
    let mut parts: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both pointers are valid. It fails only when the year does not fit.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut parts) };
    let small = |number: libc::c_int| u8::try_from(number).unwrap_or(0);
    LocalTime {
        year: parts.tm_year.saturating_add(1900),
        month: small(parts.tm_mon + 1),
        day: small(parts.tm_mday),
        hour: small(parts.tm_hour),
        minute: small(parts.tm_min),
        second: small(parts.tm_sec),
        offset_s: i32::try_from(parts.tm_gmtoff).unwrap_or(0),
    }
}

/// Whether `fd` is a regular file.
pub fn is_file(fd: RawFd) -> io::Result<bool> {
    // SAFETY: all-zero is a valid value of this plain C structure.
    let mut facts: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: one valid structure.
    checked(unsafe { libc::fstat(fd, &raw mut facts) })?;
    Ok(facts.st_mode & libc::S_IFMT == libc::S_IFREG)
}

/// Write to any descriptor, which may wait if it is one that does.
pub fn write(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and the length are those of `data`.
        let count = unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
}

fn clock(id: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: one valid timespec. Both clocks exist on every Linux, so it cannot fail.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time
}

/// An eventfd: written by any thread to end a wait.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the kernel has just made it, so nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight valid bytes. It fails only when the counter is full, that is, rung.
        unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A timerfd: ends a wait at a time.
#[derive(Debug)]
pub struct Alarm(OwnedFd);

impl Alarm {
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no memory is involved.
        let fd = checked(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the kernel has just made it, so nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Go off at `at_ms`, a time of the clock of `now_ms`, and at none that was set before.
    pub fn set(&self, at_ms: u64) {
        // All zero would mean never.
        let at = Duration::from_millis(at_ms.max(1));
        // SAFETY: all-zero is a valid value of this plain C structure.
        let mut time: libc::itimerspec = unsafe { mem::zeroed() };
        time.it_value.tv_sec = libc::time_t::try_from(at.as_secs()).unwrap_or(libc::time_t::MAX);
        time.it_value.tv_nsec = at.subsec_nanos().into();
        let is_absolute = libc::TFD_TIMER_ABSTIME;
        // SAFETY: one valid structure, and null means that nobody wants the time set before. The time
        // is one that exists, so it cannot fail.
        unsafe { libc::timerfd_settime(self.fd(), is_absolute, &raw const time, ptr::null_mut()) };
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

pub type Event = libc::epoll_event;

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just made it, so nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn add(&self, fd: RawFd, events: c_int, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    pub fn modify(&self, fd: RawFd, events: c_int, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    pub fn remove(&self, fd: RawFd) {
        // It fails only when `fd` is not registered, which is what is wanted.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    fn control(&self, operation: c_int, fd: RawFd, events: c_int, token: u64) -> io::Result<()> {
        let mut event = Event {
            events: events.cast_unsigned(),
            u64: token,
        };
        // SAFETY: one valid event, which the kernel only reads.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) })
            .map(drop)
    }

    /// Fill `events` and return how many there are; 0 also when a signal came.
    ///
    /// With `mask`, the thread has that signal mask while it waits, and only then.
    pub fn wait(
        &self,
        events: &mut [Event],
        timeout: Option<Duration>,
        mask: Option<&SignalMask>,
    ) -> usize {
        let room = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
        let mask = mask.map_or(ptr::null(), |mask| &raw const mask.0);
        // SAFETY: `room` events fit, and the mask is null or valid.
        let count = unsafe {
            libc::epoll_pwait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                room,
                timeout.map_or(-1, wait_ms),
                mask,
            )
        };
        usize::try_from(count).unwrap_or_else(|_| {
            let error = io::Error::last_os_error();
            assert!(
                error.raw_os_error() == Some(libc::EINTR),
                "epoll_pwait: {error}"
            );
            0
        })
    }
}

/// A set of signals that a thread does not want to see.
pub struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Block every signal in this thread and in those that it starts; returns what was blocked before.
    pub fn block_all() -> Self {
        // SAFETY: all-zero is a valid value of this plain C structure.
        let (mut all, mut before) = unsafe { mem::zeroed::<(libc::sigset_t, libc::sigset_t)>() };
        // SAFETY: both sets are valid, and the operation is one that exists, so neither can fail.
        unsafe {
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        }
        Self(before)
    }

    /// Block one signal more; returns what was blocked before.
    pub fn block(signal: c_int) -> Self {
        // SAFETY: all-zero is a valid value of this plain C structure.
        let (mut one, mut before) = unsafe { mem::zeroed::<(libc::sigset_t, libc::sigset_t)>() };
        // SAFETY: both sets are valid, and signal and operation exist, so none of these can fail.
        unsafe {
            libc::sigemptyset(&raw mut one);
            libc::sigaddset(&raw mut one, signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const one, &raw mut before);
        }
        Self(before)
    }

    /// Drop a blocked signal that waits for this thread, if there is one.
    pub fn take(signal: c_int) {
        // SAFETY: all-zero is a valid value of these plain C structures, and null means that nobody
        // wants to know more of the signal.
        unsafe {
            let mut one: libc::sigset_t = mem::zeroed();
            let at_once: libc::timespec = mem::zeroed();
            libc::sigemptyset(&raw mut one);
            libc::sigaddset(&raw mut one, signal);
            libc::sigtimedwait(&raw const one, ptr::null_mut(), &raw const at_once);
        }
    }

    /// Make this the thread's mask again.
    pub fn restore(&self) {
        // SAFETY: the set is valid, and null means that nobody wants the old one.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_wait_is_never_shorter_than_its_timeout() {
        assert_eq!(wait_ms(Duration::from_micros(1)), 1);
        assert_eq!(wait_ms(Duration::from_millis(20)), 20);
        assert_eq!(wait_ms(Duration::from_secs(u64::MAX / 2)), c_int::MAX);
    }

    #[test]
    fn reading_appends_and_tells_the_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        let mut buf = b"ab".to_vec();
        assert_eq!(receive_after(fd, &mut buf, 8), Received::WouldBlock);
        assert_eq!(send(theirs.as_raw_fd(), b"cd"), Sent::Bytes(2));
        assert_eq!(waiting_bytes(fd), 2);
        assert_eq!(receive_after(fd, &mut buf, 8), Received::Bytes(2));
        assert_eq!(buf, b"abcd");
        drop(theirs);
        assert_eq!(receive_after(fd, &mut buf, 8), Received::Eof);
        assert_eq!(send(fd, b"x"), Sent::Gone);
    }

    #[test]
    fn the_peer_of_a_socket_pair_is_this_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        // SAFETY: no memory is involved.
        let ids = unsafe { (libc::getuid(), libc::getgid()) };
        assert_eq!(peer_ids(ours.as_raw_fd()).unwrap(), ids);
        assert!(peer_groups(ours.as_raw_fd()).is_ok());
    }

    #[test]
    fn an_alarm_ends_a_wait_at_the_last_time_that_was_set() {
        let epoll = Epoll::new().unwrap();
        let alarm = Alarm::new().unwrap();
        let flags = libc::EPOLLIN | libc::EPOLLET;
        epoll.add(alarm.fd(), flags, 7).unwrap();
        let mut events = [Event { events: 0, u64: 0 }; 4];
        alarm.set(u64::MAX);
        assert_eq!(epoll.wait(&mut events, Some(Duration::ZERO), None), 0);
        for _ in 0..2 {
            alarm.set(now_ms() + 5);
            assert_eq!(epoll.wait(&mut events, None, None), 1);
            assert_eq!({ events[0].u64 }, 7);
            assert_eq!(epoll.wait(&mut events, Some(Duration::ZERO), None), 0);
        }
        alarm.set(0);
        assert_eq!(epoll.wait(&mut events, None, None), 1);
    }

    #[test]
    fn a_bell_ends_a_wait() {
        let epoll = Epoll::new().unwrap();
        let bell = Bell::new().unwrap();
        epoll.add(bell.fd(), libc::EPOLLIN, 7).unwrap();
        let mut events = [Event { events: 0, u64: 0 }; 4];
        assert_eq!(epoll.wait(&mut events, Some(Duration::ZERO), None), 0);
        bell.ring();
        assert_eq!(epoll.wait(&mut events, None, None), 1);
        assert_eq!({ events[0].u64 }, 7);
    }
}
