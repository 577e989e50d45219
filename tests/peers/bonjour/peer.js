// bonjour-service as a program: `publish TYPE INSTANCE PORT [KEY=VALUE]...` until SIGTERM, then goodbye;
// `browse TYPE` prints one line per event until killed; `serve TYPE` publishes and withdraws as the lines of its
// standard input say: `publish INSTANCE PORT SUBTYPE [KEY=VALUE]...` (also to change a TXT record; SUBTYPE may be
// empty), `withdraw INSTANCE`; goodbyes at the end of the input.
//
// Lines: `published INSTANCE`, `found INSTANCE HOST PORT ADDRESS,... [KEY=VALUE]...`, `lost INSTANCE`;
// fields are separated by tabs.
const { Bonjour } = require("bonjour-service");

const line = (...fields) => console.log(fields.join("\t"));
const [verb, kind, instance, port, ...txt] = process.argv.slice(2);
// `_phase-image._tcp` is type `phase-image`, protocol `tcp`.
const [type, protocol] = kind.split(".").map((label) => label.replace(/^_/, ""));
const bonjour = new Bonjour();

const properties = (pairs) =>
  Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
const publish = (name, port, subtypes, pairs) =>
  bonjour.publish({ name, type, protocol, port: Number(port), host: "bonjour.local", subtypes, txt: properties(pairs) });
const leave = () => bonjour.unpublishAll(() => bonjour.destroy(() => process.exit(0)));

if (verb === "publish") {
  const service = publish(instance, port, [], txt);
  service.on("up", () => line("published", instance));
  process.on("SIGTERM", leave);
} else if (verb === "serve") {
  const published = new Map();
  const commands = {
    publish(name, port, subtype, ...pairs) {
      const subtypes = subtype === "" ? [] : [subtype.replace(/^_/, "")];
      const begin = () => published.set(name, publish(name, port, subtypes, pairs));
      // The library cannot change a TXT record.
      if (published.has(name)) published.get(name).stop(begin);
      else begin();
    },
    withdraw(name) {
      published.get(name).stop();
      published.delete(name);
    },
  };
  require("node:readline")
    .createInterface({ input: process.stdin })
    .on("line", (text) => {
      const [command, ...words] = text.split("\t");
      commands[command](...words);
    })
    .on("close", leave);
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
