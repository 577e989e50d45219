//! Every bound of the machines, with its reason. A peer can make no collection grow past these.

/// Octets of a datagram that are looked at: RFC 6762 §17 allows 9,000 with IP and UDP headers.
pub const DATAGRAM_MAX: usize = 9000;

/// Octets of a datagram that is sent: one Ethernet frame (1,500) less IPv4 and UDP headers.
pub const TRANSMIT_MAX: usize = 1472;

/// Addresses of one interface that are used.
pub const NETWORKS_PER_LINK: usize = 8;

/// Links (interface and family) that one machine serves.
pub const LINKS: usize = 16;

/// RFC 1035 §2.3.4: octets of a name on the wire, without the root octet: RFC 6762 Appendix C.
pub const NAME_MAX: usize = 255;

/// RFC 1035 §2.3.4: octets of a label.
pub const LABEL_MAX: usize = 63;

/// Compression pointers followed in one name; each must point lower than the one before.
pub const POINTER_HOPS: usize = 16;

/// Records looked at in one message; the rest is counted and ignored.
pub const RECORDS_PER_MESSAGE: usize = 64;

/// Questions looked at in one message.
pub const QUESTIONS_PER_MESSAGE: usize = 32;

/// Octets of a URL: an advert with every member at its cap stays within [`ADVERT_JSON_EMIT_MAX`].
pub const URL_MAX: usize = 192;

/// Octets of an advert as JSON that are accepted; room for members that later versions add.
pub const ADVERT_JSON_MAX: usize = 1024;

/// Octets of an advert as JSON that are emitted.
pub const ADVERT_JSON_EMIT_MAX: usize = 600;

/// Octets of an advert's TXT record data: every member at its cap makes 606.
pub const ADVERT_TXT_MAX: usize = 640;

/// Octets of a manifest document.
pub const MANIFEST_MAX: usize = 64 * 1024;

/// Octets of the signed part of a manifest.
pub const MANIFEST_INNER_MAX: usize = 40 * 1024;

/// Octets of the buffer a manifest is decoded into: the signed part and the head of what is signed.
pub const MANIFEST_BUFFER: usize = MANIFEST_INNER_MAX + 64;

/// Octets of the buffer a document is made in: the document and the base64 text it is made from.
pub const MANIFEST_WORK: usize = MANIFEST_MAX + MANIFEST_INNER_MAX.div_ceil(3) * 4;

/// Octets of a kernel: 128 MiB.
pub const KERNEL_MAX: u64 = 128 << 20;

/// Octets of an initramfs: 512 MiB.
pub const INITRAMFS_MAX: u64 = 512 << 20;

/// Octets of a root file system: what every JSON reader keeps exact.
pub const ROOTFS_MAX: u64 = (1 << 53) - 1;

/// Octets of a device tree: 1 MiB.
pub const DTB_MAX: u64 = 1 << 20;

/// Octets of the path of a device tree below `dtbs/`.
pub const DTB_NAME_MAX: usize = 128;

/// Octets of a kernel command line: Linux's `COMMAND_LINE_SIZE` on arm64 and x86.
pub const CMDLINE_MAX: usize = 2048;

/// Artifacts of one manifest.
pub const ARTIFACTS_PER_MANIFEST: usize = 16;

/// Signatures of one manifest.
pub const SIGNATURES_PER_MANIFEST: usize = 8;

/// URLs of one artifact.
pub const URLS_PER_ARTIFACT: usize = 4;

/// Lines of a trust file.
pub const TRUST_LINES: usize = 64;

/// Octets of one line of a trust file.
pub const TRUST_LINE_MAX: usize = 256;

/// Octets of a trust file: every line at its longest, with the end of the line.
pub const TRUST_FILE_MAX: usize = TRUST_LINES * (TRUST_LINE_MAX + 2);

/// Keys of a trust store.
pub const TRUST_KEYS: usize = 32;

/// Channels that a trust store names.
pub const TRUST_CHANNELS: usize = 16;

/// Fallback URLs of a trust store.
pub const TRUST_FALLBACKS: usize = 4;

/// Signers whose latest text a client remembers in one discovery.
pub const SIGNERS: usize = 24;

/// Candidates kept by a client in one discovery.
pub const CANDIDATES: usize = 16;

/// Candidates kept from one source address.
pub const CANDIDATES_PER_SOURCE: usize = 2;

/// Ed25519 verifications in one discovery: each costs 1 to 2 ms on a small core.
pub const VERIFICATIONS: usize = 64;

/// Interfaces whose records are kept apart: each may have a link of either family.
pub const INTERFACES: usize = LINKS / 2;

