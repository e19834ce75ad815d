// Faults: what is planned, and planning one. The form is made from what the fake says there is.
const FAULT_COLUMNS = [["fault", "device"], ["for", "topicCell"], ["rule", "became"], ["came", "number"], ["", "act"]];
let kinds = null;
const rule = (one) => [one.rate < 1 ? `${Number((one.rate * 100).toPrecision(3))} %` : "", one.after ? `after ${number(one.after)}` : "", one.every > 1 ? `every ${number(one.every)}th` : "", one.times !== null ? `${count(one.times, "time")} at most` : ""].filter(Boolean).join(", ") || "always";

const faultsView = {
  name: "Faults", form: faultForm,
  async load(signal) {
    kinds ||= await get("/faults/names", {}, signal);
    const [planned, blackout, stats] = await Promise.all([get("/faults", {}, signal), get("/blackout", {}, signal), get("/stats", {}, signal)]);
    return { planned, blackout, stats };
  },
  nowOf: (data) => data.stats.now_ms,
  render({ planned, blackout }, now) {
    const written = (pairs) => Object.entries(pairs).map(([name, value]) => `${name} ${short(String(value), 14, 8)}`).join(", ");
    return [
      el("h1", {}, "Faults"), darkness(blackout, now),
      planned.length ? table("Planned faults", FAULT_COLUMNS, planned.map((one) => row(String(one.number), FAULT_COLUMNS, [
        [el("b", {}, one.name), el("span", { class: "soft why" }, [" ", coded(one.what), Object.keys(one.parameters).length ? `: ${written(one.parameters)}` : ""])], written(one.aim) || "every push", one.over ? el("span", { class: "soft" }, `${rule(one)}; over`) : rule(one),
        el("span", { title: "injected, of the occasions there were" }, `${number(one.injected)} of ${number(one.considered)}`), el("button", { type: "button", "data-act": "end-fault", "data-number": one.number, "data-key": `end-${one.number}`, "aria-label": `End fault ${one.number}, ${one.name}` }, "end")]))) : nothing("None is planned: everything goes as at Apple's."),
    ];
  },
};

function faultForm() {
  const select = el("select", { name: "name", "data-act": "fault-name" }, kinds.faults.map((kind) => el("option", { value: kind.name }, kind.name)));
  const form = el("form", { class: "box", "data-submit": "fault" }, el("h2", {}, "Plan a fault"),
    el("div", { class: "fields" }, field("name", "Fault", select)), el("p", { class: "soft about", "data-about": true }), el("div", { class: "fields", "data-takes": true }),
    el("fieldset", {}, el("legend", {}, "How often"), el("div", { class: "fields" },
      field("rate", "Rate", el("input", { name: "rate", type: "number", min: 0, max: 1, step: "any", placeholder: "1" }), "0 to 1"), field("after", "After", el("input", { name: "after", type: "number", min: 0, placeholder: "0" }), "occasions that pass first"),
      field("every", "Every", el("input", { name: "every", type: "number", min: 1, placeholder: "1" }), "n-th occasion"), field("times", "Times", el("input", { name: "times", type: "number", min: 1, placeholder: "any number" }), "at most"))),
    el("p", { class: "act" }, el("button", {}, "plan it"), " ", el("span", { class: "says", role: "status" })),
    el("datalist", { id: "reasons" }, Object.entries(kinds.reasons).map(([name, status]) => el("option", { value: name }, String(status)))), el("datalist", { id: "alerts" }, kinds.tls_alerts.map((name) => el("option", { value: name }))));
  takeFields(form);
  return form;
}
const choice = (name, choices) => el("select", { name }, choices.map((value) => el("option", { value }, value || "any")));
const TAKES = {
  status: () => field("status", "Status", el("input", { name: "status", type: "number", min: 400, max: 599, placeholder: "Apple's for the reason" })),
  reason: (kind) => field("reason", kind === "tls.refused" ? "TLS alert" : "Reason", el("input", { name: "reason", list: kind === "tls.refused" ? "alerts" : "reasons", required: kind === "push.refused", autocomplete: "off" })),
  seconds: (kind) => field("seconds", "Seconds", el("input", { name: "seconds", type: "number", min: 0, step: "any", required: ["push.delayed", "answer.slow", "blackout"].includes(kind) })),
  code: () => field("code", "Error code", el("input", { name: "code", type: "number", min: 0, max: 13, placeholder: "0" })),
  processed: () => field("processed", "This request counts", choice("processed", ["", "true", "false"])),
  side: () => field("side", "Side", choice("side", ["both", "providers", "devices"])),
  topic: () => field("topic", "Only topic", el("input", { name: "topic" })), token: () => field("token", "Only token", el("input", { name: "token", pattern: "[0-9a-fA-F]+", title: "hex" })),
  device: () => field("device", "Only device", el("input", { name: "device" }), "name, UDID or serial"), environment: () => field("environment", "Only environment", choice("environment", ["", "production", "sandbox"])),
};
function takeFields(form) {
  const kind = kinds.faults.find((one) => one.name === form.elements.name.value);
  const about = form.querySelector("[data-about]");
  about.replaceChildren(...coded(`${kind.what[0].toUpperCase()}${kind.what.slice(1)}. `), el("i", {}, `${kind.why[0].toUpperCase()}${kind.why.slice(1)}.`));
  form.querySelector("[data-takes]").replaceChildren(...kind.takes.map((name) => TAKES[name](kind.name)));
}
async function planFault(form) {
  const numbers = ["rate", "after", "every", "times", "status", "seconds", "code"], body = {};
  for (const [name, value] of new FormData(form)) {
    const text = String(value).trim();
    if (text) body[name] = numbers.includes(name) ? Number(text) : name === "processed" ? text === "true" : text;
  }
  const made = await call("POST", "/faults", { body });
  return `fault ${made.number} is planned`;
}
