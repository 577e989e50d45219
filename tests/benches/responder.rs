//! What the responder costs by itself: nanoseconds from a query in to its response out, without system calls.
//! `cargo bench -p phase-tests --bench responder`
#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures with the clock")]

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::slice::from_ref;
use std::time::{Duration, Instant as Clock};

use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{Datagram, Input, Machine, Output, Port};
use phase_core::provider::Provider;
use phase_core::wire::dns::Type;
use phase_tests::message::{Data, Packet, Rr};
use phase_tests::scripted::{HOST, INSTANCE, LAN, SUBTYPE, Script, TYPE, image, one_shot, peer};

/// Queries in one measurement, and measurements of which the quickest counts: short ones, many, so that
/// some are not interrupted on a shared machine.
const ROUNDS: u32 = 640;
const MEASUREMENTS: u32 = 1000;

fn main() {
    println!("size_of Provider<4>  {:>8} octets", size_of::<Provider<4>>());
    println!("size_of Provider<32> {:>8} octets", size_of::<Provider<32>>());
    let mut script = Script::<4>::settled(1);
    let mut crowd = Script::<32>::settled(1);
    (0..31).for_each(|n| crowd.publish(image(&format!("c{n}"), "arm64")));
    crowd.advance(Duration::from_secs(12));

    let subtype = with_edns0(&Packet::query().ask(SUBTYPE, Type::Ptr));
    let any = Packet::query().ask(INSTANCE, Type::Any).encode();
    measure(&mut script, "legacy PTR subtype, repeated, 4 images", one_shot(), from_ref(&subtype));
    measure(&mut crowd, "legacy PTR subtype, repeated, 32 images", one_shot(), from_ref(&subtype));
    let mut varied = Vec::new();
    for n in 0..16_u8 {
        let mut octets = subtype.clone();
        // Another case of one letter makes it another query, which is not recognised.
        octets[14] = if n % 2 == 0 { b'a' } else { b'A' };
        octets[15] = if n / 2 % 2 == 0 { b'r' } else { b'R' };
        octets[16] = if n / 4 % 2 == 0 { b'm' } else { b'M' };
        octets[20] = if n / 8 % 2 == 0 { b's' } else { b'S' };
        varied.push(octets);
    }
    measure(&mut script, "legacy PTR subtype, new, 4 images", one_shot(), &varied);
    measure(&mut crowd, "legacy PTR subtype, new, 32 images", one_shot(), &varied);
    measure(&mut script, "legacy ANY instance, repeated", one_shot(), &[any]);
    let qu = Packet::query().ask(INSTANCE, Type::Srv).unicast().encode();
    measure(&mut script, "QU SRV", peer(), &[qu]);
    let foreign = Packet::query().ask("rival.local", Type::A).encode();
    measure(&mut script, "QM of others", peer(), &[foreign]);
    let qm = Packet::query().ask(TYPE, Type::Ptr).ask(HOST, Type::A).encode();
    measure(&mut script, "QM of ours, rate limited", peer(), &[qm]);
    let response = Packet::response()
        .answer(Rr::new("_http._tcp.local", Data::Ptr("printer._http._tcp.local".into())))
        .additional(Rr::new("printer.local", Data::A([192, 0, 2, 50].into())))
        .encode();
    measure(&mut script, "response of others", peer(), &[response]);
}

/// As a client sends it: with an OPT record, so that the whole response fits.
fn with_edns0(packet: &Packet) -> Vec<u8> {
    let mut octets = packet.encode();
    octets[11] += 1;
    octets.extend([0, 0, 41, 0x05, 0xA0, 0, 0, 0, 0, 0, 0]);
    octets
}

fn measure<const N: usize>(
    script: &mut Script<N>,
    what: &str,
    remote: SocketAddr,
    queries: &[Vec<u8>],
) {
    let mut buffer = [0; TRANSMIT_MAX];
    let mut best = f64::INFINITY;
    let (mut sent, mut octets) = (0_u64, 0);
    for _ in 0..MEASUREMENTS {
        let start = Clock::now();
        for (_, query) in (0..ROUNDS).zip(queries.iter().cycle()) {
            let datagram = Datagram {
                link: LAN,
                port: Port::Mdns,
                remote,
                destination: IpAddr::from([224, 0, 0, 251]),
                payload: black_box(query),
            };
            script.provider.handle_input(script.now, Input::Datagram(datagram));
            while let Output::Transmit(transmit) = script.provider.poll_output(&mut buffer) {
                sent += 1;
                octets = transmit.len;
                black_box(&buffer);
            }
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    let each = if sent >= u64::from(ROUNDS) {
        format!("{octets} octets")
    } else {
        "no response each".into()
    };
    println!("{what:<42} {best:>8.0} ns  {each}");
}
