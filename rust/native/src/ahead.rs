//! Connections that have an event: all of them are read before the first is served.
//!
//! Between two reads an application runs, and leaves nothing of the kernel's code for receiving in the
//! processor's caches. In a row, only the first read of a batch has to fetch it.

use std::ops::Range;

use crate::connection::Phase;
use crate::drive::{BUFFER_BYTES, Driver, Scratch};
use crate::kernel::{self, Received};
use crate::slots::Claim;

/// With less room than this a connection is read when its turn comes: it may have a body to be read.
const ROOM_BYTES: usize = 32 * 1024;

/// The connections whose turns are to come, in their order.
pub struct ReadAhead<'a> {
    buf: Box<[u8]>,
    used: usize,
    waiting: Vec<Waiting<'a>>,
}

struct Waiting<'a> {
    claim: Claim<'a>,
    events: u32,
    read: Option<(Received, Range<usize>)>,
}

impl<'a> ReadAhead<'a> {
    pub fn new() -> Self {
        Self {
            buf: vec![0; BUFFER_BYTES].into(),
            used: 0,
            waiting: Vec::new(),
        }
    }

    /// Let a connection wait for its turn, and read it if it waits for a request.
    pub fn add(&mut self, mut claim: Claim<'a>, events: u32) {
        let is_idle = matches!(claim.connection().phase, Phase::Idle);
        let room = self.used..self.buf.len();
        let read = (is_idle && room.len() >= ROOM_BYTES).then(|| {
            let received = kernel::receive(claim.fd(), &mut self.buf[room.clone()]);
            if let Received::Bytes(count) = received {
                self.used += count;
            }
            (received, room)
        });
        self.waiting.push(Waiting {
            claim,
            events,
            read,
        });
    }

    /// Give all their turns.
    pub fn serve(&mut self, driver: &mut Driver<'a, '_>, scratch: &mut Scratch) {
        for Waiting {
            claim,
            events,
            read,
        } in self.waiting.drain(..)
        {
            match read {
                Some((received, room)) => {
                    let buf = &self.buf[room];
                    driver.drive_read(scratch, claim, events, received, buf);
                }
                None => driver.drive(scratch, claim, events),
            }
        }
        self.used = 0;
    }
}
