//! The edge-mdns crate as a program: `query ADDRESS TYPE` sends one legacy-unicast PTR query from that
//! interface address and prints the first complete answer; `respond ADDRESS TYPE INSTANCE PORT
//! [KEY=VALUE]...` announces once and answers queries in a plain loop around the crate's codec, without probing, delays
//! or suppression, until killed.
//!
//! Lines: `found INSTANCE HOST PORT ADDRESS [KEY=VALUE]...`, separated by tabs.

use std::cell::RefCell;
use std::env;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process;
use std::time::Duration;

use edge_mdns::domain::base::iana::Class;
use edge_mdns::domain::base::{Question, Rtype, Ttl};
use edge_mdns::domain::rdata::AllRecordData;
use edge_mdns::host::{Host, Service, ServiceAnswers};
use edge_mdns::{
    HostAnswersMdnsHandler, HostQuestion, HostQuestions, MdnsError, MdnsHandler, MdnsRequest,
    MdnsResponse, NameSlice, PeerAnswer, PeerAnswers, PeerAnswersMdnsHandler,
};

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["query", address, kind] => query(address.parse()?, kind),
        ["respond", address, kind, instance, port, txt @ ..] => {
            let txt: Vec<(&str, &str)> = txt.iter().filter_map(|t| t.split_once('=')).collect();
            let (service, protocol) = kind.split_once('.').ok_or("TYPE is like _http._tcp")?;
            let port = port.parse()?;
            let service = Service {
                name: instance,
                priority: 0,
                weight: 0,
                service,
                protocol,
                port,
                service_subtypes: &[],
                txt_kvs: &txt,
            };
            respond(address.parse()?, &service)
        }
        _ => Err("usage: query ADDRESS TYPE | respond ADDRESS TYPE INSTANCE PORT [K=V]...".into()),
    }
}

struct Browse<'a>(&'a [&'a str]);

impl HostQuestions for Browse<'_> {
    fn visit<F, E>(&self, mut f: F) -> Result<(), E>
    where
        F: FnMut(HostQuestion) -> Result<(), E>,
        E: From<MdnsError>,
    {
        f(Question::new(NameSlice::new(self.0), Rtype::PTR, Class::IN))
    }
}

#[derive(Default)]
struct Answer(RefCell<Fields>);

#[derive(Default)]
struct Fields {
    instance: Option<String>,
    host: Option<(String, u16)>,
    address: Option<String>,
    txt: Vec<String>,
}

impl PeerAnswers for Answer {
    fn answers<'a, T, A>(&self, answers: T, additional: A) -> Result<(), MdnsError>
    where
        T: IntoIterator<Item = Result<PeerAnswer<'a>, MdnsError>> + Clone + 'a,
        A: IntoIterator<Item = Result<PeerAnswer<'a>, MdnsError>> + Clone + 'a,
    {
        let mut fields = self.0.borrow_mut();
        for record in answers.into_iter().chain(additional) {
            match record?.data() {
                AllRecordData::Ptr(ptr) => {
                    let label = ptr.ptrdname().iter().next();
                    fields.instance = label.map(ToString::to_string);
                }
                AllRecordData::Srv(srv) => {
                    fields.host = Some((srv.target().to_string(), srv.port()));
                }
                AllRecordData::A(a) => fields.address = Some(a.addr().to_string()),
                AllRecordData::Txt(txt) => {
                    fields.txt =
                        txt.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect();
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn query(address: Ipv4Addr, kind: &str) -> Result<(), Box<dyn Error>> {
    let labels: Vec<&str> = kind.split('.').chain(["local"]).collect();
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut buffer = [0; 1500];
    let id = u16::try_from(process::id() & 0xffff)?;
    let length = Browse(&labels).query(id, &mut buffer)?;
    socket.send_to(&buffer[..length], GROUP)?;
    let answer = Answer::default();
    loop {
        let (length, _) = socket.recv_from(&mut buffer)?;
        let data = &buffer[..length];
        let request = MdnsRequest::Request { legacy: false, multicast: false, data };
        let mut nothing = [0; 0];
        PeerAnswersMdnsHandler::new(&answer).handle(request, &mut nothing).ok();
        let fields = answer.0.borrow();
        if let Fields { instance: Some(instance), host: Some(host), address: Some(address), txt } =
            &*fields
        {
            println!("found\t{instance}\t{}\t{}\t{address}\t{}", host.0, host.1, txt.join("\t"));
            return Ok(());
        }
    }
}

fn respond(address: Ipv4Addr, service: &Service<'_>) -> Result<(), Box<dyn Error>> {
    let host =
        Host { hostname: "edge", ipv4: address, ipv6: [0; 16].into(), ttl: Ttl::from_secs(120) };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, GROUP.1))?;
    socket.join_multicast_v4(&GROUP.0, &address)?;
    let mut handler = HostAnswersMdnsHandler::new(ServiceAnswers::new(&host, service));
    let (mut incoming, mut outgoing) = ([0; 1500], [0; 1500]);
    if let MdnsResponse::Reply { data, .. } = handler.handle(MdnsRequest::None, &mut outgoing)? {
        // Sent from the interface's address, so that it leaves by that interface.
        UdpSocket::bind((address, 0))?.send_to(data, GROUP)?;
    }
    println!("published\t{}", service.name);
    loop {
        let (length, remote) = receive(&socket, &mut incoming)?;
        let data = &incoming[..length];
        let legacy = remote.port() != GROUP.1;
        let request = MdnsRequest::Request { legacy, multicast: true, data };
        if let Ok(MdnsResponse::Reply { data: reply, .. }) = handler.handle(request, &mut outgoing)
        {
            // The unicast-response bit of the first question: the top bit of its class.
            let unicast =
                legacy || data.last_chunk::<2>().is_some_and(|class| class[0] & 0x80 != 0);
            let destination = if unicast { remote } else { SocketAddr::from(GROUP) };
            // A full send buffer drops the answer, as the network would.
            socket.send_to(reply, destination).ok();
        }
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            // A port that an answer went to was closed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            other => return other,
        }
    }
}