/// Queriers that are owed an answer later: past them a query is answered by multicast, without waiting for
/// more known answers.
pub const PENDING_QUERIES: usize = 64;

/// RFC 6762 §7.2: packets of known answers that one querier is waited for.
pub const KNOWN_ANSWER_PACKETS: u8 = 16;

/// Unicast responses that are kept for the next query with the same octets.
pub const REPLIES_KEPT: usize = 8;

/// Service instances a querier remembers, on all interfaces together.
pub const INSTANCES: usize = 22;

/// Service instances a querier remembers from one source address.
pub const INSTANCES_PER_SOURCE: usize = 11;

/// Hosts under `local` whose addresses a querier keeps.
pub const HOSTS: usize = 4;

/// Addresses a querier keeps of one host.
pub const ADDRESSES_PER_HOST: usize = 4;

/// Octets of a host name that a querier resolves; longer ones are reached by the address their advert came from.
pub const HOST_NAME_MAX: usize = 128;

/// One-shot queries that may be answered at one time.
pub const ONE_SHOTS: usize = 48;

/// Follow-up questions per second: a flood of instance names makes no flood of questions.
pub const FOLLOW_UPS_PER_SECOND: u8 = 32;

/// Seconds a record is kept at most, whatever its TTL says; it is refreshed before.
pub const CACHE_TTL_MAX: u32 = 24 * 60 * 60;

/// Verifications for adverts from one source address in one discovery.
pub const VERIFICATIONS_PER_SOURCE: u8 = 16;

/// Source addresses whose verifications are counted by themselves.
pub const VERIFICATION_SOURCES: usize = 16;

/// Octets of a multistream-select line, its newline counted; the longest protocol id in use is 48 octets long.
pub const MULTISTREAM_LINE_MAX: usize = 256;

/// TCP addresses kept of one peer.
pub const ADDRESSES_PER_PEER: usize = 4;

/// Peers that one lookup contacts: three times k and a few that do not answer.
pub const PEERS_PER_LOOKUP: usize = 64;

/// Peers of either list of one Kademlia message that are looked at: k is 20, and some name themselves too.
pub const PEERS_PER_RESPONSE: usize = 32;

/// Octets of the value of a Kademlia record that are looked at: an advert with room for members that later
/// versions add.
pub const RECORD_VALUE_MAX: usize = ADVERT_JSON_MAX;

/// Octets of the key and of the publisher of a Kademlia record that are looked at: a key of ours with a peer, the
/// multihash of a peer, and some more.
pub const RECORD_NAMES_MAX: usize = 192;

/// Octets of the receive buffer that takes every Noise message: 65,535 and the two of its length.
pub const RX_FULL: usize = 65_537;

/// Octets of the receive buffer that takes every message of rust-libp2p (16,412 at most) and all that other
/// implementations send for records and peers.
pub const RX_SMALL: usize = 16_448;

/// Octets of a connection's output buffer where nothing is served but ping and identify.
pub const TX_CLIENT: usize = 1024;

/// Octets of a connection's output buffer where Kademlia is served: an answer takes half of it, and holds a record
/// and 20 peers with 4 addresses each.
pub const TX_SERVER: usize = 8192;

/// Streams of one connection.
pub const STREAMS_PER_CONNECTION: usize = 8;

/// Streams of one connection that one side has opened: the other side always gets some.
pub const STREAMS_PER_SIDE: usize = 6;

/// Pings of one connection that wait to be answered.
pub const YAMUX_PONGS: usize = 4;

/// Streams of one connection over the limit that wait to be reset.
pub const YAMUX_REFUSALS: usize = 16;

/// Protocols that are refused on one connection before it ends.
pub const CONNECTION_PROPOSALS: u8 = 8;

/// Refusals on one stream that wait to be sent.
pub const STREAM_PROPOSALS: u8 = 4;

/// Octets of a request, or of an identify message, that arrives in pieces or waits: a record at its caps with
/// what py-libp2p adds to it.
pub const KAD_MESSAGE_MAX: usize = 1408;

/// Octets of a request or an identify message: what rust-libp2p takes.
pub const REQUEST_MAX: u32 = 16 * 1024;

/// Octets of a response: the largest that js-, go- and py-libp2p send. It is not kept, only read through.
pub const KAD_RESPONSE_MAX: u32 = 4 << 20;

/// Records that a node stores for others.
pub const RECORDS: usize = 1024;

/// Octets of the values of all records that a node stores: 1 MiB.
pub const RECORDS_OCTETS: usize = 1 << 20;

/// Signers whose records a node stores under one key.
pub const SIGNERS_PER_KEY: usize = 8;

