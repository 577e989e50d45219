"""go-libp2p as a Kademlia node: `p2pd` (go-libp2p-daemon) as a DHT server, run and controlled over its Unix
socket by this program, which runs in the environment that the wheel with `p2pd` is installed in.

Options, commands and lines are those of `rust-libp2p/node/main.rs`; `--client`, `--no-identify` and `--idle` do
not exist. The library refuses values under keys other than `/pk` and `/ipns`; keys of `provide` and `providers`
are multihashes (`1220` and 32 octets). `peers` are the connected ones, looked at ten times a second.
"""

import argparse
import asyncio
import contextlib
import hashlib
import ipaddress
import json
import os
import stat
import sys
import sysconfig
import tempfile

IDENTIFY, CONNECT, DHT, LIST_PEERS = 0, 1, 4, 5
FIND_PROVIDERS, GET_CLOSEST_PEERS, GET_VALUE, PUT_VALUE, PROVIDE = 2, 3, 5, 7, 8
TIMEOUT_SECONDS = 20
P2PD = os.path.join(sysconfig.get_path("purelib"), "hivemind/hivemind_cli/p2pd")
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def line(**fields):
    print(json.dumps(fields), flush=True)


# --- octets ---


def varint(number):
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(octets) + bytes([number])


def field(number, value):
    """One protobuf field: a number or octets."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(octets):
    """The fields of a protobuf message: number to its values, in order."""
    found, at = {}, 0

    def take():
        nonlocal at
        number = shift = 0
        while True:
            octet = octets[at]
            at += 1
            number |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                return number

    while at < len(octets):
        tag = take()
        value = take()
        if tag & 7 == 2:
            value, at = octets[at : at + value], at + value
        found.setdefault(tag >> 3, []).append(value)
    return found


def base58(octets):
    number, text = int.from_bytes(octets, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(octets) - len(octets.lstrip(b"\0"))) + text


def base58_octets(text):
    number = 0
    for letter in text:
        number = number * 58 + BASE58.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def address_octets(text):
    """A multiaddr of /ip4 or /ip6 and /tcp, and the peer after /p2p."""
    _, family, host, _, port, _, peer = text.split("/")
    code = {"ip4": b"\x04", "ip6": b"\x29"}[family]
    return base58_octets(peer), code + ipaddress.ip_address(host).packed + b"\x06" + int(port).to_bytes(2, "big")


def address_text(octets):
    family, width = {0x04: ("ip4", 4), 0x29: ("ip6", 16)}[octets[0]]
    host, rest = ipaddress.ip_address(octets[1 : 1 + width]), octets[1 + width :]
    return f"/{family}/{host}/tcp/{int.from_bytes(rest[1:3], 'big')}"


def public_key(seed):
    """The Ed25519 public key of a seed (RFC 8032, 5.1.5)."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def add(one, two):
        (x1, y1), (x2, y2) = one, two
        product = d * x1 * x2 * y1 * y2
        x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, p)
        y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, p)
        return x % p, y % p

    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    scalar = scalar & (2**254 - 8) | 2**254
    point = 0x216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A, 4 * pow(5, -1, p) % p
    result = 0, 1
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return (result[1] | (result[0] & 1) << 255).to_bytes(32, "little")


# --- the daemon ---


