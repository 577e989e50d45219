"""python-zeroconf as a program: `publish TYPE INSTANCE PORT [KEY=VALUE]...` until SIGTERM, then goodbye;
`browse TYPE` prints one line per event until killed; `serve TYPE` publishes and withdraws as the lines of its
standard input say: `publish INSTANCE PORT SUBTYPE [KEY=VALUE]...` (also to change a TXT record; the library
has no subtypes), `withdraw INSTANCE`; goodbyes at the end of the input.

Lines: `published INSTANCE`, `found INSTANCE HOST PORT ADDRESS,... [KEY=VALUE]...`, `lost INSTANCE`;
fields are separated by tabs. `ADDRESS` of the publisher is taken from the environment variable PEER_ADDRESS.
"""

import os
import signal
import sys

from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf


def line(*fields):
    print("\t".join(str(field) for field in fields), flush=True)


def service(kind, instance, port, txt):
    return ServiceInfo(
        f"{kind}.local.",
        f"{instance}.{kind}.local.",
        port=int(port),
        properties=dict(pair.split("=", 1) for pair in txt),
        server="zeroconf.local.",
        parsed_addresses=os.environ["PEER_ADDRESS"].split(","),
    )


def publish(kind, instance, port, *txt):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    daemon = Zeroconf(ip_version=IPVersion.All)
    info = service(kind, instance, port, txt)
    daemon.register_service(info)
    line("published", instance)
    signal.sigwait({signal.SIGTERM})
    daemon.unregister_service(info)
    daemon.close()


class Listener(ServiceListener):
    def add_service(self, zc, type_, name):
        info = zc.get_service_info(type_, name)
        if info is None:
            return
        txt = [
            f"{key.decode()}={'' if value is None else value.decode(errors='replace')}"
            for key, value in info.properties.items()
        ]
        addresses = ",".join(sorted(info.parsed_addresses()))
        line("found", name.split(".")[0], info.server, info.port, addresses, *txt)

    def update_service(self, zc, type_, name):
        self.add_service(zc, type_, name)

    def remove_service(self, zc, type_, name):
        line("lost", name.split(".")[0])


def browse(kind):
    daemon = Zeroconf(ip_version=IPVersion.All)
    ServiceBrowser(daemon, f"{kind}.local.", Listener())
    signal.pause()


def serve(kind):
    daemon = Zeroconf(ip_version=IPVersion.All)
    published = {}
    for text in sys.stdin:
        match text.rstrip("\n").split("\t"):
            case ["publish", instance, port, _subtype, *txt]:
                info = service(kind, instance, port, txt)
                if instance in published:
                    daemon.update_service(info)
                else:
                    daemon.register_service(info)
                published[instance] = info
            case ["withdraw", instance]:
                daemon.unregister_service(published.pop(instance))
            case other:
                sys.exit(f"not a command: {other}")
    for info in published.values():
        daemon.unregister_service(info)
    daemon.close()


if __name__ == "__main__":
    {"publish": publish, "browse": browse, "serve": serve}[sys.argv[1]](*sys.argv[2:])