/// Keys that one peer may have a node store.
pub const KEYS_PER_SOURCE: usize = 64;

/// Keys that the peers of one IP prefix may have a node store.
pub const KEYS_PER_GROUP: usize = 32;

/// Seconds that a node keeps a record, however long it is good for: its publisher is expected back before.
pub const RECORD_LIFETIME_MAX: u32 = 2 * 60 * 60;

/// Records that one peer may put in a second; as many at once.
pub const PUTS_PER_SECOND: u8 = 10;

/// Records that the peers of one IP prefix may put in a second; as many at once. A fleet behind one address
/// publishes one after the other.
pub const PUTS_PER_SECOND_GROUP: u8 = 40;

/// Peers, and IP prefixes, whose rate of puts is counted by itself.
pub const PUT_SOURCES: usize = 32;

/// libp2p `specs/kad-dht`: providers kept of one key: k.
pub const PROVIDERS_PER_KEY: usize = 20;

/// Providers of one IP prefix kept of one key.
pub const PROVIDERS_PER_GROUP: usize = 3;

/// libp2p `specs/kad-dht#content-provider-advertisement-and-discovery`: seconds that a provider record is kept.
pub const PROVIDER_LIFETIME: u64 = 48 * 60 * 60;

/// Octets of a key that provider records are kept under: what go-libp2p takes.
pub const PROVIDER_KEY_MAX: usize = 80;

/// Peers that are dialled at one time.
pub const DIALS: usize = 8;

/// Dials in a second to one address and port: js-libp2p cuts off who connects more than five times.
pub const DIALS_PER_LISTENER: usize = 4;

/// Dials in a second to one IP address.
pub const DIALS_PER_HOST: usize = 16;

/// Dials that are remembered for the limits above.
pub const DIALS_REMEMBERED: usize = 16;

/// Requests to one peer that are under way or wait.
pub const TAGS_PER_PEER: usize = 8;

/// Connections of others from one IPv4 address, or one IPv6 network of 64 bits.
pub const INBOUND_PER_IP: usize = 16;

/// Connections that wait for the driver to close them: what one input can end, every attempt of every dial and as
/// many idle connections that give way.
pub const CLOSING: usize = 44;

/// Peers that a client dials at one time.
pub const DIALS_CLIENT: usize = 5;

/// Bootstrap peers of a client.
pub const BOOTSTRAPS: usize = 8;

/// Octets that are kept of what the user wrote to name a bootstrap peer.
pub const BOOTSTRAP_TEXT_MAX: usize = 56;

/// Peers that a client turns to in one search.
pub const PEERS_PER_SEARCH: usize = 64;

/// Records that a client reads in one search.
pub const RECORDS_PER_SEARCH: u16 = 64;

/// Providers that a client asks for their own record in one search.
pub const DIRECT_DIALS: usize = 8;

/// Pinned providers whose sub-keys a client looks up in one search.
pub const PINNED_LOOKUPS: usize = 4;

/// Requests of a search that are under way at one time.
pub const ASKS: usize = 16;

/// Addresses of all interfaces that are looked at to tell what is on a link.
pub const NETWORKS: usize = 32;

/// Messages of a client's connection that are half received, or wait to be answered, at one time.
pub const ASSEMBLERS_CLIENT: usize = 2;

/// Messages of a DHT node's connection that are half received, or wait to be answered, at one time.
pub const ASSEMBLERS_SERVER: usize = 4;

/// Things a DHT node is at, at one time: each is a lookup.
pub const DHT_JOBS: usize = 3;

/// Those of them that may be publications.
pub const ADVERT_JOBS: usize = 2;

/// Candidates of a DHT node's lookup: k for each path and as many that may fail.
pub const LOOKUP_CANDIDATES: usize = 96;

/// Peers of the routing table that a lookup begins with.
pub const LOOKUP_SEEDS: usize = 20;

/// Peers that are given a record at one time.
pub const PUSHES: usize = 6;

/// Requests of a DHT node that are under way at one time.
pub const SERVER_CALLS: usize = 48;

/// Holders of an advert that are asked for it in one audit.
pub const AUDITED: usize = 3;

/// Peers that wait to be probed or repaired.
pub const PROBES: usize = 8;

/// Peers that connected to us and are dialled at one time to see whether they can be: strangers must not keep us from
/// our own dials.
pub const DIAL_BACKS: usize = 2;

/// What a DHT node told and nobody has taken yet.
pub const DHT_EVENTS: usize = 32;

/// Signers that a DHT node prefers in its store.
pub const TRUSTED: usize = 16;

/// Addresses of a host that are looked at to tell where it can be reached.
pub const HOST_ADDRESSES: usize = 32;
