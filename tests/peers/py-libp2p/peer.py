"""py-libp2p as a Kademlia node: TCP, Noise, Yamux, ping, identify and kad_dht on `/ipfs/kad/1.0.0`, with a
validator for `/phase` keys that prefers the newest record (it resets a second PUT without one).

Options, commands and lines are those of `rust-libp2p/node/main.rs`; `--no-identify` and `--idle` do not exist,
and `put` and `provide` do not tell who stored. `ping PEER` pings, `protocols PEER` tells what identify told.
"""

import argparse
import json
import sys

import trio
from multiaddr import Multiaddr

from libp2p import new_host
from libp2p.abc import INotifee
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.ping import PingService
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.records.validator import Validator
from libp2p.tools.anyio_service import background_trio_service


def line(**fields):
    print(json.dumps(fields), flush=True)


class NewestByDate(Validator):
    """Takes any value; of several the one whose text dates it last."""

    def validate(self, key, value):
        pass

    def select(self, key, values):
        return max(range(len(values)), key=lambda index: date(values[index]))


def date(value):
    try:
        return json.loads(value).get("last_updated", "")
    except ValueError:
        return ""


class Reporter(INotifee):
    """Tells of connections."""

    async def connected(self, network, conn):
        peer = str(conn.muxed_conn.peer_id)
        line(event="connected", peer=peer, inbound=not conn.muxed_conn.is_initiator)

    async def disconnected(self, network, conn):
        line(event="closed", peer=str(conn.muxed_conn.peer_id), remaining=0, cause=None)

    async def opened_stream(self, network, stream):
        pass

    async def closed_stream(self, network, stream):
        pass

    async def listen(self, network, multiaddr):
        pass

    async def listen_close(self, network, multiaddr):
        pass


class Node:
    """A host, its DHT, and the commands."""

    def __init__(self, host, dht):
        self.host = host
        self.dht = dht

    async def dial(self, address):
        info = info_from_p2p_addr(Multiaddr(address))
        await self.host.connect(info)
        await self.dht.add_peer(info.peer_id)
        return {"peer": str(info.peer_id)}

    async def ping(self, peer):
        micros = await PingService(self.host).ping(ID.from_string(peer))
        return {"micros": micros[0]}

    async def protocols(self, peer):
        return {"found": self.host.get_peerstore().get_protocols(ID.from_string(peer))}

    async def bootstrap(self):
        await self.dht.refresh_routing_table()
        return {}

    async def put(self, key, value):
        await self.dht.put_value(bytes.fromhex(key).decode(), bytes.fromhex(value))
        return {"found": []}

    async def get(self, key):
        value = await self.dht.get_value(bytes.fromhex(key).decode())
        return {"found": [] if value is None else [{"value": value.hex()}]}

    async def provide(self, key):
        if not await self.dht.provide(key):
            raise RuntimeError("no peer took the provider record")
        return {"found": []}

    async def providers(self, key):
        found = await self.dht.find_providers(key)
        return {"found": [str(info.peer_id) for info in found]}

    async def closest(self, key):
        found = await self.dht.peer_routing.find_closest_peers_network(bytes.fromhex(key))
        return {"found": [str(peer) for peer in found]}

    async def peers(self):
        infos = self.dht.routing_table.get_peer_infos()
        return {"peers": {str(i.peer_id): [str(a) for a in i.addrs] for i in infos}}

    async def records(self):
        store = self.dht.value_store
        rows = [(key, store.get(key)) for key in store.get_keys()]
        return {"records": [{"key": k.hex(), "value": r.value.hex()} for k, r in rows if r]}

    async def held(self, key):
        found = self.dht.provider_store.get_providers(bytes.fromhex(key))
        return {
            "providers": [{"peer": str(i.peer_id), "addresses": [str(a) for a in i.addrs]} for i in found]
        }

    async def obey(self, text):
        command, *words = text.split()
        try:
            line(answer=command, **await getattr(self, command)(*words))
        except Exception as error:  # whatever the library raises is the answer
            line(answer=command, error=f"{type(error).__name__}: {error}")


async def main(options):
    host = new_host(key_pair=create_new_key_pair(bytes([options.seed]) * 32))
    host.get_network().register_notifee(Reporter())
    mode = DHTMode.CLIENT if options.client else DHTMode.SERVER
    async with host.run(listen_addrs=[Multiaddr(options.listen)]), trio.open_nursery() as nursery:
        nursery.start_soon(host.get_peerstore().start_cleanup_task, 60)
        dht = KadDHT(host, mode)
        dht.register_validator("phase", NewestByDate())
        node = Node(host, dht)
        async with background_trio_service(dht):
            for address in options.bootstrap:
                await node.dial(address)
            line(event="ready", peer=str(host.get_id()), address=str(host.get_addrs()[0]))
            async for text in trio.wrap_file(sys.stdin):
                nursery.start_soon(node.obey, text)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--bootstrap", action="append", default=[])
    parser.add_argument("--client", action="store_true")
    trio.run(main, parser.parse_args())