class Daemon:
    def __init__(self, socket):
        self.socket = socket

    @contextlib.asynccontextmanager
    async def asked(self, request):
        """Sends a request; yields a function that reads the next message of the answer."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(varint(len(request)) + request)

        async def message():
            length = shift = 0
            while True:
                octet = (await reader.readexactly(1))[0]
                length |= (octet & 0x7F) << shift
                shift += 7
                if octet < 0x80:
                    return fields(await reader.readexactly(length))

        try:
            yield message
        finally:
            writer.close()

    async def ask(self, request):
        async with self.asked(request) as message:
            return checked(await message())

    async def identify(self, process):
        """Its peer id and addresses, once it listens."""
        while True:
            try:
                return fields((await self.ask(field(1, IDENTIFY)))[4][0])
            except OSError:
                if process.returncode is not None:
                    raise
                await asyncio.sleep(0.02)

    async def dht(self, kind, values=0, **octets):
        """A DHT request; its one answer, or as many as there are up to `values`."""
        numbers = {"cid": 3, "key": 4, "value": 5}
        inner = field(1, kind) + b"".join(field(numbers[name], o) for name, o in octets.items())
        inner += (field(6, values) if values else b"") + field(7, TIMEOUT_SECONDS)
        answers = []
        async with self.asked(field(1, DHT) + field(5, inner)) as message:
            answer = fields(checked(await message()).get(5, [b""])[0])
            if answer.get(1) != [0]:
                return [answer]
            # Between BEGIN and END each message is the answer alone.
            while (answer := await message()).get(1) != [2]:
                answers.append(answer)
        return answers

    # The commands.

    async def dial(self, address):
        peer, octets = address_octets(address)
        inner = field(1, peer) + field(2, octets) + field(3, TIMEOUT_SECONDS)
        await self.ask(field(1, CONNECT) + field(2, inner))
        return {"peer": base58(peer)}

    async def put(self, key, value):
        await self.dht(PUT_VALUE, key=bytes.fromhex(key), value=bytes.fromhex(value))
        return {"found": []}

    async def get(self, key):
        [answer] = await self.dht(GET_VALUE, key=bytes.fromhex(key))
        return {"found": [{"value": value.hex()} for value in answer.get(3, [])]}

    async def provide(self, key):
        await self.dht(PROVIDE, cid=cid(key))
        return {"found": []}

    async def providers(self, key):
        answers = await self.dht(FIND_PROVIDERS, values=20, cid=cid(key))
        return {"found": [base58(fields(a[2][0])[1][0]) for a in answers]}

    async def closest(self, key):
        answers = await self.dht(GET_CLOSEST_PEERS, key=bytes.fromhex(key))
        return {"found": [base58(a[3][0]) for a in answers]}

    async def peers(self):
        infos = (await self.ask(field(1, LIST_PEERS))).get(6, [])
        return {"peers": {base58(fields(info)[1][0]): [] for info in infos}}

    async def obey(self, text):
        command, *words = text.split()
        try:
            line(answer=command, **await getattr(self, command)(*words))
        except Exception as error:
            line(answer=command, error=f"{type(error).__name__}: {error}")

    async def watch(self):
        """Tells of connections that come and go."""
        before = set()
        while True:
            connected = set((await self.peers())["peers"])
            for peer in connected - before:
                line(event="connected", peer=peer)
            for peer in before - connected:
                line(event="closed", peer=peer, remaining=0)
            before = connected
            await asyncio.sleep(0.1)


def checked(response):
    if response.get(1) != [0]:
        raise RuntimeError(fields(response[2][0])[1][0].decode())
    return response


def cid(multihash):
    """CIDv1 of raw octets."""
    return b"\x01\x55" + bytes.fromhex(multihash)


async def run(options, directory):
    seed = bytes([options.seed]) * 32
    identity = os.path.join(directory, "key")
    with open(identity, "wb") as file:
        file.write(field(1, 1) + field(2, seed + public_key(seed)))
    socket = os.path.join(directory, "control")
    os.chmod(P2PD, os.stat(P2PD).st_mode | stat.S_IXUSR)
    arguments = ["-q", "-dhtServer", "-id", identity, "-hostAddrs", options.listen, "-listen", f"/unix{socket}"]
    streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": sys.stderr}
    process = await asyncio.create_subprocess_exec(P2PD, *arguments, **streams)
    try:
        daemon = Daemon(socket)
        told = await daemon.identify(process)
        for address in options.bootstrap:
            await daemon.dial(address)
        peer = base58(told[1][0])
        line(event="ready", peer=peer, address=f"{address_text(told[2][0])}/p2p/{peer}")
        watching = asyncio.create_task(daemon.watch())
        obeying = set()
        async for text in await lines_of_stdin():
            obeying.add(asyncio.create_task(daemon.obey(text.decode())))
        watching.cancel()
    finally:
        process.terminate()
        await process.wait()


async def lines_of_stdin():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--bootstrap", action="append", default=[])
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(parser.parse_args(), directory))
