// bonjour-service as a program: `publish TYPE INSTANCE PORT [KEY=VALUE]...` until SIGTERM, then goodbye;
// `browse TYPE` prints one line per event until killed.
//
// Lines: `published INSTANCE`, `found INSTANCE HOST PORT ADDRESS,... [KEY=VALUE]...`, `lost INSTANCE`;
// fields are separated by tabs.
const { Bonjour } = require("bonjour-service");

const line = (...fields) => console.log(fields.join("\t"));
const [verb, kind, instance, port, ...txt] = process.argv.slice(2);
// `_phase-image._tcp` is type `phase-image`, protocol `tcp`.
const [type, protocol] = kind.split(".").map((label) => label.replace(/^_/, ""));
const bonjour = new Bonjour();

if (verb === "publish") {
  const service = bonjour.publish({
    name: instance,
    type,
    protocol,
    port: Number(port),
    host: "bonjour.local",
    txt: Object.fromEntries(txt.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)])),
  });
  service.on("up", () => line("published", instance));
  process.on("SIGTERM", () => bonjour.unpublishAll(() => bonjour.destroy(() => process.exit(0))));
} else if (verb === "browse") {
  const browser = bonjour.find({ type, protocol }, (service) => {
    const pairs = Object.entries(service.txt || {}).map(([key, value]) => `${key}=${value}`);
    line("found", service.name, service.host, service.port, [...(service.addresses || [])].sort().join(","), ...pairs);
  });
  browser.on("down", (service) => line("lost", service.name));
} else {
  console.error("usage: publish TYPE INSTANCE PORT [KEY=VALUE]... | browse TYPE");
  process.exit(2);
}
