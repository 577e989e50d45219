// js-libp2p as a Kademlia node: TCP, Noise, Yamux, ping, identify and kad-dht on `/ipfs/kad/1.0.0`, with a
// validator and a selector for `/phase` keys (it refuses other keys without one) and private addresses kept.
//
// Options, commands and lines are those of `rust-libp2p/node/main.rs`; `--no-identify` and `--idle` do not exist,
// keys of `provide` and `providers` are multihashes (`1220` and 32 octets), there is no `held`, and `ping PEER` pings.
import "./polyfill.mjs";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { identify } from "@libp2p/identify";
import { kadDHT, passthroughMapper } from "@libp2p/kad-dht";
import { peerIdFromString } from "@libp2p/peer-id";
import { ping } from "@libp2p/ping";
import { Libp2pRecord } from "@libp2p/record";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { MemoryDatastore } from "datastore-core";
import { createLibp2p } from "libp2p";
import { CID } from "multiformats/cid";
import * as raw from "multiformats/codecs/raw";
import * as Digest from "multiformats/hashes/digest";

const { values: options } = parseArgs({
  options: {
    seed: { type: "string" },
    listen: { type: "string" },
    bootstrap: { type: "string", multiple: true, default: [] },
    client: { type: "boolean", default: false },
  },
});
const line = (value) => console.log(JSON.stringify(value));
const octets = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const cid = (multihash) => CID.createV1(raw.code, Digest.decode(octets(multihash)));

// The newest by its date, as text; a record without a date is the oldest.
const date = (value) => {
  try {
    return JSON.parse(Buffer.from(value).toString()).last_updated ?? "";
  } catch {
    return "";
  }
};
const newest = (_key, records) => {
  const dates = records.map(date);
  return dates.indexOf(dates.toSorted().at(-1));
};

const datastore = new MemoryDatastore();
const node = await createLibp2p({
  privateKey: await generateKeyPairFromSeed("Ed25519", new Uint8Array(32).fill(Number(options.seed))),
  addresses: { listen: [options.listen] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  datastore,
  services: {
    identify: identify(),
    ping: ping(),
    dht: kadDHT({
      protocol: "/ipfs/kad/1.0.0",
      clientMode: options.client,
      validators: { phase: async () => {} },
      selectors: { phase: newest },
      peerInfoMapper: passthroughMapper,
      allowQueryWithZeroPeers: true,
    }),
  },
});
const dht = node.services.dht;

node.addEventListener("connection:open", ({ detail }) =>
  line({
    event: "connected",
    peer: detail.remotePeer.toString(),
    inbound: detail.direction === "inbound",
    address: detail.remoteAddr.toString(),
  }),
);
node.addEventListener("connection:close", ({ detail }) =>
  line({
    event: "closed",
    peer: detail.remotePeer.toString(),
    remaining: node.getConnections(detail.remotePeer).length,
    cause: detail.timeline.aborted === undefined ? null : "aborted",
  }),
);
node.addEventListener("peer:identify", ({ detail }) =>
  line({
    event: "identified",
    peer: detail.peerId.toString(),
    agent: detail.agentVersion,
    protocol: detail.protocolVersion,
    protocols: detail.protocols,
    addresses: detail.listenAddrs.map(String),
    observed: detail.observedAddr?.toString(),
  }),
);

// Everything of the wanted kind that a query told.
const gather = async (query, pick) => {
  const found = [];
  for await (const event of query) found.push(...pick(event));
  return { found };
};
const stored = async (kind) => {
  const rows = [];
  for await (const row of datastore.query({ prefix: `/dht/${kind}` })) rows.push(row);
  return rows;
};

const commands = {
  dial: async (address) => ({ peer: (await node.dial(multiaddr(address))).remotePeer.toString() }),
  bootstrap: async () => (await dht.refreshRoutingTable(), {}),
  put: (key, value) =>
    gather(dht.put(octets(key), octets(value)), (event) =>
      event.name === "PEER_RESPONSE" && event.messageName === "PUT_VALUE" ? [event.from.toString()] : [],
    ),
  get: (key) =>
    gather(dht.get(octets(key)), (event) =>
      event.name === "VALUE" ? [{ value: hex(event.value), from: event.from.toString() }] : [],
    ),
  provide: (key) =>
    gather(dht.provide(cid(key)), (event) =>
      event.name === "PEER_RESPONSE" && event.messageName === "ADD_PROVIDER" ? [event.from.toString()] : [],
    ),
  providers: (key) =>
    gather(dht.findProviders(cid(key)), (event) =>
      event.name === "PROVIDER" ? event.providers.map((provider) => provider.id.toString()) : [],
    ),
  closest: (key) =>
    gather(dht.getClosestPeers(octets(key)), (event) =>
      event.name === "FINAL_PEER" ? [event.peer.id.toString()] : [],
    ),
  ping: async (peer) => {
    // One ping at a time is allowed, and the library pings by itself.
    for (let tries = 1; ; tries++) {
      try {
        return { micros: 1000 * (await node.services.ping.ping(peerIdFromString(peer))) };
      } catch (error) {
        if (error.name !== "TooManyOutboundProtocolStreamsError" || tries === 20) throw error;
        await setTimeout(200);
      }
    }
  },
  peers: async () => ({
    peers: Object.fromEntries([...dht.routingTable.kb.toIterable()].map(({ peerId }) => [peerId.toString(), []])),
  }),
  records: async () => ({
    records: (await stored("record"))
      .map(({ value }) => Libp2pRecord.deserialize(value))
      .map(({ key, value }) => ({ key: hex(key), value: hex(value) })),
  }),
};

for (const address of options.bootstrap) await node.dial(multiaddr(address));
const address = node.getMultiaddrs()[0];
line({ event: "ready", peer: node.peerId.toString(), address: address?.toString() });

createInterface({ input: process.stdin })
  .on("line", async (text) => {
    const [command, ...words] = text.split(" ");
    try {
      line({ answer: command, ...(await commands[command](...words)) });
    } catch (error) {
      line({ answer: command, error: `${error.name}: ${error.message}` });
    }
  })
  .on("close", () => process.exit(0));
