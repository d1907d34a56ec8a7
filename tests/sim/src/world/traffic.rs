//! What is on its way: probes and echoes between kernels, datagrams between sockets.

use std::net::SocketAddr;

use detector_common::check::Answer;
use detector_common::packet::{Packet, kind};

use super::{Event, World, place};
use crate::host::{Arrival, address, end_of};
use crate::network::End;
use crate::process::Process;

pub(super) struct Flight {
    from: End,
    to: End,
    /// When the question left: what the oracle needs to know.
    asked: u64,
    packet: Packet,
}

pub(super) struct Letter {
    from: End,
    to: End,
    bytes: Vec<u8>,
}

impl<P: Process> World<P> {
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        let to = match arrival {
            Arrival::Packet(slot) => {
                let flight = self.flights.get(slot);
                if flight.packet.kind() == kind::ECHO {
                    let (observer, subject) = (flight.to.host, flight.from.host);
                    self.oracle
                        .echo_arrived(observer, subject, flight.asked, self.now);
                }
                flight.to
            }
            Arrival::Datagram(slot) => self.letters.get(slot).to,
        };
        let host = &mut self.hosts[to.host as usize];
        if host.receives(self.now) {
            match arrival {
                Arrival::Packet(slot) => self.respond(slot),
                Arrival::Datagram(slot) => self.deliver(slot),
            }
        } else if !host.on || !host.put_aside(arrival) {
            self.forget(arrival);
        }
    }

    fn forget(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Packet(slot) => drop(self.flights.take(slot)),
            Arrival::Datagram(slot) => drop(self.letters.take(slot)),
        }
    }

    fn respond(&mut self, slot: u32) {
        let mut flight = self.flights.take(slot);
        let host = &mut self.hosts[flight.to.host as usize];
        let local = host.clock.at(self.now);
        if let Ok(Answer::Echo) = host.kernel.receive(&mut flight.packet, local.0) {
            let (from, to) = (flight.to, flight.from);
            self.send_packet(Flight { from, to, ..flight });
        }
    }

    fn deliver(&mut self, slot: u32) {
        let letter = self.letters.take(slot);
        let end = letter.to;
        let local = self.hosts[end.host as usize].clock.at(self.now);
        let Some(running) = &mut self.processes[place(end)] else {
            return;
        };
        if running.stalled.contains(&self.now) {
            running.enqueue(address(letter.from), letter.bytes);
            return;
        }
        running
            .machine
            .handle_datagram(address(letter.from), &letter.bytes, local);
        self.settle(end);
    }

    pub(super) fn send_probe(&mut self, from: End, to: SocketAddr, packet: Packet) {
        let Some(to) = self.known(to) else {
            return;
        };
        self.oracle.probe_sent(from.host, to.host, self.now);
        self.send_packet(Flight {
            from,
            to,
            asked: self.now,
            packet,
        });
    }

    fn send_packet(&mut self, flight: Flight) {
        if let Some(arrival) = self.network.carry(flight.from, flight.to, self.now) {
            let slot = self.flights.put(flight);
            self.queue.push(arrival, Event::Arrive(Arrival::Packet(slot)));
        }
    }

    pub(super) fn send_datagram(&mut self, from: End, to: SocketAddr, bytes: Vec<u8>) {
        let Some(to) = self.known(to) else {
            return;
        };
        if let Some(arrival) = self.network.carry(from, to, self.now) {
            let slot = self.letters.put(Letter { from, to, bytes });
            self.queue.push(arrival, Event::Arrive(Arrival::Datagram(slot)));
        }
    }

    fn known(&self, to: SocketAddr) -> Option<End> {
        end_of(to).filter(|end| end.host < self.hosts())
    }
}
