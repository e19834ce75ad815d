// Who is connected, and telling providers to go away.
const PROVIDER_COLUMNS = [["number", "when"], ["from", "device"], ["topic", "topicCell"], ["TLS", "became"], ["since", "when"], ["requests", "number"], ["accepted", "number"], ["refused", "number"], ["open streams", "number"], ["received, sent", "number"]];
const COURIER_COLUMNS = [["name", "device"], ["since", "when"], ["subscriptions", "number"], ["on their way", "number"]];
const size = (bytes) => (bytes === null ? "–" : bytes < 10_000 ? `${number(bytes)} B` : bytes < 10_000_000 ? `${number(Math.round(bytes / 1000))} kB` : `${number(Math.round(bytes / 1e6))} MB`);
const known = (value) => (value === null || value === undefined ? "–" : number(value));

const connectionsView = {
  name: "Connections", searches: true, form: goawayForm,
  load: (signal) => get("/connections", {}, signal),
  render({ providers, couriers }, now) {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (text) => words.every((word) => text.toLowerCase().includes(word));
    const shown = providers.filter((one) => matches(`${one.peer} ${one.topic || ""} ${one.certificate || ""} ${one.environment}`)), heard = couriers.filter((one) => matches(one.name));
    said(`${shown.length} providers, ${heard.length} couriers`);
    return [
      el("h1", {}, "Connections"), el("h2", {}, count(providers.length, "provider")),
      shown.length ? table("Providers", PROVIDER_COLUMNS, shown.slice(0, 500).map((one) => row(String(one.number), PROVIDER_COLUMNS, [
        el("span", { class: "mono" }, String(one.number)), [one.peer || "in process", one.environment === "sandbox" ? el("span", { class: "tag" }, "sandbox") : ""], one.topic ? topicText(one.topic) : el("span", { class: "soft" }, one.certificate ? "unknown certificate" : "no certificate"),
        one.refusal ? marked("failed", "✗", one.refusal) : [one.tls || "–", one.alpn ? ` ${one.alpn}` : ""], moment(one.opened_ms, now), known(one.requests), known(one.accepted), known(one.refused), known(one.open_streams), one.received === null ? "–" : `${size(one.received)}, ${size(one.sent)}`]))) : nothing(providers.length ? "No provider matches." : "No provider is connected."),
      shown.length > 500 ? nothing(`and ${shown.length - 500} more: search for them`) : "",
      el("h2", {}, count(couriers.length, "courier"), el("span", { class: "soft" }, " processes with devices")),
      heard.length ? table("Couriers", COURIER_COLUMNS, heard.slice(0, 500).map((one, place) => row(`${one.name} ${one.opened_ms} ${place}`, COURIER_COLUMNS, [one.name, moment(one.opened_ms, now), number(one.subscriptions), number(one.in_flight)]))) : nothing(couriers.length ? "No courier matches." : "No process with devices is connected."),
      heard.length > 500 ? nothing(`and ${heard.length - 500} more: search for them`) : "",
    ];
  },
};

function goawayForm() {
  return el("form", { class: "box", "data-submit": "goaway" }, el("h2", {}, "Say GOAWAY"),
    el("p", { class: "soft" }, "Requests that have arrived are answered, then the connections are closed. Providers connect again."),
    el("div", { class: "fields" },
      field("connections", "Connections", el("input", { name: "connections", placeholder: "all", pattern: "[0-9, ]*", title: "Numbers, with commas between" })),
      field("reason", "Reason", el("input", { name: "reason", placeholder: "none", list: "reasons" })), field("code", "Error code", el("input", { name: "code", type: "number", min: 0, max: 13, value: 0 }))),
    el("p", { class: "act" }, el("button", {}, "send GOAWAY"), " ", el("span", { class: "says", role: "status" })));
}
const field = (name, label, input, hint) => { input.id = `f-${name}`; return el("p", { class: "field" }, el("label", { for: input.id }, label), input, hint ? el("span", { class: "soft hint" }, hint) : ""); };
async function sendGoaway(form) {
  const given = new FormData(form), list = String(given.get("connections")).split(/[ ,]+/).filter(Boolean).map(Number);
  const told = await call("POST", "/connections/goaway", { body: { reason: given.get("reason"), code: Number(given.get("code") || 0), connections: list.length ? list : null } });
  return `${count(told.connections, "connection")} told`;
}
